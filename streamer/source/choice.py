"""Choose the video stream of a file or camera that has several, as players do."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition, Stream

from faceanalytics.errors import InputError
from streamer.source.decoder import demux

COVER = Disposition.attached_pic
NOT_MOVING = COVER | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
FOR_SOME = Disposition.visual_impaired | Disposition.hearing_impaired
LOOK_AHEAD = 500  # packets to count where the header does not state the number of pictures
SPARSE = 10  # a stream with fewer than a tenth of the pictures of another is a thumbnail or a dummy


@dataclass(frozen=True, slots=True)
class Choice:
    """The video stream to decode."""

    stream: av.VideoStream
    number: int  # among the video streams, from 0
    count: int  # video streams in all

    @property
    def description(self) -> str:
        """Return which stream this is, in words."""
        return f"video stream {self.number} of {self.count} ({_describe(self.stream)})"


def choose_stream(
    container: InputContainer, name: str, number: int | None = None, pictures: Mapping[int, int] | None = None
) -> Choice:
    """Return video stream `number`, or the one that players show: neither cover art nor a single picture beside a
    video; then the default one, the largest, the one with the most pictures.

    `pictures` has the number of pictures by the number of the stream, where known. Raises InputError.
    """
    streams = container.streams.video
    if number is not None:
        if not 0 <= number < len(streams):
            raise InputError(f"{name}: has no video stream {number}; {_list(streams)}")
        candidates = [number]
    else:
        alone = [place for place, stream in enumerate(streams) if not stream.disposition & COVER]
        candidates = [place for place in alone if not streams[place].disposition & NOT_MOVING] or alone
    if not candidates:
        kinds = ", ".join(sorted({_kind(stream) for stream in container.streams})) or "nothing"
        raise InputError(f"{name}: contains no video (only {kinds})")
    decodable = [place for place in candidates if _decodable(streams[place])]
    if not decodable:
        raise InputError(f"{name}: its video codec is not supported; use H.264 or H.265")
    known = pictures or {}
    most = max(known.get(place, 0) for place in decodable)

    def rank(place: int) -> tuple[bool, bool, bool, int, int, int]:
        stream = streams[place]
        return (
            known.get(place, most) >= min(most, max(2, -(-most // SPARSE))),
            not stream.disposition & FOR_SOME,
            bool(stream.disposition & Disposition.default),
            stream.width * stream.height,
            known.get(place, 0),
            -place,
        )

    chosen = max(decodable, key=rank)
    return Choice(streams[chosen], chosen, len(streams))


def stated_pictures(container: InputContainer) -> dict[int, int] | None:
    """Return the pictures by number of the video stream as the header states them, or None if it does not state all.

    None is for containers with several video streams only; they must be counted with `count_pictures`.
    """
    streams = container.streams.video
    stated = {place: stream.frames for place, stream in enumerate(streams)}
    return stated if len(streams) < 2 or all(stated.values()) else None


def count_pictures(container: InputContainer) -> dict[int, int]:
    """Count the first packets of each video stream. The container cannot be decoded from its beginning afterwards."""
    streams = container.streams.video
    counts = dict.fromkeys(range(len(streams)), 0)
    places = {stream.index: place for place, stream in enumerate(streams)}
    try:
        for packet in islice(demux(container, *streams), LOOK_AHEAD * len(streams)):
            counts[places[packet.stream_index]] += packet.size > 0
            if max(counts.values()) >= LOOK_AHEAD:
                break
    except FFmpegError:
        pass  # what could be read must do; decoding reports the damage
    return counts


def _kind(stream: Stream) -> str:
    return "a cover picture" if stream.type == "video" else stream.type  # what is left out of the candidates


def _decodable(stream: av.VideoStream) -> bool:
    return cast("av.VideoCodecContext | None", stream.codec_context) is not None


def _describe(stream: av.VideoStream) -> str:
    if not _decodable(stream):
        return "unsupported codec"
    words = [f"{stream.codec_context.name} {stream.width}x{stream.height}"]
    if stream.disposition & Disposition.default:
        words.append("default")
    if stream.disposition & NOT_MOVING:
        words.append("a still picture")
    return ", ".join(words)


def _list(streams: tuple[av.VideoStream, ...]) -> str:
    found = "; ".join(f"{place}: {_describe(stream)}" for place, stream in enumerate(streams))
    return f"its video streams are {found}" if found else "it has no video stream"
