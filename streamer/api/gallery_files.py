"""The files that AddReferences is sent: images in memory, videos on the disk until they have been read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from faceanalytics.scratch import scratch_folder
from faceanalytics.v1.gallery_pb2 import AddReferencesRequest
from streamer.kinds import is_video_content
from streamer.people.curator import Problem, Refused
from streamer.people.images import MOST_BYTES

MOST_VIDEO = 1 << 30  # bytes of one video
GIF_CONTROL = b"\x21\xf9\x04"
START_BYTES = 4096  # of a file, by which its kind is known


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that was sent."""

    name: str
    data: bytes  # of an image
    video: Path | None  # where a video lies until the next file is asked for


async def sent_files(requests: AsyncIterator[AddReferencesRequest]) -> AsyncIterator[tuple[AddReferencesRequest, Sent]]:
    """Yield the first message and each file. Raises Refused if one is too large or not complete."""
    first: AddReferencesRequest | None = None
    with scratch_folder() as folder:
        while (begun := await anext(requests, None)) is not None:
            first = first or begun
            name = begun.file_name or first.file_name
            if not is_video_content(begun.data[:START_BYTES], PurePosixPath(name).suffix):
                data = await _content(begun, requests)
                if not _is_moving(data):
                    yield first, Sent(name, data, None)
                    continue
                begun = AddReferencesRequest(data=data)
            path = folder / "video"
            with path.open("wb") as file:
                await _spool(begun, requests, file)
            yield first, Sent(name, b"", path)
            path.unlink()


def _is_moving(data: bytes) -> bool:
    """Return whether an image is a GIF of several pictures, each of which begins with what controls it."""
    return data.startswith(b"GIF8") and data.count(GIF_CONTROL) > 1


async def _content(begun: AddReferencesRequest, requests: AsyncIterator[AddReferencesRequest]) -> bytes:
    parts, size, request = [begun.data], len(begun.data), begun
    while request.more:
        request = await _next(requests)
        parts.append(request.data)
        size += len(request.data)
        if size > MOST_BYTES:
            raise Refused(Problem.INVALID, f"data: a file of more than {MOST_BYTES >> 20} MiB")
    if size > MOST_BYTES:
        raise Refused(Problem.INVALID, f"data: a file of more than {MOST_BYTES >> 20} MiB")
    return b"".join(parts)


async def _spool(begun: AddReferencesRequest, requests: AsyncIterator[AddReferencesRequest], file: BinaryIO) -> None:
    size, request = 0, begun
    while True:
        size += len(request.data)
        if size > MOST_VIDEO:
            raise Refused(Problem.INVALID, f"data: a video of more than {MOST_VIDEO >> 20} MiB: cut it")
        await asyncio.to_thread(file.write, request.data)
        if not request.more:
            return
        request = await _next(requests)


async def _next(requests: AsyncIterator[AddReferencesRequest]) -> AddReferencesRequest:
    request = await anext(requests, None)
    if request is None:
        raise Refused(Problem.INVALID, "more: the last file is not complete")
    return request
