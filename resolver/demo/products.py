"""The products the demo registers: which columns become which values, and what they must say.

1  URL        the picture
2  DESC       the name as its maker wrote it
3  NUTRIENTS  JSON: fat, carbohydrate, protein, salt in grams per 100 g, where known
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from protocol.value import HandleValue
from resolver.demo.errors import DemoError
from resolver.rows.errors import RowsError
from resolver.rows.row import BadRow, Row, open_rows
from resolver.rows.tables import parse_maps, read_csv_rows

PRODUCTS = 1_000
HANDLE_TEMPLATE = "{prefix}/{gtin}"
MAPS = (
    "image=URL:1",
    "name=DESC:2",
    "fat_g,carbohydrate_g,protein_g,salt_g=NUTRIENTS:3",
)
PRODUCTS_PATH = Path("deploy") / "demo" / "products-1k.csv"
ATTRIBUTION = "products: Open Food Facts contributors, ODbL 1.0 (deploy/demo/ABOUT.md)"


def find_products() -> Path:
    """Return the file of products: in the current folder's checkout, or beside this package.

    Raises:
        DemoError: it is in neither.
    """
    for root in (Path(), Path(__file__).resolve().parents[2]):
        if (root / PRODUCTS_PATH).is_file():
            return root / PRODUCTS_PATH
    raise DemoError(f"there is no {PRODUCTS_PATH}", "run the demo in a clone of the project")


def read_products(path: Path, prefix: str) -> list[Row]:
    """Return every product as a row to register. Raises: DemoError."""
    try:
        with open_rows(path) as lines:
            rows = list(read_csv_rows(lines, parse_maps(MAPS), HANDLE_TEMPLATE, {"prefix": prefix}))
    except RowsError as error:
        raise DemoError(f"{path}: {error.what}", error.hint) from None
    products = [row for row in rows if not isinstance(row, BadRow)]
    if len(products) != PRODUCTS or len(rows) != PRODUCTS:
        raise DemoError(
            f"{path} has {len(products)} good products of {len(rows)}, not {PRODUCTS}",
            "git checkout deploy/demo restores it",
        )
    return products


def read_expected(path: Path, prefix: str) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Yield handle and expected data by index, read without the importer that is being checked.

    Nutrients are left out: how they are written is the importer's choice.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(file):
            data = {1: cells["image"].encode(), 2: cells["name"].encode()}
            yield f"{prefix}/{cells['gtin']}".encode(), data


def choose_samples(rows: list[Row], count: int) -> list[Row]:
    """Return `count` rows spread evenly, names in unlike scripts first where there are some."""
    unlike = [row for row in rows if _is_unlike(row.values)]
    chosen = list(islice(unlike, 0, None, max(1, len(unlike) // max(1, count // 2))))[: count // 2]
    rest = [row for row in rows if row not in chosen]
    step = max(1, len(rest) // max(1, count - len(chosen)))
    return chosen + rest[::step][: count - len(chosen)]


def _is_unlike(values: tuple[HandleValue, ...]) -> bool:
    """Say whether the name has letters beyond Latin, Greek and Cyrillic."""
    return any(value.index == 2 and max(value.data.decode()) > "\u052f" for value in values)
