"""Records of CSV that are made from a template, as objects of NDJSON that ask for the same."""

from typing import Any

from protocol.handle import to_text
from protocol.json_forms import value_to_json
from registry.stream_rows import PackedRow, RowKind
from registry.template_requests import unpack_request
from resolver.client.sources import CsvColumns
from resolver.rows.csv_stream import CsvReader


class CsvTemplateForms:
    """Makes objects of records. Raises: RowsError: columns or options that are none.

    Args:
        header: the file's first record.
        columns: with a template.
        fault: the member that says why a record cannot be read.
    """

    def __init__(self, header: bytes, columns: CsvColumns, fault: str) -> None:
        self._header = header
        self._columns = columns
        self._fault = fault
        self._reader = self._start()

    def _start(self) -> CsvReader:
        reader = CsvReader(self._columns.options(), lambda: 0)
        reader.feed(self._header + b"\n")
        return reader

    def read(self, record: bytes) -> dict[str, Any]:
        """Return the object; of a record that cannot be read the member says why."""
        rows = self._reader.feed(record + b"\n")
        if not rows:  # it ends inside quotes, so it is the file's last
            rows, self._reader = self._reader.end(), self._start()
        return self._form(rows[0]) if rows else {}

    def _form(self, row: PackedRow) -> dict[str, Any]:
        kind, handle, octets, _ = row
        form: dict[str, Any] = {"handle": to_text(handle)}
        if kind == RowKind.BAD:
            return {**form, self._fault: to_text(octets)}
        if kind == RowKind.DELETE:
            return {**form, "operation": "delete"}
        request = unpack_request(octets)
        form |= {"template": request.template, "attributes": dict(request.attributes)}
        form["isText"] = True
        if request.version:
            form["version"] = request.version
        if request.replaces:
            form["operation"] = "replace"
        values = [value_to_json(value) for value in request.other_values()]
        for value in values:
            value.pop("timestamp", None)  # the node sets it
        return {**form, "values": values}
