"""The whole attention, with a simulated clock and detector: what is looked at, when, and what waits."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from streamer.attention.attention import Attention
from streamer.attention.looks import Look, LookReason, Skip, SkipReason
from streamer.config import Attention as Settings
from streamer.values import Bytes, Outlook
from tests.support.scenes import SIZE, Blob, Scene, candidate, outlook, preview

FPS = 10.0
Paint = Callable[[int, float], Bytes]  # the picture of a camera, by its number, at a time


class Machine:
    """A detector that takes `cost` seconds for a whole frame and looks at the newest frame of each camera."""

    def __init__(self, cameras: int, paint: Paint, cost: float, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.attention = Attention(self.settings, live=True)
        self.cameras, self.paint, self.cost = cameras, paint, cost
        self.looked: dict[int, list[tuple[float, Look]]] = defaultdict(list)
        self.skipped: Counter[SkipReason] = Counter()
        self.latencies: list[float] = []
        self.waits_since: dict[int, float] = {}
        self.longest_wait = 0.0  # s, from the first frame that should have been looked at to the look

    def run(self, seconds: float, start: float = 0.0) -> "Machine":
        """Frames come in turn, FPS of each camera; while the detector is busy, newer ones replace those that wait."""
        now, done = start, [round(start * FPS) - 1] * self.cameras
        while now < start + seconds:
            newest = [int((now - number / FPS / self.cameras) * FPS + 1e-6) for number in range(self.cameras)]
            fresh = [number for number in range(self.cameras) if newest[number] > done[number]]
            now += self._batch(fresh, newest, now) if fresh else 0.5 / FPS / self.cameras
            for number in fresh:
                done[number] = newest[number]
        return self

    def _batch(self, fresh: Sequence[int], newest: Sequence[int], now: float) -> float:
        came = [newest[number] / FPS + number / FPS / self.cameras for number in fresh]
        pictures = [self.paint(number, time) for number, time in zip(fresh, came, strict=True)]
        asked = [
            candidate(preview(picture, time, camera=str(number)))
            for number, time, picture in zip(fresh, came, pictures, strict=True)
        ]
        spent = 0.0
        answers = self.attention.choose(asked, now)
        for number, answer in zip(fresh, answers, strict=True):
            if isinstance(answer, Skip):
                self.skipped[answer.reason] += 1
                if answer.reason is SkipReason.BUDGET:
                    self.waits_since.setdefault(number, now)
                continue
            self.longest_wait = max(self.longest_wait, now - self.waits_since.pop(number, now))
            seconds = self.cost * (1 if answer.whole else 0.5)
            spent += seconds
            self.looked[number].append((now, answer))
            self.attention.looked(str(number), answer, outlook(), 0, seconds)
        self.latencies += [
            now + spent - time for time, answer in zip(came, answers, strict=True) if isinstance(answer, Look)
        ]
        return max(spent, 1e-3)

    def longest_gap(self, number: int, since: float, until: float, whole: bool = False) -> float:
        times = [time for time, look in self.looked[number] if time >= since and (look.whole or not whole)]
        return float(np.diff([since, *times, until]).max())


def pictures(blobs: Callable[[int, float], Sequence[Blob]]) -> Paint:
    scenes = [Scene(seed=number) for number in range(16)]
    return lambda number, time: scenes[number].picture(blobs(number, time))


def walker(number: int, time: float) -> list[Blob]:
    return [Blob((60 * time + 90 * number) % 560, 100, 80)]


def nobody(number: int, time: float) -> list[Blob]:
    return []


def test_the_first_frame_of_a_camera_is_looked_at_as_a_whole() -> None:
    attention = Attention(Settings(), live=True)
    (first,) = attention.choose([candidate(preview(Scene().picture(), 0.0))], 0.0)
    assert isinstance(first, Look)
    assert (first.whole, first.reason) == (True, LookReason.NEW_CAMERA)


def test_a_quiet_camera_is_looked_at_every_full_look_and_hardly_more() -> None:
    machine = Machine(1, pictures(nobody), 0.03).run(60)
    assert machine.longest_gap(0, 0, 60, whole=True) <= machine.settings.full_look_s + 0.1
    assert len(machine.looked[0]) <= 1.3 * 60 / machine.settings.full_look_s
    assert set(machine.skipped) == {SkipReason.QUIET}


def test_a_face_that_enters_after_a_minute_is_looked_at_at_once() -> None:
    machine = Machine(1, pictures(lambda number, time: [Blob(300, 100, 60)] if time >= 61.05 else []), 0.03).run(64)
    time, look = next((time, look) for time, look in machine.looked[0] if time > 61.05)
    assert look.reason is LookReason.MOTION
    assert time < 61.05 + 2 / FPS
    assert any((box[:2] <= [300, 100]).all() and (box[2:] >= [360, 160]).all() for box in look.regions)


def test_with_enough_time_every_camera_is_looked_at_when_it_is_wanted() -> None:
    machine = Machine(4, pictures(walker), 0.005).run(1)
    machine.skipped.clear()
    machine.run(19, start=1)
    assert not machine.skipped[SkipReason.BUDGET]
    assert all(len(machine.looked[number]) > 20 for number in range(4))


@pytest.mark.parametrize("cost", [0.02, 0.03])
def test_sudden_motion_in_sixteen_cameras_at_once_starves_none(cost: float) -> None:
    """One look at each of all cameras takes 0.32 or 0.48 s, so each can be looked at twice in `longest_gap_s`."""
    machine = Machine(16, pictures(lambda number, time: walker(number, time) if time > 5 else []), cost)
    machine.run(25)
    assert machine.skipped[SkipReason.BUDGET] > 20
    assert machine.longest_wait <= machine.settings.longest_gap_s
    for number in range(16):
        assert machine.longest_gap(number, 0, 25, whole=True) <= machine.settings.full_look_s + 0.5
    counts = [len(machine.looked[number]) for number in range(16)]
    assert max(counts) < 1.5 * min(counts)
    assert np.quantile(machine.latencies, 0.95) <= machine.settings.latency_s


def test_a_machine_that_is_too_slow_looks_at_all_cameras_in_turn() -> None:
    machine = Machine(16, pictures(walker), 0.25).run(40)  # a look at each of all cameras takes 4 s
    counts = [len(machine.looked[number]) for number in range(16)]
    assert min(counts) >= 0.5 * np.mean(counts)
    assert max(machine.longest_gap(number, 4, 40) for number in range(16)) < 2.2 * 16 * 0.25


def test_a_quiet_camera_beside_busy_ones_still_has_its_full_looks() -> None:
    busy = Machine(8, pictures(lambda number, time: walker(number, time) if number else []), 0.05).run(20)
    assert busy.longest_gap(0, 0, 20, whole=True) <= busy.settings.full_look_s + 0.5


def a_recording(settings: Settings, seconds: float = 20) -> list[tuple[float, ...]]:
    scene, attention, answer = Scene(), Attention(settings, live=False), []
    for frame in range(round(seconds * 25)):
        time = frame / 25
        face = [[200 + 20 * time, 100, 240 + 20 * time, 150]]
        tracks = outlook(face, drift=0.05 * (frame % 4))
        (choice,) = attention.choose(
            [candidate(preview(scene.picture([Blob(200 + 20 * time, 100, 40)]), time), tracks)], time
        )
        if isinstance(choice, Look):
            attention.looked("cam", choice, tracks, 0, 0.01 * np.random.default_rng().random())
            answer.append((time, *choice.regions.ravel().tolist()))
    return answer


def test_a_recording_is_looked_at_in_the_same_way_whatever_the_machine() -> None:
    settings = Settings(effort=2)
    assert a_recording(settings) == a_recording(settings)


def test_more_effort_looks_more_often_and_the_most_or_none_looks_at_every_frame() -> None:
    looks = [len(a_recording(Settings(effort=effort), 8)) for effort in (1, 2, 3, 4, 5)]
    assert looks == sorted(looks)
    assert looks[0] < looks[3] < 200
    assert looks[4] == len(a_recording(Settings(), 8)) == len(a_recording(Settings(enabled=False), 8)) == 200


def test_a_frame_that_the_limit_leaves_out_is_no_overload() -> None:
    attention, scene = Attention(Settings(max_fps=1, effort=5), live=True), Scene()
    answers = []
    for frame in range(10):
        (answer,) = attention.choose([candidate(preview(scene.picture(), frame / FPS))], frame / FPS)
        answers.append(answer)
        if isinstance(answer, Look):
            attention.looked("cam", answer, outlook(), 0, 0.01)
    assert [isinstance(answer, Look) for answer in answers] == 3 * [True] + 7 * [False]
    assert {answer.reason for answer in answers[3:]} == {SkipReason.LIMIT}


def test_a_limit_of_frames_per_second_is_kept() -> None:
    assert len(a_recording(Settings(max_fps=3))) <= 3 * 20 + 3
    assert 3 * 19 <= len(a_recording(Settings(max_fps=3, effort=5))) <= 3 * 20 + 3


def test_a_new_face_is_looked_at_in_the_next_frames_until_it_is_confirmed() -> None:
    attention, scene = Attention(Settings(), live=True), Scene()
    box = [[200, 100, 260, 160]]
    states = [outlook(), outlook(box, confirmed=False), outlook(box, confirmed=False), outlook(box), outlook(box)]
    answers = []
    for frame, tracks in enumerate(states):
        time = frame / FPS
        (answer,) = attention.choose([candidate(preview(scene.picture([Blob(200, 100, 60)]), time), tracks)], time)
        answers.append(answer)
        if isinstance(answer, Look):
            attention.looked("cam", answer, tracks, 0, 0.01)
    reasons = [answer.reason for answer in answers]
    assert reasons[:3] == [LookReason.NEW_CAMERA, LookReason.CONFIRMING, LookReason.CONFIRMING]
    assert all(isinstance(answer, Skip) for answer in answers[3:])


def looks_of(tracks: Callable[[float], Outlook], seconds: float, wanted: float = 0.0) -> list[Look]:
    """The looks at a still face, whose tracks are as stated by the time since the last look."""
    attention, scene, looks, last = Attention(Settings(), live=True), Scene(), [], 0.0
    for frame in range(round(seconds * FPS)):
        time = frame / FPS
        state = tracks(time - last)
        (answer,) = attention.choose(
            [candidate(preview(scene.picture([Blob(200, 100, 60)]), time), state, wanted)], time
        )
        if isinstance(answer, Look):
            looks.append(answer)
            attention.looked("cam", answer, tracks(0.0), 0, 0.01)
            last = time
    return looks


def test_a_face_that_sits_still_for_minutes_is_looked_at_about_once_a_second() -> None:
    box = [[200, 100, 260, 160]]
    looks = looks_of(lambda since: outlook(box, drift=since, unseen=since), 120)
    assert 100 <= len(looks) <= 150


def test_a_wanted_crop_and_a_missed_face_are_looked_at_soon_in_their_region() -> None:
    box = [[200, 100, 260, 160]]
    cropped = looks_of(lambda since: outlook(box), 8, wanted=1.0)
    missed = looks_of(lambda since: outlook(box, lost=True), 8)
    for looks, reason in ((cropped, LookReason.CROP), (missed, LookReason.LOSING)):
        parts = [look for look in looks if look.reason is reason]
        assert len(parts) >= 5
        assert not any(look.whole for look in parts)
        assert all((look.regions[:, 2:] <= SIZE).all() for look in parts)


def test_a_camera_that_is_forgotten_or_begins_another_epoch_is_new() -> None:
    attention, picture = Attention(Settings(), live=True), Scene().picture()

    def see(time: float, epoch: int) -> Look | Skip:
        (answer,) = attention.choose([candidate(preview(picture, time, epoch=epoch))], time)
        if isinstance(answer, Look):
            attention.looked("cam", answer, outlook(), 0, 0.01)
        return answer

    reasons = [see(0.0, 0).reason, see(0.1, 0).reason, see(0.2, 1).reason, see(0.3, 1).reason]
    attention.forget("cam")
    reasons.append(see(0.4, 1).reason)
    new, quiet = LookReason.NEW_CAMERA, SkipReason.QUIET
    assert reasons == [new, quiet, new, quiet, new]
