"""Rows to register: how the octets of files and of requests become handles with their values.

    whole files, for the command line                streams, for the REST interface
    tables.py   CSV lines  -> Row | BadRow           readers.py         a reader per media type
    ndjson.py   NDJSON     -> Row | BadRow, LoadRow  ndjson_stream.py   ┐
                                                     csv_stream.py      ├ octets -> PackedRow
                                                     msgpack_stream.py  ┘
                                                     content_coding.py  gzip and zstd before them

pieces.py packs them for the registrar; of NDJSON mostly native code does, as it reads.
plain.py is the fast way that NDJSON and msgpack share, packed.py the form in which rows go on to
the registrar and the way that reads everything else, value_texts.py how data are written as text.
What is wrong with one row is that row's; what is wrong with the input as a whole is a `RowsError`.
"""
