"""Tracks of two persons: the share noticed and split, the delay, and the tracks of one person split by mistake.

LFW: the identity tracks of "Choice of crops" (40 people whom the network was not trained on, 20 s, three images each,
degraded as by cameras) and four more draws of the kind, of which the last two show each person by one image. The crops
are those that the scheduler sends; in the tracks of two the second person takes over after 10 s. A person who is
another image every second is harder than real video. The first draw chose no setting.

Clips: the tracks of real clips with at least three crops; each is followed by each of another person. Their people are
known (three of sign language, others by track); a track that shows two is left out. Tracks of one person are each track
by itself, and each followed by another of the same person.

CONFLICTING: the share of the tracks of two that are not split, and of those of one person, that are published as such
and not described (`now`).

`before`: only four good crops in a row of another person split a track (`identity_suspect_cosine: -1`).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from streamer.aggregate.aggregator import Aggregator
from streamer.config import Aggregate
from streamer.values import Agreement, TrackKey
from tests.benchmarks.accuracy_schedule import Sent, crop_of, observed, send_ours
from tests.benchmarks.synthetic_tracks import FPS, FRAMES, Look, Story, clip_stories, identities
from workers.runtime.engine import Engine
from workers.weights.registry import find

BEFORE, NOW = "before", "now"
SETTINGS = {BEFORE: Aggregate(identity_suspect_cosine=-1), NOW: Aggregate()}
DRAWS = ((2, 3), (12, 3), (13, 3), (14, 1), (15, 1))  # seed, images of each person
FEWEST = 3  # crops of a clip's track
PEOPLE = {
    **{f"asl/{name}.mkv 1": "one" for name in ("again", "brother", "no")},
    **{f"asl/{name}.mkv 1": "two" for name in ("bird", "milk", "please")},
    **{f"asl/{name}.mkv 1": "three" for name in ("book", "learn", "school")},
    "head-pose-face-detection-female.gif 1": "four",
    "head-pose-face-detection-female-and-male.gif 2": "four",
}
MIXED = "street-crowd-1080p.mp4 1"  # two men


def measure() -> dict[str, Any]:
    engine = Engine(find("default"), threads=1)
    draws = [identities(engine, seed, images) for seed, images in DRAWS]
    rows: dict[str, Any] = {}
    for (seed, images), people in zip(DRAWS, draws, strict=True):
        one = [Story(story.name, story.looks) for story in people]
        half = FRAMES // 2
        nexts = one[1:] + one[:1]
        two = [Story(f"{a.name} {b.name}", a.looks[:half] + b.looks[half:]) for a, b in zip(one, nexts, strict=True)]
        tracks = [(story, half / FPS) for story in two], [(story, None) for story in one]
        rows[f"LFW, draw {seed}, {images} image{'s' if images > 1 else ''}"] = _both(*tracks)
    rows["LFW, all draws"] = _mean(list(rows.values()))
    rows["clips"] = _both(*_clip_tracks(engine))
    return rows


def table(results: dict[str, Any]) -> str:
    head = f"{'noticed':>10}{'after s':>10}{'by mistake':>12}"
    lines = [f"{'':<26}{BEFORE:>20}{'':>12}{NOW:>20}{'':>12}{'CONFLICTING':>20}"]
    lines.append(f"{'':<26}{head}{head}{'unnoticed':>13}{'of one':>8}")
    for name, row in results.items():
        cells = "".join(
            f"{100 * cell['noticed']:>9.0f}%{cell['after_s']:>10.1f}{100 * cell['mistaken']:>11.1f}%"
            for cell in (row[BEFORE], row[NOW])
        )
        shares = row[NOW]["conflicting_two"], row[NOW]["conflicting_one"]
        two, one = ("-" if share is None else f"{100 * share:.1f}%" for share in shares)
        lines.append(f"{name:<26}{cells}{two:>13}{one:>8}")
    return "\n".join(lines)


Timed = tuple[Story, float | None]  # and when the second person takes over, s; None: never


def _both(two: Sequence[Timed], one: Sequence[Timed]) -> dict[str, Any]:
    sent: Sent = {}
    for story, _ in (*two, *one):
        sent |= send_ours([story], None)
    return {name: _scored(settings, two, one, sent) for name, settings in SETTINGS.items()}


def _scored(settings: Aggregate, two: Sequence[Timed], one: Sequence[Timed], sent: Sent) -> dict[str, float | None]:
    delays, mistakes = [], 0
    unnoticed: list[bool] = []  # whether they are CONFLICTING
    for story, swap in two:
        assert swap is not None
        time, conflicting = _judged(settings, story, sent[story.name])
        unnoticed += [conflicting] if time is None else []
        if time is not None and time < swap:
            mistakes += 1
        elif time is not None:
            delays.append(time - swap)
    alone = [_judged(settings, story, sent[story.name]) for story, _ in one]
    mistakes += sum(time is not None for time, _ in alone)
    return {
        "noticed": len(delays) / len(two),
        "after_s": float(np.mean(delays)) if delays else float("nan"),
        "mistaken": mistakes / (len(one) + len(two)),
        "conflicting_two": float(np.mean(unnoticed)) if unnoticed else None,
        "conflicting_one": float(np.mean([conflicting for _, conflicting in alone])),
    }


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over the rows that have it."""
    return {when: {key: _mean_of([row[when][key] for row in rows]) for key in rows[0][when]} for when in SETTINGS}


def _mean_of(figures: Sequence[float | None]) -> float | None:
    known = [one for one in figures if one is not None]
    return float(np.mean(known)) if known else None


def _clip_tracks(engine: Engine) -> tuple[list[Timed], list[Timed]]:
    """Each track followed by each of another person; each by itself, and followed by one of the same person."""
    stories = [story for clip in clip_stories(engine) for story in clip]
    stories = [one for one in stories if one.name != MIXED and len(send_ours([one], None)[one.name]) >= FEWEST]
    two: list[Timed] = []
    alone: list[Timed] = [(story, None) for story in stories]
    for first, second in permutations(stories, 2):
        joined, swap = _joined(first, second)
        same = PEOPLE.get(first.name, first.name) == PEOPLE.get(second.name, second.name)
        (alone if same else two).append((joined, None if same else swap))
    return two, alone


def _joined(first: Story, second: Story) -> tuple[Story, float]:
    """One track after the other, at the frame rate of the first, and when the second begins, s."""
    step = second.fps / first.fps
    count = round(len(second.looks) / step)
    looks: list[Look | None] = [second.looks[min(round(place * step), len(second.looks) - 1)] for place in range(count)]
    name = f"{first.name} {second.name}"
    return replace(first, name=name, looks=[*first.looks, *looks]), len(first.looks) / first.fps


def _judged(settings: Aggregate, story: Story, sent: Sequence[tuple[int, int, Look]]) -> tuple[float | None, bool]:
    """When the track was split first, s (None: never), and whether it is CONFLICTING at the end."""
    key, split, status = TrackKey(story.name, "film", 1), None, Agreement.CONSISTENT
    aggregator = Aggregator(settings, lambda _: TrackKey(f"{story.name} split", "film", 2))
    for decided, taken, look in sent:
        time = decided / story.fps
        aggregator.observe(observed(key, time))
        summaries = aggregator.add_analysis(crop_of(story, taken, look), look.analysis)
        if any(summary.split_from for summary in summaries):
            split = time
            break
        for summary in summaries:
            if summary.estimates.identity is not None:
                status = summary.estimates.identity.status
    return split, status is Agreement.CONFLICTING


if __name__ == "__main__":
    print(table(measure()))
