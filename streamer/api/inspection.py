"""InspectionService: probes cameras, examines the streamer, and lists tokens, the audit log and recordings."""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from faceanalytics.errors import ConfigError, UserError
from faceanalytics.v1 import inspection_pb2, inspection_pb2_grpc, streams_pb2
from streamer.access.audit import Entry, read_file
from streamer.access.tokens import Token, TokenStore
from streamer.api.errors import Why, refuse
from streamer.api.messages import seconds
from streamer.api.paging import page, page_size, page_token, place_of
from streamer.api.streams import Cameras, asked_stream
from streamer.api.watch import unavailable
from streamer.config import Stream
from streamer.store.store import Store
from streamer.store.values import StoreUnavailable
from streamer.values import SourceErrorCode

WAIT_S, LONGEST_S = 8.0, 30.0  # how long a camera is looked at
PROBES = 4  # at a time
AGAIN_S = 600.0  # between two examinations
RECORDINGS = 10_000  # most that are listed
VIDEO = frozenset(
    [
        ".mp4",
        ".mkv",
        ".mov",
        ".avi",
        ".webm",
        ".m4v",
        ".ts",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".gif",
    ]
)
_LEVELS = {name: inspection_pb2.FindingLevel.Value(f"FINDING_LEVEL_{name}") for name in ("FAIL", "WARN", "OK")}

Context = aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a camera has shown. Texts hold no credentials."""

    error: SourceErrorCode | None
    problem: str
    facts: tuple[str, ...]
    notes: tuple[str, ...]
    size: tuple[int, int]  # px; 0: not known
    codec: str
    fps: float  # 0: not known
    clock_offset_s: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found, see doctor/finding.py."""

    check: str
    level: str  # OK, WARN, FAIL
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Inspector:
    """What looks, in threads."""

    probe: Callable[[Stream, float], Looked] | None = None  # looks for at most so many seconds
    examine: Callable[[], Iterable[Finding]] = tuple
    inputs: tuple[str, ...] = ()  # folders of recordings


class InspectionService(inspection_pb2_grpc.InspectionServiceServicer):
    """Serves what an Inspector finds; the methods are described in inspection.proto."""

    def __init__(
        self,
        inspector: Inspector,
        cameras: Cameras,
        tokens: TokenStore | None,
        store: Store | None,
        folder: str | None,
    ) -> None:
        """`folder`: of the audit log without a store."""
        self._inspector = inspector
        self._cameras = cameras
        self._tokens = tokens
        self._store = store
        self._folder = folder
        self._probing = 0
        self._examining = asyncio.Lock()
        self._examined: tuple[float, datetime, list[Finding]] | None = None  # s, monotonic

    async def ProbeStream(  # noqa: N802
        self, request: inspection_pb2.ProbeStreamRequest, context: Context
    ) -> inspection_pb2.ProbeStreamResponse:
        wait_s = seconds(request.wait) if request.HasField("wait") else WAIT_S
        if not 0 < wait_s <= LONGEST_S:
            await refuse(context, Why.INVALID_FIELD, f"wait: must be above 0 and at most {LONGEST_S:g} s")
        stream = await asked_stream(request.stream_id, request.settings, self._cameras, context)
        probe = self._inspector.probe
        if probe is None or self._probing >= PROBES:
            await refuse(context, Why.TOO_MANY_PROBES, f"{PROBES} addresses are looked at now: try again in a moment")
        self._probing += 1
        try:
            found = await asyncio.to_thread(probe, stream, wait_s)
        except UserError as error:
            found = Looked(SourceErrorCode.NOT_FOUND, str(error), (), (), (0, 0), "", 0.0, None)
        finally:
            self._probing -= 1
        return _looked(found)

    async def GetFindings(  # noqa: N802
        self, request: inspection_pb2.GetFindingsRequest, context: Context
    ) -> inspection_pb2.GetFindingsResponse:
        del request, context
        async with self._examining:
            if self._examined is None or time.monotonic() - self._examined[0] > AGAIN_S:
                found = await asyncio.to_thread(lambda: list(self._inspector.examine()))
                self._examined = time.monotonic(), datetime.now(UTC), found
        _, at, findings = self._examined
        answer = inspection_pb2.GetFindingsResponse(examined_at=_moment(at))
        order = list(_LEVELS)
        for one in sorted(findings, key=lambda one: order.index(one.level)):
            answer.findings.add(check=one.check, level=_LEVELS[one.level], found=one.found, advice=one.advice)
        return answer

    async def ListTokens(  # noqa: N802
        self, request: inspection_pb2.ListTokensRequest, context: Context
    ) -> inspection_pb2.ListTokensResponse:
        after = await place_of(request.page_token, context)
        try:
            known = await self._tokens.all() if self._tokens is not None else []
        except (OSError, ConfigError) as error:
            await refuse(context, Why.TOKENS_UNAVAILABLE, f"tokens cannot be read now: {error}")
        named = sorted(known, key=_place)
        tokens, token = page(named, _place, after, request.page_size)
        return inspection_pb2.ListTokensResponse(tokens=[_token(one) for one in tokens], next_page_token=token)

    async def ListAuditEntries(  # noqa: N802
        self, request: inspection_pb2.ListAuditEntriesRequest, context: Context
    ) -> inspection_pb2.ListAuditEntriesResponse:
        after = await place_of(request.page_token, context)
        if after and not after.isdecimal():
            await refuse(context, Why.INVALID_PAGE_TOKEN, "page_token: it is not from a response of this method")
        size = page_size(request.page_size)
        try:
            found = await self._entries(int(after or 0), size + 1)
        except StoreUnavailable as error:
            await unavailable(error, context)
        except ConfigError as error:
            await refuse(context, Why.NO_AUDIT_LOG, str(error))
        token = page_token(str(found[size - 1][0])) if len(found) > size else ""
        entries = [_entry(entry, not_listed) for _, entry, not_listed in found[:size]]
        return inspection_pb2.ListAuditEntriesResponse(entries=entries, next_page_token=token)

    async def _entries(self, before: int, limit: int) -> list[tuple[int, Entry, int]]:
        """Return entries with their numbers, the newest first, below a number (0: from the newest)."""
        if self._store is not None:
            return await self._store.audit_entries(before, limit)
        if self._folder is None:
            raise ConfigError("no log of who changed what is kept: it needs a store, or access.folder")
        found = await asyncio.to_thread(read_file, Path(self._folder))
        numbered = [(number, *one) for number, one in enumerate(found, 1) if not before or number < before]
        return numbered[::-1][:limit]

    async def ListRecordings(  # noqa: N802
        self, request: inspection_pb2.ListRecordingsRequest, context: Context
    ) -> inspection_pb2.ListRecordingsResponse:
        after = await place_of(request.page_token, context)
        found = await asyncio.to_thread(_recordings, self._inspector.inputs)
        some, token = page(found, lambda one: one[0], after, request.page_size)
        answer = inspection_pb2.ListRecordingsResponse(next_page_token=token)
        for path, size, changed in some:
            answer.recordings.add(path=path, size_bytes=size, changed_at=_moment(changed))
        return answer


def _looked(found: Looked) -> inspection_pb2.ProbeStreamResponse:
    answer = inspection_pb2.ProbeStreamResponse(
        usable=found.error is None,
        problem=found.problem,
        facts=found.facts,
        notes=found.notes,
        frame_width=found.size[0],
        frame_height=found.size[1],
        codec=found.codec,
        frames_per_second=found.fps,
    )
    if found.error is not None:
        answer.error_code = streams_pb2.StreamErrorCode.Value(f"STREAM_ERROR_CODE_{found.error.value}")
    if found.clock_offset_s is not None:
        answer.clock_offset.FromNanoseconds(round(found.clock_offset_s * 1e9))
    return answer


def _place(token: Token) -> str:
    return f"{token.created.isoformat()} {token.id}"


def _token(token: Token) -> inspection_pb2.ApiToken:
    return inspection_pb2.ApiToken(
        token_id=token.id,
        display_name=token.name,
        scopes=sorted(token.scopes),
        stream_ids=token.cameras,
        created_at=_moment(token.created),
        expires_at=_moment(token.expires) if token.expires is not None else None,
        revoked_at=_moment(token.revoked) if token.revoked is not None else None,
    )


def _entry(entry: Entry, not_listed: int) -> inspection_pb2.AuditEntry:
    return inspection_pb2.AuditEntry(
        at=_moment(entry.time),
        actor=entry.who,
        method=entry.method,
        target=entry.target,
        outcome=entry.outcome,
        not_listed=not_listed,
    )


def _moment(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def _recordings(folders: Sequence[str]) -> list[tuple[str, int, datetime]]:
    """Return path, size and time of the videos below some folders, sorted by path. Links are not followed."""
    found: dict[str, tuple[int, datetime]] = {}
    for path, about in _files(folders):
        if len(found) >= RECORDINGS:
            break
        found[path] = about.st_size, datetime.fromtimestamp(about.st_mtime, UTC)
    return [(path, *found[path]) for path in sorted(found)]


def _files(folders: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner[:] = sorted(one for one in inner if not one.startswith("."))
            for name in sorted(names):
                path = Path(place, name)
                if path.suffix.lower() not in VIDEO or not _printable(str(path)):
                    continue
                try:
                    about = path.lstat()
                except OSError:
                    continue
                if stat.S_ISREG(about.st_mode):
                    yield str(path), about


def _printable(path: str) -> bool:
    return path.isprintable()  # names that are no UTF-8 are not
