"""Small scenes, painted: how often a camera is looked at, and how soon a face is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamer import config
from streamer.attention.attention import Attention
from streamer.attention.looks import Look
from streamer.boxes import covered
from streamer.track.tracker import Tracker
from streamer.values import Bytes, Detections, TrackKey, TrackState
from tests.support.scenes import SIZE, Blob, Scene, candidate, preview

FPS = 10.0
MIN_FACE = 24.0  # px, smaller ones are not found
SECONDS = 120.0
COST_S = 0.03  # s of a look


@dataclass(frozen=True, slots=True)
class Story:
    """What one camera shows over time, for a detector that makes no errors."""

    faces: Callable[[float], Sequence[Blob]] = lambda time: ()
    light: Callable[[float], float] = lambda time: 1.0
    others: Callable[[float], Sequence[Blob]] = lambda time: ()  # that move, but are no faces
    noise: float = 2.0  # grey levels of the small picture
    from_s: float = 0.0  # s, since when there is a face that can be found; the delay counts from there


def _tree(time: float) -> Sequence[Blob]:
    sway = 6 * np.sin(7 * time) + 4 * np.sin(11.3 * time)
    return [Blob(420 + sway, 40, 150, 25)]


def _walk(time: float) -> Sequence[Blob]:
    return [Blob((50 * time) % 600, 150, 90)]


SITTING = Blob(300, 120, 60)
STORIES = {
    "empty room": Story(),
    "empty room, noisy picture": Story(noise=6.0),
    "empty room, flickering lamps": Story(light=lambda time: 1 + 0.15 * np.sin(2 * np.pi * 3.7 * time)),
    "empty room, a tree in the wind": Story(others=_tree),
    "somebody walks about without a face": Story(others=_walk),
    "a face sits still": Story(faces=lambda time: [SITTING]),
    "a face enters after 60 s": Story(faces=lambda time: [SITTING] if time >= 60 else [], from_s=60.0),
    "a face enters in front of the tree": Story(
        faces=lambda time: [Blob(450, 80, 60)] if time >= 60 else [], others=_tree, from_s=60.0
    ),
    "light is switched on over a face": Story(
        faces=lambda time: [SITTING], light=lambda time: 1.0 if time >= 60 else 0.005, from_s=60.0
    ),
    "a face comes closer slowly": Story(
        faces=lambda time: [Blob(320 - 4 - time / 3, 150, 8 + 2 * time / 3)], from_s=(MIN_FACE - 8) * 1.5
    ),
}


def tell(story: Story) -> dict[str, float | None]:
    """Return looks per second and the share of detector time, and the delay (s) until the face is tracked."""
    attention, scene = Attention(config.Attention(), live=True), Scene(story.noise)
    tracker = Tracker(config.Track(), lambda number: TrackKey(f"{number:06}", "cam", number))
    looks, cost, delay, lost = 0, 0.0, np.nan, 0
    for frame in range(round(SECONDS * FPS)):
        time = frame / FPS
        faces = story.faces(time)
        picture: Bytes = scene.picture([*story.others(time), *faces], story.light(time))
        outlook = tracker.outlook(time)
        (answer,) = attention.choose([candidate(preview(picture, time), outlook)], time)
        if isinstance(answer, Look):
            visible = [face for face in faces if face.side >= MIN_FACE and story.light(time) > 0.1]
            tracks, _ = tracker.update(
                time, _found(visible, answer), SIZE, False, None if answer.whole else answer.regions
            )
            share = 1.0 if answer.whole else float(np.prod(answer.regions[:, 2:] - answer.regions[:, :2], axis=1).sum())
            share = share if answer.whole else share / (SIZE[0] * SIZE[1])
            new = sum(track.first_seen == time for track in tracks)
            attention.looked("cam", answer, tracker.outlook(time), new, COST_S * share)
            looks, cost = looks + 1, cost + share
        else:
            tracks = tracker.coast(time, SIZE, attention.still("cam"))
        there = any(track.state is TrackState.CONFIRMED for track in tracks)
        if there and np.isnan(delay):
            delay = time - story.from_s
        lost += not there and not np.isnan(delay)
    return {
        "looks_per_s": looks / SECONDS,
        "time": cost / (SECONDS * FPS),
        "delay_s": None if np.isnan(delay) else round(float(delay), 2),
        "lost_s": lost / FPS,
    }


def _found(faces: Sequence[Blob], look: Look) -> Detections:
    boxes = np.array([[x, y, x + side, y + side] for x, y, side, _ in faces], np.float32).reshape(-1, 4)
    if not look.whole and len(boxes):
        boxes = boxes[(covered(boxes, look.regions) >= 0.9).any(axis=1)]
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros((len(boxes), 5, 2), np.float32))


def measure() -> dict[str, dict[str, float | None]]:
    return {name: tell(story) for name, story in STORIES.items()}


if __name__ == "__main__":
    for name, row in measure().items():
        print(f"{name:<40}", row)
