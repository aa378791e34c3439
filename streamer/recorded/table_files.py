"""Writes rows as files of one form each: Parquet, CSV or JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceanalytics.files import sync
from faceanalytics.names import no_formula
from streamer.recorded.columns import Column
from streamer.recorded.rows import Row
from streamer.recorded.wall_clock import rfc3339

if TYPE_CHECKING:
    import pyarrow

METADATA = "faceanalytics"  # prefix of the keys in Parquet
BATCH = 2_000  # rows made at once
GROUP = 25  # batches of one group of rows in Parquet

Write = Callable[[Sequence[Row]], None]


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows a few at a time."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        yield batch


@contextmanager
def csv_file(path: Path, of_table: Sequence[Column]) -> Iterator[Write]:
    """Open a CSV file (RFC 4180, UTF-8, lines end in a newline) with a heading."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([one.name for one in of_table])
        yield lambda rows: writer.writerows([_cell(row.get(one.name)) for one in of_table] for row in rows)
        sync(file)


def _cell(value: Any) -> Any:
    """Return a value as it stands in a CSV file; an apostrophe keeps a spreadsheet from taking a text for a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return rfc3339(value)
    text = " ".join(value) if isinstance(value, list) else value
    return no_formula(text) if isinstance(text, str) else text


@contextmanager
def json_lines(path: Path, of_table: Sequence[Column]) -> Iterator[Write]:
    """Open a file of JSON lines, one object per row with every column."""
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def write(rows: Sequence[Row]) -> None:
            for row in rows:
                record = {one.name: _json(row.get(one.name)) for one in of_table}
                file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")

        yield write
        sync(file)


def _json(value: Any) -> Any:
    return rfc3339(value) if isinstance(value, datetime) else value


@contextmanager
def parquet(path: Path, of_table: Sequence[Column], header: Mapping[str, Any]) -> Iterator[Write]:
    """Open a Parquet file; its metadata hold the header of the results."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    metadata = {
        "run_id": header["run_id"],
        "schema_version": str(header["schema_version"]),
        "header": json.dumps(header),
    }
    schema = arrow_schema(of_table).with_metadata({f"{METADATA}.{name}": text for name, text in metadata.items()})
    waiting: list[Any] = []
    with path.open("wb") as file, ParquetWriter(file, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_batches(waiting, schema))
            waiting.clear()

        def write(rows: Sequence[Row]) -> None:
            waiting.append(pyarrow.RecordBatch.from_pylist(list(rows), schema=schema))
            if len(waiting) == GROUP:
                flush()

        yield write
        if waiting:
            flush()
        writer.close()
        sync(file)


def arrow_schema(of_table: Sequence[Column]) -> "pyarrow.Schema":
    """Return the Arrow schema of a table; the metadata of each field are its description and unit."""
    import pyarrow

    types = {
        "text": pyarrow.string(),
        "texts": pyarrow.list_(pyarrow.string()),
        "number": pyarrow.float64(),
        "whole": pyarrow.int64(),
        "truth": pyarrow.bool_(),
        "time": pyarrow.timestamp("us", tz="UTC"),
    }
    described = [({"description": one.description, "unit": one.unit}, one) for one in of_table]
    return pyarrow.schema([pyarrow.field(one.name, types[one.type], metadata=about) for about, one in described])


def arrow_table(rows: Iterable[Row], of_table: Sequence[Column]) -> "pyarrow.Table":
    """Return rows as a table in memory."""
    import pyarrow

    schema = arrow_schema(of_table)
    parts = [pyarrow.RecordBatch.from_pylist(batch, schema=schema) for batch in batches(rows)]
    return pyarrow.Table.from_batches(parts, schema)


def table_file(
    path: Path, form: str, of_table: Sequence[Column], header: Mapping[str, Any]
) -> AbstractContextManager[Write]:
    """Open a file of the form parquet, csv or jsonl; yields a function that writes rows. Raises OSError."""
    if form == "parquet":
        return parquet(path, of_table, header)
    return csv_file(path, of_table) if form == "csv" else json_lines(path, of_table)
