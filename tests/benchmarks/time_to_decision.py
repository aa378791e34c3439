"""How soon it is decided whom a track shows, and what asking for the crops that decide changes.

The tracks are those of real clips (sign language, a stage, turning heads, walking people), decoded, detected, tracked
and analysed as by a streamer. Each begins four times, at random within 60 s (seed 0), as seen by as many cameras as
there are clips. Three people are enrolled, each from another clip of theirs; the other tracks are of strangers. One
worker answers the stated crops per second, one after the other; the budget follows from its answers as it does live.
Both ways of choosing crops see the same tracks. No clock of the machine is involved, so its load does not matter.

A decision is IDENTIFIED or UNKNOWN. Its time counts from the first usable face of a track; a track that has left
before, or is never decided, counts as infinitely late in the first median; `in view`: the share of the others, and the
median and 95 % quantile of their times (s) behind it. `false`: tracks with a wrong
name in the end, `missed`: those of enrolled people who are UNKNOWN then. `age`, `cosine`: how far the answers of tracks
are, in the end, from those by all frames together.
"""

import heapq
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamer.config import Schedule, StreamerConfig
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.identification import EnrolledGallery
from streamer.identity.impostors import threshold
from streamer.identity.persons import Persons
from streamer.select.gain import ModelOutputs
from streamer.select.scheduler import Scheduler
from streamer.values import (
    EndReason,
    FaceCrop,
    IdentityStatus,
    ImpostorScores,
    TrackEnd,
    TrackKey,
    TrackSummary,
)
from tests.benchmarks.accuracy_schedule import observed
from tests.benchmarks.synthetic_tracks import Look, Story, clip_stories
from workers.runtime.engine import Engine
from workers.weights.registry import find

SETTINGS = StreamerConfig.model_validate(
    {"relink": {"enabled": False}, "aggregate": {"identity_swap_crops": 10**6}}  # a track is one person by construction
)
ENROLLED = {"again": "a", "bird": "b", "book": "c"}  # clip of sign language -> person
KNOWN = {"brother": "a", "no": "a", "milk": "b", "please": "b", "learn": "c", "school": "c"}
REPEATS, ARRIVALS_S, STEP_S, LOST_S = 4, 60.0, 1 / 30, 2.0
CAPACITIES = (2.0, 4.0, 8.0, 16.0, 64.0)  # crops/s of the worker


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    """One track that begins at some time."""

    key: TrackKey
    story: Story
    start: float  # s
    person: str  # empty: a stranger

    @property
    def frames(self) -> list[int]:
        """The frames with a usable face."""
        return [frame for frame, look in enumerate(self.story.looks) if look is not None]

    def at(self, frame: int) -> float:
        """The time of a frame, s."""
        return self.start + (frame - self.frames[0]) / self.story.fps


def measure() -> dict[str, Any]:
    engine = Engine(find("default"), threads=1)
    stories = [story for clip in clip_stories(engine) for story in clip]
    scores = engine.impostor_scores
    assert scores is not None
    return simulated(stories, scores, engine.model_id)


def simulated(stories: Sequence[Story], scores: Any, model_id: str) -> dict[str, Any]:
    """Play all tracks against workers of several speeds, by both ways of choosing."""
    known = _gallery(stories, scores, model_id)
    plays = _plays([story for story in stories if _clip(story) not in ENROLLED])
    truth = {story.name: _all_frames(story) for story in stories}
    rows = [
        {"capacity": capacity, "asks": asks, **_run(plays, known, capacity, asks, truth)}
        for capacity in CAPACITIES
        for asks in (False, True)
    ]
    return {"tracks": len(plays), "known": sum(bool(one.person) for one in plays), "rows": rows}


def _clip(story: Story) -> str:
    return Path(story.name.split(" ")[0]).stem


def _gallery(stories: Sequence[Story], scores: Any, model_id: str) -> EnrolledGallery:
    people: dict[str, list[EmbeddedReference]] = {}
    for story in stories:
        who = ENROLLED.get(_clip(story))
        looks = [look for look in story.looks if look is not None]
        if who is not None and len(looks) > 20:
            for look in looks[:: len(looks) // 3][:3]:
                embedding = look.analysis.embedding
                assert embedding is not None
                people.setdefault(who, []).append(EmbeddedReference(who, "", embedding, look.seen.quality.value))
    table = ImpostorScores(
        scores["pairs"], scores["people"], np.array(scores["shares"]), np.array(scores["cosines"]), "the card"
    )
    reach = threshold(table, SETTINGS.gallery.false_accept_rate, len(people), "gallery.false_accept_rate")
    return EnrolledGallery(Gallery(people, model_id), reach)


def _plays(stories: Sequence[Story]) -> list[Play]:
    dice = np.random.default_rng(0)
    plays = []
    for number in range(REPEATS):
        for story in stories:
            key = TrackKey(f"{story.name} {number}", _clip(story), 1)
            plays.append(Play(key, story, float(dice.uniform(0, ARRIVALS_S)), KNOWN.get(_clip(story), "")))
    return plays


def _all_frames(story: Story) -> TrackSummary | None:
    """Return what a track shows if every frame is analysed."""
    return _Watched(Play(TrackKey(story.name, "film", 1), story, 0.0, "")).after_all()


class _Watched:
    """One track as it is aggregated."""

    def __init__(self, play: Play, known: EnrolledGallery | None = None) -> None:
        self.play = play
        self.persons = Persons(SETTINGS, lambda key: key)
        self.persons.use_gallery(known)
        self.newest: TrackSummary | None = None
        self.decided: float | None = None

    def answer(self, crop: FaceCrop, look: Look, now: float) -> None:
        self.persons.observe(observed(crop.key, now - self.play.start))
        for summary in self.persons.add_analysis(crop, look.analysis)[-1:]:
            self.newest = summary
        if not self.undecided and self.decided is None:
            self.decided = now

    @property
    def undecided(self) -> bool:
        decision = self.newest.decision if self.newest is not None else None
        return decision is None or decision.status is IdentityStatus.UNDECIDED

    def after_all(self) -> TrackSummary | None:
        for frame in self.play.frames:
            look = self.play.story.looks[frame]
            assert look is not None
            self.answer(_crop(self.play, frame, look), look, self.play.at(frame))
        return self.end()

    def end(self) -> TrackSummary | None:
        last = self.persons.finish(TrackEnd(self.play.key, EndReason.TIMEOUT, 1e3, True))
        return last[-1] if last else None


def _crop(play: Play, frame: int, look: Look) -> FaceCrop:
    return FaceCrop(play.key, play.at(frame) - play.start, 0.0, look.seen.score, look.seen.quality, look.seen.crop)


def _run(
    plays: Sequence[Play], known: EnrolledGallery, capacity: float, asks: bool, truth: dict[str, TrackSummary | None]
) -> dict[str, float | None]:
    scheduler = Scheduler(Schedule(), live=True)
    scheduler.outputs = ModelOutputs()
    scheduler.budget.workers(1)
    watched = {play.key.id: _Watched(play, known) for play in plays}
    frames = [(play.at(frame), number, frame) for number, play in enumerate(plays) for frame in play.frames]
    ends = sorted((play.at(play.frames[-1]) + LOST_S, play.key.id) for play in plays)
    frames.sort(reverse=True)
    answers: list[tuple[float, int, str, FaceCrop, Look]] = []
    free, sent, now, looks = 0.0, 0, 0.0, dict[tuple[str, float], Look]()
    while frames or answers:
        now += STEP_S
        while answers and answers[0][0] <= now:
            _, _, name, crop, look = heapq.heappop(answers)
            watched[name].answer(crop, look, now)
            scheduler.answered(name, now)
            if asks:
                scheduler.decide(name, watched[name].undecided)
        while frames and frames[-1][0] <= now:
            _, number, frame = frames.pop()
            play = plays[number]
            seen = play.story.looks[frame]
            assert seen is not None
            crop = replace(_crop(play, frame, seen), media_time=play.at(frame))
            if scheduler.keep(crop, now) is None:
                looks[play.key.id, crop.media_time] = seen
        for crop, _ in scheduler.choose(now):
            free = max(free, now) + 1 / capacity
            sent += 1
            look = looks[crop.key.id, crop.media_time]
            play = watched[crop.key.id].play
            own = replace(crop, media_time=crop.media_time - play.start)
            heapq.heappush(answers, (free, sent, crop.key.id, own, look))
        while ends and ends[0][0] <= now:
            scheduler.forget(ends.pop(0)[1])
    return {"analyses": sent, **_scores(list(watched.values()), truth)}


def _scores(watched: Sequence[_Watched], truth: dict[str, TrackSummary | None]) -> dict[str, float | None]:
    times, false, missed, ages, cosines = [], 0, 0, [], []
    for one in watched:
        play = one.play
        in_time = one.decided is not None and one.decided <= play.at(play.frames[-1])
        times.append(one.decided - play.start if in_time and one.decided is not None else np.inf)
        last, best = one.end(), truth[play.story.name]
        if last is not None and last.decision is not None and last.decision.status is not IdentityStatus.UNDECIDED:
            false += last.decision.person not in ("", play.person)
            missed += last.decision.person == "" != play.person
        if last is None or best is None:
            continue
        if last.estimates.identity is not None and best.estimates.identity is not None:
            cosines.append(float(last.estimates.identity.template @ best.estimates.identity.template))
        if last.estimates.age is not None and best.estimates.age is not None:
            ages.append(abs(last.estimates.age.years - best.estimates.age.years))
    decided = 100 * float(np.isfinite(times).mean())
    soon = [one for one in times if np.isfinite(one)]
    median = float(np.quantile(times, 0.5, method="higher"))
    return {
        "median": median if np.isfinite(median) else None,
        "decided": decided,
        "median_of_decided": float(np.median(soon)),
        "p95_of_decided": float(np.quantile(soon, 0.95)),
        "false": false,
        "missed": missed,
        "age": float(np.mean(ages)),
        "cosine": float(np.mean(cosines)),
    }


COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("median", "median, s", lambda value: f"{value:.2f}"),
    ("decided", "in view, %", lambda value: f"{value:.0f}"),
    ("median_of_decided", "median", lambda value: f"{value:.2f}"),
    ("p95_of_decided", "95 %", lambda value: f"{value:.2f}"),
    ("false", "false", lambda value: f"{value:.0f}"),
    ("missed", "missed", lambda value: f"{value:.0f}"),
    ("analyses", "analyses", lambda value: f"{value:.0f}"),
    ("age", "age, years", lambda value: f"{value:.2f}"),
    ("cosine", "cosine", lambda value: f"{value:.3f}"),
)


def table(results: dict[str, Any]) -> str:
    lines = [f"{results['tracks']} tracks, {results['known']} of them of people who are enrolled"]
    lines.append(f"{'crops/s':<9}{'crops that decide':<20}" + "".join(f"{title:>12}" for _, title, _ in COLUMNS))
    for row in results["rows"]:
        name = "go first" if row["asks"] else "as others"
        cells = "".join(f"{'-' if row[field] is None else show(row[field]):>12}" for field, _, show in COLUMNS)
        lines.append(f"{row['capacity']:<9.0f}{name:<20}{cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:  # (model id, impostor scores, stories) of an earlier run
        model, table_of_strangers, clips = pickle.load(file)
    print(table(simulated([story for clip in clips for story in clip], table_of_strangers, model)))
