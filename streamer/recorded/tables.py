"""Writes the results of a video as tables: frames, tracks, people and analyses, as Parquet, CSV or JSON lines.

Rows are made and written a few at a time, so a recording of hours needs no more memory than one of minutes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require
from faceanalytics.files import replacing, writing
from streamer.recorded.columns import TABLES, columns
from streamer.recorded.filenames import OBSERVATIONS, PEOPLE, TABLES_FOLDER, TRACKS
from streamer.recorded.recording import Analyses, Recording, complaining
from streamer.recorded.rows import Row, Rows
from streamer.recorded.table_files import batches, table_file

FORMATS = ("parquet", "csv", "jsonl")


def ordered_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return the forms in one order, each once. Raises ConfigError for an unknown one."""
    if unknown := set(formats) - set(FORMATS):
        raise ConfigError(f"tables: {', '.join(sorted(map(repr, unknown)))}: choose from {', '.join(FORMATS)}")
    return tuple(form for form in FORMATS if form in formats)


def check_formats(formats: Sequence[str]) -> None:
    """Raise MissingPackage if a package that one of these forms needs is missing."""
    if "parquet" in formats:
        require("analysis", "pyarrow", use="--tables parquet", hint=" (or use --tables csv,jsonl)")


def write_tables(folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the tables of the results in `folder` and return their paths. Raises InputError and ConfigError."""
    recording, out = Recording(folder), folder / TABLES_FOLDER
    with writing(out):
        out.mkdir(exist_ok=True)
    with complaining(folder / TRACKS):
        rows = Rows(recording.header, recording.tracks, recording.people)
    with recording.analyses(rows.rank) as analyses:
        for table in TABLES:
            _write_table(recording, rows, analyses, table, [out / f"{table}.{form}" for form in formats])
    return [out / f"{table}.{form}" for table in TABLES for form in formats]


def _write_table(recording: Recording, rows: Rows, analyses: Analyses, table: str, paths: Sequence[Path]) -> None:
    """Write one table into several files at once. Raises InputError and ConfigError."""
    of_table = columns(table, recording.header["outputs"]["attributes"])
    with ExitStack() as stack:
        writers = []
        for path in paths:
            partial = stack.enter_context(replacing(path))
            writers.append(stack.enter_context(table_file(partial, path.suffix[1:], of_table, recording.header)))
        for batch in batches(table_rows(recording, rows, analyses, table)):
            for write in writers:
                write(batch)


def table_rows(recording: Recording, rows: Rows, analyses: Analyses, table: str) -> Iterator[Row]:
    """Yield the rows of a table in order. Raises InputError that names the file whose records are wrong."""
    of_table: dict[str, tuple[str, Callable[[], Iterator[Row]]]] = {
        "frames": (OBSERVATIONS, lambda: rows.frames(recording.frames(), analyses.find)),
        "tracks": (TRACKS, rows.tracks),
        "people": (PEOPLE, rows.people),
        "analyses": (OBSERVATIONS, lambda: rows.analyses(analyses)),
    }
    name, made = of_table[table]
    with complaining(recording.folder / name):
        yield from made()
