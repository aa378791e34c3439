"""Estimates age, expression, attributes and identity of one face from its analyses by one model.

The samples are kept in order of media time, so their order of arrival does not matter. The estimates are computed in
age.py, expression.py with timeline.py, attributes.py and template.py. In a long track the oldest samples are folded
into the base of each estimate, which replaces them. A sample older than those is not used; in practice none arrives
that late.

A sample that may show another person waits outside the estimates until the next ones decide, see suspects.py.
"""

import math
from dataclasses import dataclass

from streamer.aggregate.age import AgeBase, estimate_age, fold_age
from streamer.aggregate.attributes import AttributeBase, estimate_attributes, fold_attributes
from streamer.aggregate.described import Tally, agreement
from streamer.aggregate.expression import Belief, Expressions
from streamer.aggregate.samples import Sample, foldable, place_of
from streamer.aggregate.suspects import Verdict, judge, poor_before
from streamer.aggregate.template import TemplateBase, estimate_template, find_swap, fold_template
from streamer.aggregate.timeline import TimelineBase, fold_timeline, segments, shares
from streamer.config import Aggregate
from streamer.values import (
    AgeEstimate,
    AttributeEstimate,
    Evidence,
    ExpressionEstimate,
    IdentityEstimate,
    Model,
    TrackEstimates,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """The folded samples: the bases of all estimates."""

    samples: int
    best_quality: float
    time: float  # s, media time of the newest of them
    age: AgeBase
    belief: Belief | None
    timeline: TimelineBase
    attributes: AttributeBase
    template: TemplateBase
    tally: Tally


class Samples:
    """The analyses of one face by one model, and the estimates from them.

    Estimates of outputs that the model does not have are None.
    """

    def __init__(self, settings: Aggregate, model: Model, base: _Base | None = None) -> None:
        self.model = model
        self._settings = settings
        no_votes = AttributeBase.empty(len(model.attributes))
        nothing = AgeBase(), None, TimelineBase(), no_votes, TemplateBase.empty(), Tally()
        self._base = base or _Base(0, 0.0, -math.inf, *nothing)
        self._samples: list[Sample] = []  # not folded, in order of media time
        self._waiting: list[Sample] = []  # that may show another person, in order of media time; not in the estimates
        self._left_out = 0  # number of samples that waited and were left out
        self._expressions = Expressions(settings, self._base.belief)

    @property
    def count(self) -> int:
        """The number of samples, including folded ones."""
        return self._base.samples + len(self._samples)

    @property
    def best_quality(self) -> float:
        """The quality of the best crop, 0..1."""
        return max(self._base.best_quality, *(one.quality for one in self._samples))

    @property
    def last_inferred(self) -> float:
        """The media time of the newest sample, s."""
        return self._samples[-1].time

    @property
    def waits(self) -> bool:
        """Whether a sample waits because it may show another person."""
        return bool(self._waiting)

    @property
    def tally(self) -> Tally:
        """What the samples say of how well the face can be described."""
        return self._base.tally.added(self._settings, self._samples)

    def take(self, one: Sample) -> tuple[Verdict, int | None]:
        """Add a sample, or let it wait; return what it means and its index among the samples that are not folded.

        After OTHER, `split_waiting` separates the two persons. The index is None if the sample is not added.
        """
        if one.time <= self._base.time:
            return Verdict.TOO_OLD, None
        early = bool(self._waiting) and one.time < self._waiting[0].time  # late answers belong to the person before
        verdict = Verdict.SAME
        if self.model.identity and self._samples and not early:
            verdict = judge(self._settings, self._base.template, self._samples, self._waiting, one)
        if verdict in (Verdict.WAITS, Verdict.OTHER):
            self._waiting.insert(place_of(self._waiting, one.time), one)
            if verdict is Verdict.OTHER or self._swap_so_far() is None:
                return verdict, None
            return Verdict.SAME, self._use_waiting()  # `swapped_at` finds the same
        if verdict is not Verdict.SAME:
            self._left_out += len(self._waiting)
            self._waiting = []
        if verdict is Verdict.ALONE:
            self._waiting = [one]
            return verdict, None
        if not early:
            self._use_waiting()
        return verdict, self.add(one)

    def _swap_so_far(self) -> int | None:
        """Return the index of the first sample of another person among all, if the newest that waits shows a swap."""
        both = [*self._samples, *self._waiting]
        return find_swap(self._settings, self._base.template, both, len(both) - 1)

    def _use_waiting(self) -> int | None:
        """Add the samples that wait; return the index of the last one, None if there are none."""
        place = None
        for each in self._waiting:
            place = self.add(each)
        self._waiting = []
        return place

    def split_waiting(self) -> tuple["Samples", "Samples", float]:
        """Return the samples before those that wait, those that wait, and the media time (s) of the first of these.

        Poor crops just before them go to the person whom they resemble more.
        """
        moved = poor_before(self._samples, self._waiting)
        kept, others = self._samples[: len(self._samples) - moved], self._samples[len(self._samples) - moved :]
        before, after = Samples(self._settings, self.model, self._base), Samples(self._settings, self.model)
        for samples, some in ((before, kept), (after, [*others, *self._waiting])):
            for one in some:
                samples.add(one)
        before._left_out = self._left_out
        return before, after, after._samples[0].time

    def add(self, one: Sample) -> int | None:
        """Add a sample; return its index among the samples that are not folded. None: it is too old to be used."""
        if one.time <= self._base.time:
            return None
        place = place_of(self._samples, one.time)
        self._samples.insert(place, one)
        if one.expression is not None:
            self._expressions.insert(place, one.time, one.expression)
        count = foldable(self._samples)
        if count:
            self._fold(count)
        return max(place - count, 0)

    def swapped_at(self, place: int) -> float | None:
        """Return the media time (s) at which another person appeared if the sample at `place` shows that, else None."""
        if not self.model.identity:
            return None
        found = find_swap(self._settings, self._base.template, self._samples, place)
        return None if found is None else self._samples[found].time

    def split(self, time: float) -> tuple["Samples", "Samples"]:
        """Return the samples before a media time (s) and those from then on."""
        before, after = Samples(self._settings, self.model, self._base), Samples(self._settings, self.model)
        for one in self._samples:
            (before if one.time < time else after).add(one)
        before._left_out, after._waiting = self._left_out, self._waiting
        return before, after

    def estimates(self, revision: int) -> TrackEstimates:
        """Return the estimates, marked with a revision of the track. There must be at least one sample."""
        each = self._age(revision), self._expression(revision), self._attributes(revision), self._identity(revision)
        return TrackEstimates(*each, samples=self.count, model_id=self.model.id)

    def _age(self, revision: int) -> AgeEstimate | None:
        if not self.model.age:
            return None
        return AgeEstimate(*estimate_age(self._settings, self._base.age, self._samples), self._evidence(revision))

    def _expression(self, revision: int) -> ExpressionEstimate | None:
        if not self.model.expression:
            return None
        samples = self._base.timeline, self._times(), self._expressions.smoothed
        now = self._expressions.beliefs[-1]
        return ExpressionEstimate(
            current=now.current,
            current_since=now.since,
            distribution=shares(self._settings, *samples),
            timeline=segments(self._settings, *samples),
            evidence=self._evidence(revision),
        )

    def _attributes(self, revision: int) -> AttributeEstimate | None:
        which = self.model.attributes
        if not which:
            return None
        found = estimate_attributes(self._settings, which, self._base.attributes, self._samples)
        return AttributeEstimate(which, found.scores, found.presence, self._evidence(revision))

    def _identity(self, revision: int) -> IdentityEstimate | None:
        """Return the template; None also if the embeddings cancel each other out and have no direction."""
        if not self.model.identity:
            return None
        found = estimate_template(self._settings, self._base.template, self._samples)
        if found is None:
            return None
        outliers = found.outliers + self._left_out + len(self._waiting)
        status = agreement(self._settings, found.consistency, found.samples, outliers)
        evidence = self._evidence(revision, found.samples)
        return IdentityEstimate(found.vector, found.consistency, outliers, evidence, status)

    def _evidence(self, revision: int, samples: int | None = None) -> Evidence:
        count = self.count if samples is None else samples
        return Evidence(count, self.best_quality, self.last_inferred, revision)

    def _times(self) -> list[float]:
        return [one.time for one in self._samples]

    def _fold(self, count: int) -> None:
        """Fold the oldest `count` samples into the base."""
        settings, model, base = self._settings, self.model, self._base
        old, times, beliefs = self._samples[:count], self._times()[:count], self._expressions.smoothed[:count]
        self._base = _Base(
            samples=base.samples + count,
            best_quality=max(base.best_quality, max(one.quality for one in old)),
            time=times[-1],
            age=fold_age(settings, base.age, old) if model.age else base.age,
            belief=self._expressions.drop(count) if model.expression else None,
            timeline=fold_timeline(settings, base.timeline, times, beliefs) if model.expression else base.timeline,
            attributes=fold_attributes(model.attributes, base.attributes, old) if model.attributes else base.attributes,
            template=fold_template(settings, base.template, old) if model.identity else base.template,
            tally=base.tally.added(settings, old),
        )
        del self._samples[:count]
