"""Tracks of two persons: the share noticed and split, the delay, and the tracks of one person split by mistake.

The identity tracks of "Choice of crops" are used (40 people of LFW whom the network was not trained on, 20 s, three
images each, degraded as by cameras), with the crops that the scheduler sends; in the tracks of two the second person
takes over after 10 s. A person who is another image every second is harder than real video.
`identity_min_cosine` and `identity_swap_crops` are settings; the first row is the default.
"""

from typing import Any

import numpy as np

from streamer.aggregate.aggregator import Aggregator
from streamer.config import Aggregate
from streamer.values import TrackKey
from tests.benchmarks.accuracy_schedule import Sent, crop_of, observed, send_ours
from tests.benchmarks.synthetic_tracks import FPS, FRAMES, Story, identities
from workers.runtime.engine import Engine
from workers.weights.registry import find

SETTINGS = ((0.2, 4), (0.2, 3), (0.2, 5), (0.1, 4), (0.3, 4))  # identity_min_cosine, identity_swap_crops


def measure() -> dict[str, Any]:
    one = [Story(story.name, story.looks) for story in identities(Engine(find("default"), threads=1))]
    half = FRAMES // 2
    nexts = one[1:] + one[:1]
    two = [Story(f"{a.name} {b.name}", a.looks[:half] + b.looks[half:]) for a, b in zip(one, nexts, strict=True)]
    sent = {True: send_ours(two, None), False: send_ours(one, None)}
    rows = {}
    for least, crops in SETTINGS:
        settings = Aggregate(identity_min_cosine=least, identity_swap_crops=crops)
        swapped = [_split(settings, story, sent[True]) for story in two]
        single = [_split(settings, story, sent[False]) for story in one]
        noticed = [time - half / FPS for time in swapped if time is not None and time >= half / FPS]
        early = [time for time in swapped if time is not None and time < half / FPS]
        mistakes = len(early) + sum(time is not None for time in single)
        rows[f"{least} {crops}"] = {
            "noticed": len(noticed) / len(two),
            "after_s": float(np.mean(noticed)) if noticed else float("nan"),
            "mistaken": mistakes / (len(one) + len(two)),
        }
    return rows


def table(results: dict[str, Any]) -> str:
    lines = [f"{'min. cosine, crops':<24}{'noticed':>10}{'after s':>10}{'split by mistake':>20}"]
    for settings, row in results.items():
        lines.append(
            f"{settings:<24}{100 * row['noticed']:>9.0f}%{row['after_s']:>10.1f}{100 * row['mistaken']:>19.1f}%"
        )
    return "\n".join(lines)


def _split(settings: Aggregate, story: Story, sent: Sent) -> float | None:
    """When the track was split first, s; None: never."""
    key = TrackKey(story.name, "film", 1)
    aggregator = Aggregator(settings, lambda _: TrackKey(f"{story.name} split", "film", 2))
    for decided, taken, look in sent[story.name]:
        time = decided / FPS
        aggregator.observe(observed(key, time))
        summaries = aggregator.add_analysis(crop_of(story, taken, look), look.analysis)
        if any(summary.split_from for summary in summaries):
            return time
    return None


if __name__ == "__main__":
    print(table(measure()))
