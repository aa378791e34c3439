"""Cuts in encoded video: which frames begin another shot, and what becomes of the faces."""

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.config import Track
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.observe import Observer
from streamer.source.file import read_file
from streamer.track.keys import recorded_keys
from streamer.track.shot_change import ShotChangeDetector
from streamer.values import Bytes, Frame, Observation, SendDecision, Transition
from tests.conftest import shared_folder
from tests.support.composed import Scene, compose
from tests.support.patch_detector import paint, write_lite_patch_detector

WIDTH, HEIGHT, FPS = 640, 480, 25
SHOT = 20  # frames


def scene(seed: int) -> Bytes:
    """Light and shade as in a room, in an image twice as wide as a frame."""
    coarse = np.random.default_rng(seed).integers(20, 220, (6, 16), np.uint8)
    grey = cv2.resize(coarse, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def shot(seed: int, speed: int = 0, frames: int = SHOT) -> list[Bytes]:
    """The camera turns by `speed` pixels per frame."""
    return [np.ascontiguousarray(scene(seed)[:, speed * i : speed * i + WIDTH]) for i in range(frames)]


def cuts_in(path: Path, images: Iterable[Bytes], every: int = 1) -> list[int]:
    encode(path, images)
    frames = list(read_file(path, "cam", 0))[::every]
    return [every * i for i, how in changes(frames) if how is Transition.CUT]


def changes(frames: Iterable[Frame]) -> list[tuple[int, Transition]]:
    """Which frames begin another shot than the first, and how."""
    shots = ShotChangeDetector(Track().shot_change_levels)
    found = [(i, shots.see(frame.media_time, frame.pixels)) for i, frame in enumerate(frames)]
    assert found[0] == (0, Transition.START)
    return [(i, how) for i, how in found[1:] if how is not None]


def encode(path: Path, images: Iterable[Bytes]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for pixels in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))


def test_the_first_frames_of_other_shots_are_cuts_also_when_the_camera_turns(tmp_path: Path) -> None:
    images = shot(1) + shot(2, speed=8) + shot(3)
    assert cuts_in(tmp_path / "a.mp4", images) == [SHOT, 2 * SHOT]
    assert cuts_in(tmp_path / "b.mp4", images, every=4) == [SHOT, 2 * SHOT]


def test_black_between_two_shots_is_another_shot(tmp_path: Path) -> None:
    black = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * SHOT
    assert cuts_in(tmp_path / "a.mp4", shot(1) + black + shot(1)) == [SHOT, 2 * SHOT]


def test_dimmed_light_noise_and_a_turning_camera_are_no_cuts(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    still = shot(1)
    dimmed = [(pixels * 0.6).astype(np.uint8) for pixels in still]
    noisy = [np.clip(pixels + random.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8) for pixels in dimmed]
    assert cuts_in(tmp_path / "a.mp4", still + dimmed + noisy) == []
    assert cuts_in(tmp_path / "b.mp4", shot(2, speed=30)) == []


def person(scene_: Bytes, seed: int, x: int) -> Bytes:
    """Somebody stands in this scene: a body of some colour below a head."""
    colours = np.random.default_rng(seed).integers(30, 220, (2, 3)).tolist()
    pixels = np.ascontiguousarray(scene_[:, :WIDTH])
    cv2.rectangle(pixels, (x - 60, 230), (x + 60, HEIGHT), colours[0], -1)
    cv2.circle(pixels, (x, 180), 45, colours[1], -1)
    return pixels


def swaying(seed: int, frames: int = SHOT) -> list[Bytes]:
    """The same room in every shot, with somebody who moves from side to side."""
    return [person(scene(1), seed, 320 + round(12 * np.sin(i / 3))) for i in range(frames)]


def faded(before: Bytes, after: list[Bytes], frames: int) -> list[Bytes]:
    """Begin the shot `after` with a cross-fade from the picture `before`."""
    shares = [(i + 1) / (frames + 1) for i in range(frames)]
    mixed = [cv2.addWeighted(one, share, before, 1 - share, 0) for share, one in zip(shares, after, strict=False)]
    return [*(np.asarray(one, np.uint8) for one in mixed), *after[frames:]]


def test_another_person_in_the_same_room_and_framing_is_a_cut_and_movement_is_not(tmp_path: Path) -> None:
    images = swaying(1) + swaying(2) + swaying(5)
    assert cuts_in(tmp_path / "a.mp4", images) == [SHOT, 2 * SHOT]
    assert cuts_in(tmp_path / "b.mp4", images, every=3) == [21, 42]


@pytest.mark.parametrize("frames", [5, 10, 20, 37])
@pytest.mark.parametrize("same_room", [True, False], ids=["other-person", "other-scene"])
def test_a_cross_fade_begins_a_shot_while_the_pictures_change_places(
    tmp_path: Path, frames: int, same_room: bool
) -> None:
    before, after = (swaying(1, 30), swaying(2, 80)) if same_room else (shot(1, frames=30), shot(2, frames=80))
    encode(tmp_path / "a.mp4", before + faded(before[-1], after, frames))
    ((first, how),) = changes(read_file(tmp_path / "a.mp4", "cam", 0))
    assert how is Transition.FADE
    assert 30 + frames // 4 <= first <= 30 + frames + 2


def test_light_that_goes_down_slowly_is_no_cross_fade(tmp_path: Path) -> None:
    gains = 0.6 + 0.4 * np.cos(np.arange(60) * np.pi / 20)
    dimmed = [(pixels * gain).astype(np.uint8) for pixels, gain in zip(swaying(1, 60), gains.tolist(), strict=True)]
    encode(tmp_path / "a.mp4", dimmed)
    assert changes(read_file(tmp_path / "a.mp4", "cam", 0)) == []


def test_the_light_of_a_flash_is_no_cut(tmp_path: Path) -> None:
    lit = swaying(1)
    lit[10] = np.asarray(cv2.convertScaleAbs(lit[10], alpha=1.6), np.uint8)
    assert cuts_in(tmp_path / "a.mp4", lit) == []


@pytest.mark.shared
def test_three_people_filmed_in_one_place_are_cut_apart_at_every_frame_rate(tmp_path: Path) -> None:
    clips = shared_folder() / "data" / "clips" / "asl"
    names = ("milk", "learn", "no", "please", "book", "again")
    scenes = [Scene(clips / f"{name}.mkv", length_s=1.2) for name in names]
    for fps in (30, 15, 10):
        compose(tmp_path / f"{fps}.mp4", scenes, fps=fps)
        found = changes(read_file(tmp_path / f"{fps}.mp4", "cam", 0))
        assert found == [(round(1.2 * place * fps), Transition.CUT) for place in range(1, len(names))]


@pytest.mark.shared
def test_the_cuts_of_a_recording_from_a_stage_are_found_and_nothing_else() -> None:
    frames = read_file(shared_folder() / "data" / "clips" / "stage-cuts.mp4", "cam", 0)
    assert changes(frames) == [(at, Transition.CUT) for at in (20, 82, 211)]


def test_a_face_where_another_one_was_before_the_cut_is_another_track(tmp_path: Path) -> None:
    weights = write_lite_patch_detector(tmp_path / "patches.onnx")

    def numbers(**track: float) -> list[list[int]]:
        """Which tracks see a face, per frame."""
        seen = observed(tmp_path / "a.mp4", weights, **track)
        assert [one.shot for one in seen] == ([1] * SHOT + [1 if track else 2] * SHOT)
        return [[track.key.number for track in one.tracks if track.detection is not None] for one in seen]

    images = [pixels.copy() for pixels in shot(1) + shot(2)]
    for pixels in images:
        paint(pixels, 100, 60)
    encode(tmp_path / "a.mp4", images)
    assert numbers() == [[1]] * SHOT + [[2]] * SHOT
    assert numbers(shot_change_levels=255) == [[1]] * (2 * SHOT)


def observed(path: Path, weights: Path, **track: float) -> list[Observation]:
    config = parse_config({"detect": {"weights": str(weights)}, "track": track}, "test")
    watching = Observer(config, Detector(config.detect), recorded_keys("content"))
    return [one for frame in read_file(path, "cam", 0) for one in watching.observe([frame])]


def test_what_waits_at_a_cut_is_sent_before_and_the_next_crop_is_of_the_new_track(tmp_path: Path) -> None:
    weights = write_lite_patch_detector(tmp_path / "patches.onnx")
    images = [pixels.copy() for pixels in shot(1) + shot(2)]
    for pixels in images:
        paint(pixels, 100, 60)
    encode(tmp_path / "a.mp4", images)
    seen = observed(tmp_path / "a.mp4", weights)
    assert [(end.key.number, end.time) for end in seen[SHOT].ended] == [(1, seen[SHOT].media_time)]
    crops = [(crop.key.number, crop.media_time) for one in seen for crop in one.crops]
    assert {number for number, _ in crops} == {1, 2}
    assert all((time >= seen[SHOT].media_time) == (number == 2) for number, time in crops)
    assert not any(crop.key.number == 1 for one in seen[SHOT + 1 :] for crop in one.crops)


def test_no_crop_is_taken_while_two_pictures_are_mixed(tmp_path: Path) -> None:
    weights = write_lite_patch_detector(tmp_path / "patches.onnx")
    before, after = shot(1, frames=20), shot(2, frames=50)
    for pixels in before + after:
        paint(pixels, 100, 60)
    encode(tmp_path / "a.mp4", before + faded(before[-1], after, 20))
    seen = observed(tmp_path / "a.mp4", weights)
    (began,) = [i for i in range(1, 70) if seen[i].shot != seen[i - 1].shot]
    assert seen[began].transition is Transition.FADE
    assert 25 <= began <= 40
    taken = [round(crop.media_time * FPS) for one in seen for crop in one.crops if crop.key.number > 1]
    assert taken
    assert min(taken) >= 40
    blended = {i for i, one in enumerate(seen) for choice in one.choices if choice.decision is SendDecision.BLENDED}
    assert {32, 35, 38} <= blended
    assert max(blended) <= 50
