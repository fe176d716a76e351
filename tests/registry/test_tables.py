from pathlib import Path

from tests.registry.builders import open_store

ROWS = [(b"a1", b"x"), (b"a2", b"y"), (b"b1", b"z")]


def test_a_table_is_read_in_key_order(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with store.write(journaled=False) as view:
            table = view.writable("templates")
            for key, value in reversed(ROWS):
                table.put(key, value)
        with store.read() as view:
            read = view.table("templates")
            assert read.get(b"a2") == b"y"
            assert read.get(b"a3") is None
            assert read.at_or_after(b"a2") == ROWS[1]
            assert read.at_or_after(b"a3") == ROWS[2]
            assert read.at_or_after(b"c") is None
            assert read.before(b"a2") == ROWS[0]
            assert read.before(b"a1") is None
            assert read.before(b"zz") == ROWS[2]
            assert list(read.items()) == ROWS
            assert list(read.items(b"a2")) == ROWS[1:]
            assert list(read.items(prefix=b"a")) == ROWS[:2]
            assert read.page(b"", 2) == ROWS[:2]
            assert read.page(b"a2", 2) == ROWS[2:]
            assert read.count() == 3


def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, store.write(journaled=False) as view:
        table = view.writable("templates")
        table.put(*ROWS[0])
        assert table.delete(b"a1")
        assert not table.delete(b"a1")
        assert table.at_or_after(b"") is None
        assert table.before(b"zz") is None
