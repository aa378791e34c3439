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
from streamer.values import Bytes
from tests.conftest import shared_folder
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
    cuts = ShotChangeDetector(Track().min_shot_change)
    frames = list(read_file(path, "cam", 0))[::every]
    return [every * i for i, frame in enumerate(frames) if cuts.is_shot_change(frame.media_time, frame.pixels)]


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


@pytest.mark.shared
def test_the_cuts_of_a_recording_from_a_stage_are_found_and_nothing_else() -> None:
    cuts = ShotChangeDetector(Track().min_shot_change)
    frames = read_file(shared_folder() / "data" / "clips" / "stage-cuts.mp4", "cam", 0)
    assert [i for i, frame in enumerate(frames) if cuts.is_shot_change(frame.media_time, frame.pixels)] == [20, 82, 211]


def test_a_face_where_another_one_was_before_the_cut_is_another_track(tmp_path: Path) -> None:
    weights = write_lite_patch_detector(tmp_path / "patches.onnx")

    def numbers(**track: float) -> list[list[int]]:
        """Which tracks see a face, per frame."""
        config = parse_config({"detect": {"weights": str(weights)}, "track": track}, "test")
        watching = Observer(config, Detector(config.detect), recorded_keys("content"))
        seen = []
        for frame in read_file(tmp_path / "a.mp4", "cam", 0):
            (observation,) = watching.observe([frame])
            seen.append([track.key.number for track in observation.tracks if track.detection is not None])
        return seen

    images = [pixels.copy() for pixels in shot(1) + shot(2)]
    for pixels in images:
        paint(pixels, 100, 60)
    encode(tmp_path / "a.mp4", images)
    assert numbers() == [[1]] * SHOT + [[2]] * SHOT
    assert numbers(min_shot_change=2) == [[1]] * (2 * SHOT)
