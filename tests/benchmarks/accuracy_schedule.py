"""What the choice of crops costs in accuracy: age, identity and expression by analyses per track.

Tracks of 20 s at 25 frames/s are built from real faces of known persons that the network was not trained on, degraded
as by cameras (`degraded.py`): a face looks the same for 0.1 to 1 s, then different. Ages: UTKFace's, one image per
track. Identities: people of LFW, three images in a track, compared with a template of their other original images.
Expressions: FER2013's, another one every 3 to 8 s, shown by images of several persons. Every crop is analysed once;
then each policy is replayed on the answers, all through the same aggregation, and none may send unusable crops. The
constants of aggregation and expected gain were set on tracks of the same sets made with other random seeds.

The same is then done on real clips: sign language, a stage, turning heads, walking people, decoded, detected and
tracked by the streamer's own code. Their true ages and expressions are unknown, so an answer is compared with the one
from all frames together: age in years, cosine of the templates, share of time with the same expression.

Policies: every frame; every 15th of a track (the usual setup of DeepStream and DL Streamer); its first 12 (Frigate);
ours with its defaults, and ours with a budget for all tracks of a kind together, as a share of their frames. Errors are
those of the published answers: of age and identity at the end of the track, of expression over its time.

`python -m tests.benchmarks.accuracy_schedule [WEIGHTS]` prints the table for other weights, and writes nothing.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from streamer.config import Schedule, StreamerConfig
from streamer.identity.persons import Persons
from streamer.select.scheduler import Scheduler
from streamer.values import (
    ClockSource,
    Detections,
    EndReason,
    FaceCrop,
    Floats,
    Observation,
    Track,
    TrackEnd,
    TrackKey,
    TrackState,
    TrackSummary,
)
from tests.benchmarks.synthetic_tracks import FRAMES, TRACKS, Look, Story, ages, clip_stories, expressions, identities
from workers.runtime.engine import Engine
from workers.weights.registry import find

TEMPERATURES = tuple(round(0.1 * tenths, 1) for tenths in range(3, 16))
SETTINGS = StreamerConfig.model_validate(
    {"relink": {"enabled": False}, "aggregate": {"identity_swap_crops": 10**6}}  # a track is one person by construction
)


Sent = dict[str, list[tuple[int, int, Look]]]  # by track: frame of the decision, frame of the crop, crop
Policy = Callable[[Sequence[Story]], Sent]


def measure(weights: str | None = None) -> dict[str, Any]:
    engine = Engine(find(weights or "default"), threads=1)
    stories = {"age": ages(engine), "identity": identities(engine), "expression": expressions(engine)}
    rows = {name: _scored(policy, list(stories.items())) for name, policy in _policies().items()}
    return {
        "weights": engine.model_id,
        "tracks": TRACKS,
        "frames": FRAMES,
        "rows": rows,
        "clips": _measure_clips(engine),
        "temperature": _temperature(stories["expression"]),
    }


def _scored(policy: Policy, groups: Sequence[tuple[str, Sequence[Story]]]) -> dict[str, float]:
    """Analyses per track, and the scores of each kind of stories."""
    row, count = {"analyses": 0.0}, sum(len(tracks) for _, tracks in groups)
    for kind, tracks in groups:
        sent = policy(tracks)
        row["analyses"] += sum(len(crops) for crops in sent.values()) / count
        row |= SCORES[kind](tracks, {story.name: _answers(story, sent[story.name]) for story in tracks})
    return row


def _temperature(stories: Sequence[Story]) -> float:
    """Of those tried, the one with which the samples' scores, mixed with `expression_error`, are likeliest."""
    pairs: dict[int, tuple[Floats, int]] = {}
    for story in stories:
        assert story.expressions is not None
        for look, truth in zip(story.looks, story.expressions, strict=True):
            if look is not None and look.analysis.expression is not None and truth is not None:
                pairs[id(look)] = look.analysis.expression, truth
    scores = np.stack([one for one, _ in pairs.values()]).astype(np.float64)
    truths = [truth for _, truth in pairs.values()]
    wrong = SETTINGS.aggregate.expression_error

    def likelihood(temperature: float) -> float:
        sure = scores ** (1 / temperature)
        right = (sure / sure.sum(axis=1, keepdims=True))[np.arange(len(truths)), truths]
        return float(np.log((1 - wrong) * right + wrong / sure.shape[1]).mean())

    return max(TEMPERATURES, key=likelihood)


def _measure_clips(engine: Engine) -> dict[str, Any]:
    """All policies on the tracks of all clips, each clip by itself, as their budgets are."""
    clips = clip_stories(engine)
    with_reference = []
    for stories in clips:
        sent = _every(stories, 1)
        with_reference.append([_with_reference(story, _answers(story, sent[story.name])) for story in stories])
    tracks = [story for stories in with_reference for story in stories]
    rows = {}
    for name, policy in _policies().items():
        sent = {}
        for stories in with_reference:
            sent |= policy(stories)
        answers = {story.name: _answers(story, sent[story.name]) for story in tracks}
        row = {"analyses": sum(map(len, sent.values())) / len(tracks)}
        for score in SCORES.values():
            row |= score(tracks, answers)
        rows[name] = row
    return {"tracks": len(tracks), "usable": rows["every frame"]["analyses"], "rows": rows}


def _with_reference(story: Story, answers: list[tuple[int, TrackSummary]]) -> Story:
    """Replace the truth by the estimates from all frames together."""
    last = answers[-1][1]
    published = {
        frame: summary.estimates.expression.current for frame, summary in answers if summary.estimates.expression
    }
    expressions: list[int | None] = []
    for frame in range(len(story.looks)):
        expressions.append(published.get(frame, expressions[-1] if expressions else None))
    age, identity = last.estimates.age, last.estimates.identity
    assert age is not None
    assert identity is not None
    return replace(story, age=age.years, template=identity.template, expressions=expressions)


def table(results: dict[str, Any]) -> str:
    names = ("analyses", "age", "inside %", "cosine", "rank-1 %", "expression %")
    units = {"analyses": "per track", "age": "error, years", "inside %": "80 % interval", "expression %": "right"}
    lines = [f"{'':<32}" + "".join(f"{name:>14}" for name in names)]
    lines.append(f"{'':<32}" + "".join(f"{units.get(name, ''):>14}" for name in names))
    lines += _lines(results["rows"], names)
    lines += ["", f"temperature with which expressions are as sure as they are right: {results['temperature']:.1f}"]
    lines += ["", f"real clips, {results['clips']['tracks']} tracks: difference to what every frame says"]
    lines += _lines(results["clips"]["rows"], names)
    return "\n".join(lines)


def _lines(rows: dict[str, dict[str, float]], names: Sequence[str]) -> list[str]:
    return [
        f"{policy:<32}" + "".join(f"{row[name]:>14.{3 if name == 'cosine' else 1}f}" for name in names)
        for policy, row in rows.items()
    ]


def _policies() -> dict[str, Policy]:
    budgets = {f"ours, budget 1/{share} of frames": partial(send_ours, share=share) for share in (25, 50, 125)}
    return {
        "every frame": partial(_every, step=1),
        "every 15th frame": partial(_every, step=15),
        "first 12": _first_12,
        "ours": partial(send_ours, share=None),
        **budgets,
    }


def _every(stories: Sequence[Story], step: int) -> Sent:
    return {
        story.name: [(i, i, look) for i, look in enumerate(story.looks) if i % step == 0 and look is not None]
        for story in stories
    }


def _first_12(stories: Sequence[Story]) -> Sent:
    return {name: sent[:12] for name, sent in _every(stories, 1).items()}


def send_ours(stories: Sequence[Story], share: int | None) -> Sent:
    """The scheduler over all tracks at once, in media time as in a recorded analysis."""
    fps = stories[0].fps
    rate = None if share is None else len(stories) * fps / share
    scheduler = Scheduler(Schedule(analyses_per_second=rate))
    sent: Sent = {story.name: [] for story in stories}
    by_name = {story.name: story for story in stories}
    for frame in range(max(len(story.looks) for story in stories)):
        now = frame / fps
        for story in stories:
            look = story.looks[frame] if frame < len(story.looks) else None
            if look is not None and scheduler.consider(story.name, now, now, look.seen.quality.value) is None:
                scheduler.keep(crop_of(story, frame, look), now)
        for crop, _ in scheduler.choose(now):
            taken = round(crop.media_time * fps)
            look = by_name[crop.key.id].looks[taken]
            assert look is not None
            sent[crop.key.id].append((frame, taken, look))
    return sent


def crop_of(story: Story, frame: int, look: Look) -> FaceCrop:
    key = TrackKey(story.name, "film", 1)
    return FaceCrop(key, frame / story.fps, 0.0, look.seen.score, look.seen.quality, look.seen.crop)


def _answers(story: Story, sent: Sequence[tuple[int, int, Look]]) -> list[tuple[int, TrackSummary]]:
    """What is published after each analysis, with the frame at which that is."""
    persons, answers = Persons(SETTINGS, lambda key: key), []
    for decided, taken, look in sent:
        crop = crop_of(story, taken, look)
        persons.observe(observed(crop.key, decided / story.fps))
        answers += [(decided, summary) for summary in persons.add_analysis(crop, look.analysis)[-1:]]
    if sent:
        frames = len(story.looks)
        end = TrackEnd(TrackKey(story.name, "film", 1), EndReason.TIMEOUT, frames / story.fps, True)
        answers += [(frames, summary) for summary in persons.finish(end)[-1:]]
    return answers


def observed(key: TrackKey, time: float) -> Observation:
    box, score = np.array([[0, 0, 50, 50]], np.float32), np.array([0.9], np.float32)
    found = Detections(box, score, np.zeros((1, 5, 2), np.float32))
    track = Track(key, TrackState.CONFIRMED, box[0], 0.9, 0, 0.0, time)
    return Observation("film", 0, time, None, ClockSource.FILE_PTS, 0.0, (640, 480), found, (track,))


def _score_age(stories: Sequence[Story], answers: dict[str, list[tuple[int, TrackSummary]]]) -> dict[str, float]:
    errors, inside = [], []
    for story in stories:
        ages = [summary.estimates.age for _, summary in answers[story.name] if summary.estimates.age is not None]
        assert story.age is not None
        if ages:
            errors.append(abs(ages[-1].years - story.age))
            inside.append(ages[-1].low <= story.age <= ages[-1].high)
    return {"age": float(np.mean(errors)), "inside %": 100 * float(np.mean(inside))}


def _score_identity(stories: Sequence[Story], answers: dict[str, list[tuple[int, TrackSummary]]]) -> dict[str, float]:
    references = np.array([story.template for story in stories])
    cosines, first = [], []
    for row, story in enumerate(stories):
        found = [
            summary.estimates.identity for _, summary in answers[story.name] if summary.estimates.identity is not None
        ]
        likeness = references @ found[-1].template if found else np.zeros(len(stories))
        cosines.append(likeness[row])
        first.append(bool(found) and int(np.argmax(likeness)) == row)
    return {"cosine": float(np.mean(cosines)), "rank-1 %": 100 * float(np.mean(first))}


def _score_expression(stories: Sequence[Story], answers: dict[str, list[tuple[int, TrackSummary]]]) -> dict[str, float]:
    """The share of time in which the published expression is the true one; before the first answer none is right."""
    right = count = 0
    for story in stories:
        assert story.expressions is not None
        now: int | None = None
        published = {
            frame: summary.estimates.expression.current
            for frame, summary in answers[story.name]
            if summary.estimates.expression
        }
        for frame, truth in enumerate(story.expressions):
            now = published.get(frame, now)
            if truth is not None:
                right, count = right + (now == truth), count + 1
    return {"expression %": 100 * right / count}


SCORES: dict[str, Callable[..., dict[str, float]]] = {
    "age": _score_age,
    "identity": _score_identity,
    "expression": _score_expression,
}


if __name__ == "__main__":
    print(table(measure(sys.argv[1] if len(sys.argv) > 1 else None)))
