"""Tracks as files: what the history shows, as CSV or Parquet."""

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from faceanalytics.extras import require
from faceanalytics.v1 import faces_pb2, tracks_pb2
from streamer.api.inside import Who
from streamer.web.calls import parsed
from streamer.web.layout import Site

PAGE = 1000  # tracks that are read at once
GROUP = 10_000  # rows of a Parquet file that are written at once
# name of a column and its type in Parquet; times are UTC
COLUMNS = {
    **{"track_id": "string", "camera": "string", "first_seen": "timestamp", "last_seen": "timestamp"},
    **{"clock": "string", "in_view_s": "double", "ended": "string", "identity": "string", "person": "string"},
    **{"person_id": "string", "similarity": "double", "age": "double", "age_low": "double", "age_high": "double"},
    **{"expression": "string", "samples": "int64", "quality": "double", "model_id": "string"},
}


def parquet_works() -> bool:
    """Return whether the package that writes Parquet is installed."""
    return find_spec("pyarrow") is not None


async def history(request: Request) -> Response:
    """Return the page of the history; its module asks for the rest."""
    site: Site = request.app.state.site
    return await site.page(request, "history", data={"parquet": parquet_works()})


async def history_csv(request: Request) -> Response:
    """Send the tracks that fit the filter as CSV."""
    site: Site = request.app.state.site
    pages = _pages(site, site.door.who(request), _filter(request))
    first = await anext(pages)  # errors have a status this way

    async def lines() -> AsyncIterator[str]:
        yield _csv([list(COLUMNS)])
        yield _csv([_cells(row) for row in first])
        async for rows in pages:
            yield _csv([_cells(row) for row in rows])

    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=_named("tracks.csv"))


async def history_parquet(request: Request) -> Response:
    """Send the tracks that fit the filter as a Parquet file."""
    require("analysis", "pyarrow", use="Parquet", hint=" (or use CSV)")
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    site: Site = request.app.state.site
    kinds = {"timestamp": pyarrow.timestamp("us", "UTC"), "double": pyarrow.float64(), "int64": pyarrow.int64()}
    schema = pyarrow.schema([(name, kinds.get(kind, pyarrow.string())) for name, kind in COLUMNS.items()])
    with tempfile.NamedTemporaryFile(prefix="tracks-", suffix=".parquet", delete=False) as made:
        path = Path(made.name)
    try:
        with ParquetWriter(path, schema) as writer:
            waiting: list[dict[str, Any]] = []
            async for rows in _pages(site, site.door.who(request), _filter(request)):
                waiting += rows
                if len(waiting) >= GROUP:
                    await asyncio.to_thread(writer.write_table, pyarrow.Table.from_pylist(waiting, schema))
                    waiting = []
            await asyncio.to_thread(writer.write_table, pyarrow.Table.from_pylist(waiting, schema))
    except BaseException:
        path.unlink()
        raise
    media = "application/vnd.apache.parquet"
    return FileResponse(
        path, media_type=media, headers=_named("tracks.parquet"), background=BackgroundTask(path.unlink)
    )


def _filter(request: Request) -> tracks_pb2.TrackFilter:
    """Return the filter of a request, which is the JSON of a TrackFilter."""
    found = parsed(request.query_params.get("filter", "{}").encode(), tracks_pb2.TrackFilter)
    assert isinstance(found, tracks_pb2.TrackFilter)
    return found


async def _pages(site: Site, who: Who, wanted: tracks_pb2.TrackFilter) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield rows, the newest tracks first."""
    asked = tracks_pb2.ListTracksRequest(page_size=PAGE, past=True, newest_first=True, filter=wanted)
    while True:
        answer = await site.inside.call("TrackService/ListTracks", asked, who)
        yield [_row(track) for track in answer.tracks]
        if not answer.next_page_token:
            return
        asked.page_token = answer.next_page_token


def _row(track: tracks_pb2.Track) -> dict[str, Any]:
    decision, age = track.decision, track.age
    best = decision.candidates[0].similarity if decision.candidates else None
    shares = track.expression.distribution
    looks = max(shares, key=lambda one: one.share).expression if shares else faces_pb2.EXPRESSION_UNSPECIFIED
    aged = track.HasField("age")
    return {
        "track_id": track.track_id,
        "camera": track.stream_id,
        "first_seen": track.first_captured_at.ToDatetime() if track.HasField("first_captured_at") else None,
        "last_seen": track.last_captured_at.ToDatetime() if track.HasField("last_captured_at") else None,
        "clock": _word(tracks_pb2.ClockSource.Name(track.clock_source), "CLOCK_SOURCE_"),
        "in_view_s": round(track.last_seen_s - track.first_seen_s, 3),
        "ended": _word(tracks_pb2.EndReason.Name(track.end_reason), "END_REASON_") if track.final else None,
        "identity": _word(tracks_pb2.IdentityStatus.Name(decision.status), "IDENTITY_STATUS_"),
        "person": decision.person or None,
        "person_id": decision.person_id or None,
        "similarity": None if best is None else round(best, 4),
        "age": round(age.years, 1) if aged else None,
        "age_low": round(age.low_years, 1) if aged else None,
        "age_high": round(age.high_years, 1) if aged else None,
        "expression": _word(faces_pb2.Expression.Name(looks), "EXPRESSION_"),
        "samples": track.samples,
        "quality": round(track.quality, 4),
        "model_id": track.model_id or None,
    }


def _word(name: str, prefix: str) -> str | None:
    word = name.removeprefix(prefix)
    return None if word == "UNSPECIFIED" else word


def _cells(row: dict[str, Any]) -> list[Any]:
    """Return the cells of a row. A text that a spreadsheet would take for a formula gets an apostrophe."""
    return [_cell(row[name]) for name in COLUMNS]


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value[:1] in "=+-@\t\r" else value
    return value.isoformat(timespec="milliseconds") + "Z" if hasattr(value, "isoformat") else value


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _named(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
