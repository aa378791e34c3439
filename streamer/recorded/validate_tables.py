"""Checks tables made of results: their columns, their rows against the schema, and how many there are."""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.recorded.columns import TABLES, columns
from streamer.recorded.filenames import TABLES_FOLDER
from streamer.recorded.schema import ROWS, explained
from streamer.recorded.table_files import METADATA, arrow_schema

if TYPE_CHECKING:
    from streamer.recorded.validate import Findings


def check_tables(found: "Findings") -> None:
    """Check the tables that are there; those of Parquet need pyarrow."""
    rows = {"frames": "rows", "tracks": "tracks", "people": "people", "analyses": "analysis"}
    for table in TABLES:
        path = found.folder / TABLES_FOLDER / table
        expected = found.counts[rows[table]]
        for check, form in ((_check_lines, "jsonl"), (_check_csv, "csv"), (_check_parquet, "parquet")):
            file = path.with_suffix(f".{form}")
            if not file.exists():
                continue
            count = check(found, file, table)
            if count is not None and count != expected:
                found.complain(file, None, f"it has {count} rows, expected {expected}; export the tables again")


def _check_lines(found: "Findings", path: Path, table: str) -> int:
    count = 0
    with path.open("rb") as file:
        for count, line in enumerate(file, 1):
            for wrong in explained(ROWS[table], line):
                found.complain(path, count, wrong)
    return count


def _check_csv(found: "Findings", path: Path, table: str) -> int | None:
    names = [one.name for one in columns(table, found.attributes)]
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        if next(lines, None) != names:
            found.complain(path, 1, "the heading does not have the columns of the schema in their order")
            return None
        count = 0
        for count, line in enumerate(lines, 1):
            if len(line) != len(names):
                found.complain(path, count + 1, f"it has {len(line)} values, expected {len(names)}")
    return count


def _check_parquet(found: "Findings", path: Path, table: str) -> int | None:
    if find_spec("pyarrow") is None:
        found.notes.append(f"{path}: not checked, because pyarrow is not installed")
        return None
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            schema, count = file.schema_arrow, int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowInvalid) as error:
        found.complain(path, None, f"it is not a Parquet file: {error}")
        return None
    if not schema.equals(arrow_schema(columns(table, found.attributes))):
        found.complain(path, None, "its columns are not those of the schema")
    run_id = (schema.metadata or {}).get(f"{METADATA}.run_id".encode(), b"").decode()
    if run_id != found.run_id:
        found.complain(path, None, "it was made of the results of another run; export the tables again")
    return count
