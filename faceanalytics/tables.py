"""Results as tables: pyarrow makes them, polars and pandas take them over.

The columns are those of the files that `streamer export --tables` writes, see docs/results.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from faceanalytics.extras import require
from streamer.recorded.columns import columns
from streamer.recorded.rows import Row, Rows
from streamer.recorded.table_files import arrow_table

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from faceanalytics.results import Results


def to_arrow(results: "Results", name: str) -> "pyarrow.Table":
    """Return the table `name`, with a type for every column also if it has no rows.

    Raises MissingPackage, and ValueError for an unknown name.
    """
    require("analysis", "pyarrow", use="tables")
    of_table = columns(name, results.header.outputs.attributes)
    return arrow_table(_rows(results, name), of_table)


def to_polars(table: "pyarrow.Table") -> "polars.DataFrame":
    """Return a table for polars. Raises MissingPackage."""
    require("analysis", "polars", use="to_polars")
    import polars

    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)  # a Series comes of a column only
    return frame


def to_pandas(table: "pyarrow.Table") -> "pandas.DataFrame":
    """Return a table for pandas; whole numbers and truths are of its types that allow missing values.

    Raises MissingPackage.
    """
    require("analysis", "pandas", use="to_pandas")
    import pandas
    import pyarrow

    nullable = {pyarrow.int64(): pandas.Int64Dtype(), pyarrow.bool_(): pandas.BooleanDtype()}
    return table.to_pandas(types_mapper=nullable.get)


def _rows(results: "Results", name: str) -> Iterator[Row]:
    """Yield the rows of a table."""
    header = _adapter(results.header).dump_python(results.header, mode="json")
    rows = Rows(header, list(_records(results.tracks)), list(_records(results.people)))
    if name == "tracks":
        return rows.tracks()
    if name == "people":
        return rows.people()
    analyses = sorted(results.analyses, key=lambda one: (one.frame, rows.rank(one.track_id)))
    if name == "analyses":
        return rows.analyses(_records(analyses))
    by_crop = {(one.frame, rows.rank(one.track_id)): one for one in analyses}

    def find(frame: int, rank: int) -> Row | None:
        found = by_crop.get((frame, rank))
        return None if found is None else next(_records([found]))

    return rows.frames(_frames(results), find)


def _frames(results: "Results") -> Iterator[tuple[Row, Sequence[Row]]]:
    """Yield the record of each frame with those of its observations."""
    observations = iter(results.observations)
    for frame in results.frames:
        seen = [next(observations) for _ in range(frame.faces)]
        yield next(_records([frame])), list(_records(seen))


def _records(values: Iterable[Any]) -> Iterator[Row]:
    """Yield dataclasses as nested records."""
    return (_adapter(value).dump_python(value) for value in values)


def _adapter(value: Any) -> TypeAdapter[Any]:
    """Return what turns a dataclass into records; making it takes long, so each is made once."""
    kind = type(value)
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
