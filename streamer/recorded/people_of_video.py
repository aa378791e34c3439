"""Finds the people of a short video by the stages of a recorded analysis, with the pictures of each, without files."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from faceanalytics.errors import ConfigError, InputError, LostDependency
from faceanalytics.files import hash_file
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.alike import alike
from streamer.identity.blank import blank_embedding
from streamer.identity.impostors import threshold
from streamer.identity.persons import Persons
from streamer.identity.seen import SeenFace, SeenPeople, SeenPerson
from streamer.observe import Observer
from streamer.recorded.part import Part
from streamer.recorded.people import FoundPeople, Person, find_people
from streamer.recorded.presence import Presence, names_of, was_there
from streamer.source.file import decode_file, probe_file
from streamer.source.picture import DecodedFrame, frame_of
from streamer.track.keys import recorded_keys, split_keys
from streamer.values import (
    Bytes,
    EndReason,
    FaceAnalysis,
    FaceCrop,
    Floats,
    Frame,
    ImpostorScores,
    Model,
    Observation,
    SourceEnd,
    TrackSummary,
    Undescribed,
)

Analyse = Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]]

CAMERA = "video"  # stands for all of them in metrics
LONGEST_S = 600.0  # of a video
ALL_FRAMES_S = 60.0  # up to this length, every frame is looked at
SAMPLE_FPS = 10.0  # of longer videos
AT_ONCE = 16  # frames observed before their crops are analysed
WORKER_S = 30.0  # longest wait for a worker
MOST_PIXELS = 50_000_000  # of a frame


@dataclass(frozen=True, slots=True)
class Recognising:
    """What analyses crops, and how similar strangers are by it."""

    analyse: Analyse
    model: Model
    impostors: ImpostorScores | None


@dataclass(slots=True, eq=False)
class _Taken:
    """A crop that was analysed, under the id that its track had then."""

    crop: FaceCrop
    frame: int
    box: tuple[float, float, float, float]
    analysis: FaceAnalysis


class _Finding:
    """The state of one video."""

    def __init__(self, config: StreamerConfig, detector: Detector, known: Recognising, digest: str) -> None:
        alone = config.gallery.model_copy(update={"folder": None})
        every = config.detect.attention.model_copy(update={"enabled": False})
        detect = config.detect.model_copy(update={"attention": every})
        self.config = config.model_copy(update={"gallery": alone, "detect": detect})
        self.observer = Observer(self.config, detector, recorded_keys(digest))
        self.observer.set_workers({known.model: 1})
        self.persons = Persons(self.config, split_keys(recorded_keys(digest)))
        if known.impostors is not None:
            self.persons.use_impostors(known.impostors, known.model.id)
        self.presence = Presence()
        self.ended: list[TrackSummary] = []
        self.taken: list[_Taken] = []
        self.frames = 0
        self._boxes: dict[tuple[str, float], tuple[int, tuple[float, float, float, float]]] = {}

    def observe(self, frames: Iterator[tuple[int, Frame]]) -> list[Observation]:
        """Observe the next frames; empty at the end."""
        found = []
        for number, frame in itertools.islice(frames, AT_ONCE):
            (observation,) = self.observer.observe([frame])
            for track in observation.tracks:
                if track.detection is not None:
                    x1, y1, x2, y2 = observation.detections.boxes[track.detection].tolist()
                    self._boxes[track.key.id, frame.media_time] = number, (x1, y1, x2, y2)
            found.append(observation)
            self.frames += 1
        return found

    def end(self) -> list[Observation]:
        """End all tracks."""
        return self.observer.observe([SourceEnd(CAMERA, 0, EndReason.END_OF_FILE)])

    def take(self, observation: Observation, analyses: Sequence[FaceAnalysis | None]) -> None:
        """Take in a frame and the analyses of its crops, in the order of the crops."""
        published, changed = self.persons.observe(observation)
        self._finish(changed)
        self.presence.observe(published)
        for raw, crop, analysis in zip(observation.crops, published.crops, analyses, strict=True):
            frame, box = self._boxes[raw.key.id, raw.media_time]
            if analysis is None or analysis.embedding is None:
                continue
            self.taken.append(_Taken(crop, frame, box, analysis))
            self.presence.analysed(crop)
            self._finish(self.persons.add_analysis(raw, analysis))
        for end in observation.ended:
            self._finish(self.persons.finish(end))

    def _finish(self, changed: Sequence[TrackSummary]) -> None:
        self.ended += [one for one in changed if one.final and not one.merged_into]

    def people(self, known: Recognising) -> list[SeenPerson]:
        """Return the people, after the end."""
        self._finish(self.persons.release())
        found: FoundPeople = find_people(self.ended, self.presence, self.config, known.impostors)
        resembles = -1.0
        if known.impostors is not None:
            rate = self.config.gallery.false_accept_rate
            resembles = threshold(known.impostors, rate, 1, "gallery.false_accept_rate")
        parts = [part for one in found.people for part in self._parts(one, resembles)]
        parts.sort(key=lambda one: one.first_seen)
        return [replace(one, number=number) for number, one in enumerate(parts, 1)]

    def _parts(self, person: Person, resembles: float) -> list[SeenPerson]:
        """Return a person; several if the pictures show several, which the tracker took for one in a cut."""
        taken = [one for one in self.taken if any(_is_of(one, track) for track in person.tracks)]
        groups = alike([_vector(one) for one in taken], resembles)
        several = [group for group in groups if len(group) >= self.config.people.min_samples]
        if len(several) < 2:
            rows = several[0] if several else range(len(taken))
            first, last = min(one.first_seen for one in person.tracks), max(one.last.time for one in person.tracks)
            return [_seen(person, [taken[row] for row in rows], first, last)]
        found = []
        for group in several:
            some = [taken[row] for row in group]
            times = [one.crop.media_time for one in some]
            found.append(_seen(person, some, min(times), max(times)))
        return found


def _seen(person: Person, taken: Sequence[_Taken], first: float, last: float) -> SeenPerson:
    mean = np.sum([_vector(one) for one in taken], axis=0, dtype=np.float64) if taken else None
    template = None if mean is None else np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)
    return SeenPerson(
        number=person.number,
        first_seen=first,
        last_seen=last,
        certain=not person.uncertain,
        conflicting=any(Undescribed.CONFLICTING in one.undescribed for one in person.tracks),
        template=template,
        samples=len(taken),
        faces=tuple(_face(one) for one in taken),
    )


class VideoReader:
    """Finds the people of videos, one video at a time. The detector is loaded with the first one."""

    def __init__(
        self,
        config: StreamerConfig,
        analyse: Analyse,
        wait_for_worker: Callable[[], Awaitable[Model | None]],
        impostors: Callable[[], ImpostorScores | None],
    ) -> None:
        """`analyse`, `wait_for_worker`: of the dispatcher; `impostors`: scores of strangers, if there are any."""
        self._config = config
        self._analyse = analyse
        self._wait_for_worker = wait_for_worker
        self._impostors = impostors
        self._pool = ThreadPoolExecutor(1, "enrol-video")
        self._detector: Detector | None = None
        self._reading = asyncio.Lock()

    async def __call__(self, path: Path) -> SeenPeople:
        """Return the people of a video. Raises InputError, ConfigError and LostDependency."""
        async with self._reading:
            try:
                async with asyncio.timeout(WORKER_S):
                    model = await self._wait_for_worker()
            except TimeoutError:
                model = None
            if model is None:
                raise LostDependency(f"no worker has been connected within {WORKER_S:g} s")
            if not model.identity:
                raise ConfigError(f"the weights {model.id} were not trained for identity")
            if self._detector is None:
                load = partial(Detector, self._config.detect)
                self._detector = await asyncio.get_running_loop().run_in_executor(self._pool, load)
            known = Recognising(self._analyse, model, self._impostors() or model.impostors)
            return await people_of_video(self._config, self._detector, path, known, self._pool)

    def close(self) -> None:
        """End the thread after what it does."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def people_of_video(
    config: StreamerConfig, detector: Detector, path: Path, known: Recognising, pool: Executor
) -> SeenPeople:
    """Find the people of a video. `pool`: a thread of the detector. Raises InputError, and what `analyse` raises.

    A video that is damaged gives what is before the damage. Shorter ones are looked at frame by frame.
    """
    loop = asyncio.get_running_loop()
    info = await loop.run_in_executor(pool, probe_file, path)
    if info.duration_s > LONGEST_S:
        raise InputError(f"the video lasts {info.duration_s:.0f} s, at most {LONGEST_S:g} s are read: cut it")
    if info.width * info.height > MOST_PIXELS:
        raise InputError(f"its frames have {info.width}x{info.height} pixels: scale the video down")
    finding = _Finding(config, detector, known, await loop.run_in_executor(pool, hash_file, path))
    blank = await blank_embedding(known.model, known.analyse)
    if blank is not None:
        finding.persons.use_blank(known.model.id, blank)
    problems: list[str] = []
    part = Part(sample_fps=SAMPLE_FPS if (info.duration_s or LONGEST_S) > ALL_FRAMES_S else None)
    frames = _frames(path, part, problems.append)
    while observations := await loop.run_in_executor(pool, finding.observe, frames):
        await _take(finding, observations, known)
    await _take(finding, await loop.run_in_executor(pool, finding.end), known)
    if not finding.frames:
        raise InputError(problems[0] if problems else "the video has no frame")
    people = await loop.run_in_executor(pool, finding.people, known)
    return SeenPeople(tuple(people), finding.frames, problems[0] if problems else "")


async def _take(finding: _Finding, observations: Sequence[Observation], known: Recognising) -> None:
    crops = [crop.pixels for one in observations for crop in one.crops]
    analyses = iter(await known.analyse(crops) if crops else [])
    for one in observations:
        finding.take(one, [next(analyses) for _ in one.crops])


def _frames(path: Path, part: Part, report: Callable[[str], None]) -> Iterator[tuple[int, Frame]]:
    """Yield the frames of a video with their numbers, up to LONGEST_S; report why the end is missing."""
    numbers = dict[float, int]()  # by media time

    def numbered() -> Iterator[DecodedFrame]:
        for number, one in enumerate(decode_file(path, CAMERA)):
            numbers[one.media_time] = number
            yield one

    try:
        for one in part.frames(numbered()):
            if one.media_time > LONGEST_S:
                report(f"what is after {LONGEST_S:g} s was not read")
                return
            frame = frame_of(one, CAMERA, 0)
            if frame is not None:
                yield numbers[one.media_time], frame
    except InputError as error:
        report(str(error).removeprefix(f"{path}: "))


def _is_of(taken: _Taken, track: TrackSummary) -> bool:
    return taken.crop.key.id in names_of(track) and was_there(track, taken.crop.media_time)


def _vector(taken: _Taken) -> Floats:
    assert taken.analysis.embedding is not None
    return taken.analysis.embedding


def _face(taken: _Taken) -> SeenFace:
    crop, embedding = taken.crop, _vector(taken)
    quality = crop.quality.value
    return SeenFace(taken.frame, crop.media_time, taken.box, crop.score, quality, crop.pixels, embedding)
