"""Writes the results of one video in the order of its frames, whatever the order of the answers."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceanalytics.files import JsonLines
from streamer.identity.persons import Persons
from streamer.recorded.batches import CropBatches
from streamer.recorded.drawing import Drawing
from streamer.recorded.explain import Explanation
from streamer.recorded.records import analysis_record, observation_record, track_record
from streamer.source.file import ReadReport
from streamer.values import FaceAnalysis, FaceCrop, Observation, TrackState, TrackSummary

SEAL_FRAMES = 500  # a partly filled batch is sent after this many frames; frames, not seconds: runs stay identical

log = logging.getLogger(__name__)


@dataclass(slots=True)
class VideoResult:
    """The outcome of one video: its counts and its problem, if any."""

    video: Path
    folder: Path
    frames: int = 0
    tracks: int = 0
    crops: int = 0
    lost_crops: int = 0
    problem: str = ""  # why the analysis is incomplete; empty: no problem
    not_drawn: str = ""  # why there is no annotated video; empty: no problem
    read: ReadReport = field(default_factory=ReadReport)

    @property
    def whole(self) -> bool:
        """Whether the analysis is complete."""
        return not self.problem and not self.lost_crops and not self.read.dropped

    def dropped_frames(self) -> str:
        """Return a sentence about the frames that were dropped, if any."""
        counts = ", ".join(f"{count} {reason}" for reason, count in self.read.dropped.items())
        return f"frames that could not be analysed were dropped: {counts}" if counts else ""

    def counts(self) -> dict[str, Any]:
        """Return the contents of summary.json."""
        return {
            "frames": self.frames,
            "tracks": self.tracks,
            "crops": self.crops,
            "lost_crops": self.lost_crops,
            "dropped": self.read.dropped,
            "complete": self.whole,
        }


@dataclass(slots=True, eq=False)
class _Pending:
    """An observation and the analyses of its crops so far."""

    observation: Observation
    open: int  # crops without an answer
    analyses: dict[str, FaceAnalysis | None] = field(default_factory=dict)  # by track id


class ResultWriter:
    """Holds each observation back until its crops are answered, then writes it and the tracks that it ends."""

    def __init__(
        self,
        persons: Persons,
        tracks: JsonLines,
        observations: JsonLines,
        result: VideoResult,
        on_frame: Callable[[], None],
        frame_size: tuple[int, int],
        explanation: Explanation | None = None,
        drawing: Drawing | None = None,
    ) -> None:
        """`frame_size`: that of the header, px; records of frames of another size say theirs."""
        self._persons = persons
        self._tracks = tracks
        self._observations = observations
        self._result = result
        self._on_frame = on_frame
        self._frame_size = frame_size
        self._explanation = explanation
        self._drawing = drawing
        self._resized = False  # a change of the frame size was logged
        self.templates: list[TrackSummary] = []  # final summaries with an identity
        self._pending: deque[_Pending] = deque()
        self._by_crop: dict[int, _Pending] = {}  # by id() of the crop
        self._last_time: float | None = None
        self._accepted = 0

    async def accept(self, batches: CropBatches, observation: Observation) -> None:
        """Take in the observation of one frame and pass its crops to `batches`, which may wait."""
        pending = _Pending(observation, len(observation.crops))
        self._pending.append(pending)
        for crop in observation.crops:
            self._by_crop[id(crop)] = pending
            await batches.add(crop)
        self._accepted += 1
        if self._accepted % SEAL_FRAMES == 0:
            await batches.seal()
        self._write_ready()
        if self._drawing is not None:
            await self._drawing.room()

    def on_result(self, crop: FaceCrop, analysis: FaceAnalysis | None) -> None:
        """Take in the analysis of a crop; None: the crop was lost."""
        pending = self._by_crop.pop(id(crop))
        pending.analyses[crop.key.id] = analysis
        pending.open -= 1
        self._result.crops += 1
        self._result.lost_crops += analysis is None
        self._write_ready()

    def _write_ready(self) -> None:
        while self._pending and self._pending[0].open == 0:
            self._write(self._pending.popleft())

    def _write(self, pending: _Pending) -> None:
        observation = pending.observation
        explanation = self._explanation
        self._note_size(observation)
        published, changed = self._persons.observe(observation)
        self._finish(changed)
        if explanation is not None:
            explanation.observe(published)
        for track in published.tracks:
            if track.state is TrackState.CONFIRMED and track.detection is not None:
                self._observations.write(observation_record(published, track, self._frame_size))
        # in the order of the crops, not of the answers
        for raw, crop in zip(observation.crops, published.crops, strict=True):
            analysis = pending.analyses[raw.key.id]
            self._observations.write(analysis_record(crop, analysis))
            changed = [] if analysis is None else self._persons.add_analysis(raw, analysis)
            if explanation is not None:
                explanation.answer(crop, changed)
            self._finish(changed)
        for end in observation.ended:
            self._finish(self._persons.finish(end))
        if observation.media_time != self._last_time:  # the end of the video has the time of the last frame
            self._last_time = observation.media_time
            self._result.frames += 1
            if self._drawing is not None:
                self._drawing.frame(published)
            self._on_frame()

    def _note_size(self, observation: Observation) -> None:
        """Log the first change of the frame size."""
        if self._resized or observation.frame_size == self._frame_size:
            return
        self._resized = True
        sizes = (*self._frame_size, *observation.frame_size)
        log.info(
            "%s: the frame size changes from %dx%d to %dx%d at %.2f s",
            self._result.video,
            *sizes,
            observation.media_time,
        )

    def close(self) -> None:
        """Write the tracks whose ends were held back in case the face returns. Called at the end of the video."""
        self._finish(self._persons.release())

    def _finish(self, summaries: list[TrackSummary]) -> None:
        """Write the final summaries, except those of tracks that were joined to another: they are in its record."""
        for summary in summaries:
            if self._drawing is not None:
                self._drawing.know(summary)
            if summary.final and self._explanation is not None:
                self._explanation.end(summary.key)
            if not summary.final or summary.merged_into:
                continue
            self._tracks.write(track_record(summary, self._frame_size))
            self._result.tracks += 1
            if summary.estimates.identity is not None:
                self.templates.append(summary)
