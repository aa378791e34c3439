"""Convert times of the streams of a file to media time, along the frames that were decoded from it."""

from collections.abc import Sequence
from dataclasses import dataclass

SAME_S = 0.25  # times of frames whose offsets differ by less are one piece
FAR_S = 30.0  # what is farther from the frames around it in the file has a wrong time


@dataclass(slots=True)
class _Piece:
    """Frames in a row whose media time is the stream's time plus one offset."""

    offset: float  # s
    first: int  # index of the first frame
    start: float  # s, stream time of the first frame
    last: int
    end: float
    shown: float  # s, media time of the last frame

    @property
    def runs(self) -> bool:
        """Whether its timestamps advance with the media time: those of a broken clock may stand still."""
        return self.end - self.start > (self.shown - self.start - self.offset) / 2


class Timeline:
    """Converts times of a file's streams to media time, also across jumps of the timestamps."""

    def __init__(self, times: Sequence[tuple[float | None, float]]) -> None:
        """`times`: stream time and media time of each frame, s, in order."""
        self._media = [media for _, media in times]
        pieces: list[_Piece] = []
        for index, (stream, media) in enumerate(times):
            if stream is None:
                continue
            if pieces and abs(media - stream - pieces[-1].offset) < SAME_S:
                pieces[-1].last, pieces[-1].end, pieces[-1].shown = index, stream, media
            else:
                pieces.append(_Piece(media - stream, index, stream, index, stream, media))
        self._pieces = [piece for piece in pieces if piece.runs] or pieces[:1]
        self._step = self._media[-1] / max(1, len(self._media) - 1) if self._media else 0.0

    def media_time(self, stream: float, frame: int) -> float:
        """Return the media time (s) of a stream time (s) that stands near this frame (index) in the file."""

        def distance(piece: _Piece) -> float:
            away = max(piece.start - stream, stream - piece.end, 0.0)
            return away + self._step * max(piece.first - frame, frame - piece.last, 0)

        return stream + min(self._pieces, key=distance).offset if self._pieces else stream

    def fits(self, media: float, frame: int, after: float) -> bool:
        """Whether a media time (s) is near this frame, or behind the last one near `after`, where the sound has got."""
        return abs(media - (after if frame >= len(self._media) else self._media[frame])) <= FAR_S
