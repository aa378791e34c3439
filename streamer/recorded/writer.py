"""Writes the results of one video in the order of its frames, whatever the order of the answers."""

import logging
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceanalytics.errors import UserError
from faceanalytics.files import JsonLines
from streamer.identity.persons import Persons
from streamer.recorded.batches import CropBatches
from streamer.recorded.drawing import Drawing
from streamer.recorded.explain import Explanation
from streamer.recorded.people import Recording
from streamer.recorded.presence import Presence
from streamer.recorded.records import analysis_record, frame_record, observation_record, track_record
from streamer.recorded.shots import ShotLines
from streamer.source.file import FinishedReport, ReadReport
from streamer.values import FaceAnalysis, FaceCrop, Observation, TrackState, TrackSummary, Undescribed

SEAL_FRAMES = 500  # a partly filled batch is sent after this many frames; frames, not seconds: runs stay identical
# what is counted in a recording, in the order of summary.json
COUNTS = (
    *("frames", "shots", "people", "tracks", "described_tracks", "undescribed_tracks", "false_faces"),
    *("crops", "lost_crops"),
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class VideoResult:
    """The outcome of one video: its counts and its problem, if any."""

    video: Path
    folder: Path
    frames: int = 0
    media_time: float = 0.0  # s, of the newest frame
    tracks: int = 0
    described_tracks: int = 0
    undescribed_tracks: int = 0  # without the false faces
    false_faces: int = 0
    people: int = 0
    recording: Recording | None = None  # its people; None: it was not analysed in this run
    ended: list[TrackSummary] = field(default_factory=list)  # final summaries, in the privacy mode aggregate_only
    shots: int = 0
    crops: int = 0
    lost_crops: int = 0
    problem: str = ""  # why the analysis is incomplete; empty: no problem
    not_drawn: str = ""  # why there is no annotated video; empty: no problem
    read: ReadReport = field(default_factory=ReadReport)
    stopped: bool = False  # before the end of the video, or before it began; the analysis can go on later
    recalled: int = 0  # frames that an earlier run had already searched for faces
    expected: int = 0  # frames by the header of the video; 0: unknown
    finished_before: bool = False  # an earlier run has written the results; the counts are theirs
    failure: int = 0  # exit code of the error because of which there are no results; 0: there are

    def count_track(self, summary: TrackSummary) -> None:
        """Count a track, which has ended."""
        self.tracks += 1
        if summary.described:
            self.described_tracks += 1
        elif Undescribed.FALSE_FACE in summary.undescribed:
            self.false_faces += 1
        else:
            self.undescribed_tracks += 1

    @property
    def whole(self) -> bool:
        """Whether the analysis is complete."""
        return not self.problem and not self.lost_crops and not self.read.dropped

    @property
    def resumable(self) -> bool:
        """Whether a later run can add to the results."""
        return self.stopped or bool(self.lost_crops)

    def fail(self, error: UserError) -> None:
        """Note the error because of which there are no results."""
        self.problem, self.failure = str(error), error.exit_code

    def take_over(self, summary: dict[str, Any]) -> None:
        """Take the counts of results that an earlier run has finished."""
        self.finished_before = True
        for name in COUNTS:
            setattr(self, name, int(summary[name]))
        self.read = FinishedReport(summary["dropped"])
        self.problem = f"{self.video}: {summary['problem']}" if summary["problem"] else ""

    def dropped_frames(self) -> str:
        """Return a sentence about the frames that were dropped, if any."""
        counts = ", ".join(f"{count} {reason}" for reason, count in self.read.dropped.items())
        return f"frames that could not be analysed were dropped: {counts}" if counts else ""

    def counts(self) -> dict[str, Any]:
        """Return the contents of summary.json."""
        return {
            **{name: getattr(self, name) for name in COUNTS},
            "dropped": self.read.dropped,
            "complete": self.whole,
            "problem": self.problem.removeprefix(f"{self.video}: ") or None,
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
        shots: JsonLines | None = None,
    ) -> None:
        """`frame_size`: that of the header, px; records of frames of another size say theirs."""
        self._persons = persons
        self._tracks = tracks
        self._observations = observations
        self._shots = ShotLines(shots) if shots is not None else None
        self._result = result
        self._on_frame = on_frame
        self._frame_size = frame_size
        self._explanation = explanation
        self._drawing: Drawing | None = None
        self._resized = False  # a change of the frame size was logged
        self.presence = Presence()
        self.ended: list[TrackSummary] = []  # final summaries
        self._pending: deque[_Pending] = deque()
        self._by_crop: dict[int, _Pending] = {}  # by id() of the crop
        self._frame_times = array("d")  # s, media time of each frame so far, ascending
        self._accepted = 0

    def draw(self, drawing: Drawing | None) -> None:
        """Pass all frames from now on to what draws them."""
        self._drawing = drawing

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
        self.presence.observe(published)
        if explanation is not None:
            explanation.observe(published)
        # the end of the video has the time of the last frame
        is_frame = not self._frame_times or observation.media_time != self._frame_times[-1]
        if is_frame:
            self._write_frame(published)
        # in the order of the crops, not of the answers
        for raw, crop in zip(observation.crops, published.crops, strict=True):
            analysis = pending.analyses[raw.key.id]
            frame = bisect_left(self._frame_times, crop.media_time)  # it may have waited
            self._observations.write(analysis_record(crop, frame, analysis))
            if analysis is not None:
                self.presence.analysed(crop)
            changed = [] if analysis is None else self._persons.add_analysis(raw, analysis)
            if explanation is not None:
                explanation.answer(crop, changed)
            self._finish(changed)
        for end in observation.ended:
            self._finish(self._persons.finish(end))
        if is_frame:
            if self._shots is not None:
                self._shots.see(self._result.frames, observation)
            self._result.frames += 1
            self._result.media_time = observation.media_time
            if self._drawing is not None:
                self._drawing.frame(published)
            self._on_frame()

    def _write_frame(self, observation: Observation) -> None:
        """Write the record of a frame and those of its faces."""
        frame, time = len(self._frame_times), observation.media_time
        self._frame_times.append(time)
        seen = [t for t in observation.tracks if t.state is TrackState.CONFIRMED and t.detection is not None]
        self._observations.write(frame_record(observation, frame, len(seen), self._frame_size))
        qualities = {one.key.id: one.quality for one in observation.choices if one.media_time == time}
        for track in seen:
            quality = qualities.get(track.key.id)
            self._observations.write(observation_record(observation, track, frame, quality, self._frame_size))

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
        """Write the tracks whose ends were held back in case the face returns, and the last shot.

        Called at the end of the video.
        """
        self._finish(self._persons.release())
        if self._shots is not None:
            self._shots.close()
            self._result.shots = self._shots.written

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
            self._result.count_track(summary)
            self.ended.append(summary)
