"""Deinterlace the frames that say they are interlaced, with FFmpeg's bwdif."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as NothingLeft
from av.error import FFmpegError
from av.filter import Graph

from streamer.source.filters import filter_chain

Stamps = tuple[int | None, int | None, int, Fraction | None]  # pts, dts, duration, time base


class Deinterlacer:
    """Gives one frame for each, with the same timestamps.

    From the first interlaced frame on, each frame is given one frame late, because the filter looks at its neighbours.
    Progressive frames keep their pixels.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        """`note` is called if frames cannot be deinterlaced."""
        self._note = note
        self._graph: Graph | None = None
        self._form: tuple[object, ...] = ()  # of the frames that the graph takes, or that it refuses
        self._stamps: deque[Stamps] = deque()  # of the frames in the graph

    def frames(self, frames: Sequence[av.VideoFrame], flush: bool) -> Iterator[av.VideoFrame]:
        """Take decoded frames, and yield those that are complete; `flush`: no more will come."""
        for frame in frames:
            form = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
            if self._graph is not None and form != self._form:
                yield from self._drain()
            if self._graph is None and frame.interlaced_frame and form != self._form:
                self._form, self._graph = form, self._make(frame)
            if self._graph is None:
                yield frame
                continue
            self._stamps.append((frame.pts, frame.dts, frame.duration, frame.time_base))
            self._graph.push(frame)
            yield from self._finished(self._graph)
        if flush and self._graph is not None:
            yield from self._drain()

    def _drain(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        graph, self._graph, self._form = self._graph, None, ()
        graph.push(None)
        yield from self._finished(graph)

    def _finished(self, graph: Graph) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (NothingYet, NothingLeft):
                return
            # the filter halves the time base
            frame.pts, frame.dts, frame.duration, frame.time_base = self._stamps.popleft()
            yield frame

    def _make(self, frame: av.VideoFrame) -> Graph | None:
        try:
            return filter_chain(frame, ("bwdif", {"mode": "send_frame", "deint": "interlaced"}))
        except FFmpegError as error:  # bwdif refuses pictures of a few lines
            self._note(f"its interlaced frames cannot be deinterlaced: {error.strerror}")
            return None
