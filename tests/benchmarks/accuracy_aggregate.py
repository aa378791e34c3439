"""How well many samples of a face become one answer, compared with the usual methods, in simulations.

The truth is known in a simulation. It shows what the methods do with errors of the kind they are made for, not the size
of a network's errors.

Ages: persons of 15 to 75 years, one error per person (4 years), one per crop (3 to 12 years by its quality, correlated
within 0.8 s), 5 % outliers of 25 years, five samples a second. `inside` is the share of persons whose age lies in our
80 % interval, `naive` that of an interval of 1.28 standard errors around the mean.

Expressions: 90 s of segments of 4 s (neutral 8 s), each at least 0.6 s long. The network is right in 65 or 80 % of the
samples, and may repeat itself. F1 is that of segments, found where they cover half of the union with the true one;
`segments` is their number over the true one.

Swaps: two persons in a track of 30 s, one crop a second, with embeddings whose cosine to their own person is around
0.7, and one crop in twelve that resembles nobody.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from streamer.aggregate.age import HALF_OF_80, AgeBase, estimate_age
from streamer.aggregate.estimates import Samples
from streamer.aggregate.expression import COUNT, NEUTRAL, Expressions
from streamer.aggregate.samples import Doubles, Sample
from streamer.aggregate.timeline import TimelineBase, segments
from streamer.config import Aggregate
from streamer.values import Model

SETTINGS = Aggregate()
PERSONS = 400
SAMPLES = (1, 3, 10, 30)
SEQUENCES = 8
LENGTH_S = 90.0
RATES = ((1.0, 0.8, 0.0), (5.0, 0.8, 0.6), (5.0, 0.65, 0.3))  # samples/s, share that is right, share that is repeated
TRACKS = 200
Span = tuple[float, float, int]  # s from, s to, expression


def measure() -> dict[str, Any]:
    return {"age": _ages(), "expression": _expressions(), "swaps": _swaps()}


def table(results: dict[str, Any]) -> str:
    lines = [f"{'age: mean error, years':<40}" + "".join(f"{name:>9}" for name in results["age"]["1"])]
    lines += [
        f"{f'  {count} readings':<40}" + "".join(f"{value:>9.2f}" for value in row.values())
        for count, row in results["age"].items()
    ]
    lines.append("")
    for case, row in results["expression"].items():
        lines.append(f"{f'expression, {case}':<52}{'right %':>9}{'F1':>7}{'segments':>10}")
        lines += [f"  {name:<50}{100 * a:>9.1f}{f:>7.2f}{n:>9.2f}x" for name, (a, f, n) in row.items()]
    lines.append("")
    lines += [f"{name:<52}{value:>9.3g}" for name, value in results["swaps"].items()]
    return "\n".join(lines)


def _ages() -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(1)
    persons = [list(_readings_of_age(rng, max(SAMPLES))) for _ in range(PERSONS)]
    found: dict[str, dict[str, float]] = {}
    for count in SAMPLES:
        errors: dict[str, list[float]] = {name: [] for name in (*USUAL, "ours")}
        inside, naive = 0, 0
        for samples in persons:
            truth, kept = samples[0][0], [one for _, one in samples[:count]]
            ages = np.array([one.age for one in kept])
            for name, usual in USUAL.items():
                errors[name].append(abs(usual(ages) - truth))
            ours = estimate_age(SETTINGS, AgeBase(), kept)
            errors["ours"].append(abs(ours.years - truth))
            inside += ours.low <= truth <= ours.high
            spread = HALF_OF_80 * float(ages.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
            naive += abs(float(ages.mean()) - truth) <= spread
        found[str(count)] = {name: float(np.mean(values)) for name, values in errors.items()}
        found[str(count)] |= {"inside %": 100 * inside / PERSONS, "naive %": 100 * naive / PERSONS}
    return found


def _smoothed_age(ages: Doubles) -> float:
    value = float(ages[0])
    for age in ages[1:]:
        value += 0.2 * (float(age) - value)
    return value


USUAL: dict[str, Callable[[Doubles], float]] = {
    "mean": lambda ages: float(ages.mean()),
    "median": lambda ages: float(np.median(ages)),
    "EMA": _smoothed_age,
}


def _readings_of_age(rng: np.random.Generator, count: int) -> Iterator[tuple[float, Sample]]:
    """The person's age, and a reading of it, five a second."""
    age = float(rng.uniform(15, 75))
    common, error = float(rng.normal(0, SETTINGS.age_bias_years)), 0.0
    like = math.exp(-0.2 / SETTINGS.age_correlation_s)
    for index in range(count):
        error = like * error + math.sqrt(1 - like**2) * float(rng.normal()) if index else float(rng.normal())
        quality = float(rng.uniform(0.1, 0.95))
        spread = SETTINGS.age_error_years * (SETTINGS.age_error_poor_years / SETTINGS.age_error_years) ** (1 - quality)
        outlier = float(rng.normal(0, 25)) if rng.random() < 0.05 else 0.0
        read = age + common + spread * error + outlier
        yield age, Sample(index / 5, quality, read, None, np.zeros(0), None, 0.0)


def _expressions() -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for rate, right, repeated in RATES:
        scores: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(SEQUENCES):
            rng = np.random.default_rng(seed)
            spans = list(_spans(rng))
            times, samples, truth = _samples(rng, spans, rate, right, repeated)
            chain = Expressions(SETTINGS)
            for place, (time, sample) in enumerate(zip(times, samples, strict=True)):
                chain.insert(place, time, sample)
            live = [-1 if belief.current is None else belief.current for belief in chain.beliefs]
            lasting = [
                (one.start, one.end, one.expression)
                for one in segments(SETTINGS, TimelineBase(), times, chain.smoothed)
            ]
            late = [next((which for a, b, which in lasting if a <= time <= b), -1) for time in times]
            argmax = [int(sample.argmax()) for sample in samples]
            smoothed = _smoothed_expressions(times, samples)
            for name, labels, runs in (
                ("argmax of each sample", argmax, _runs(times, argmax)),
                ("EMA of the logits, 0.4 s", smoothed, _runs(times, smoothed)),
                ("ours, live", live, _runs(times, live)),
                ("ours, timeline (1 s late)", late, lasting),
            ):
                hits = float(np.mean([one == other for one, other in zip(labels, truth, strict=True)]))
                scores.setdefault(name, []).append((hits, _f1(runs, spans), len(runs) / len(spans)))
        case = f"{rate:g}/s, {100 * right:.0f} % right, {100 * repeated:.0f} % repeated"
        found[case] = {
            name: (float(hits), float(f1), float(ratio))
            for name, (hits, f1, ratio) in ((name, np.mean(rows, axis=0)) for name, rows in scores.items())
        }
    return found


def _spans(rng: np.random.Generator) -> Iterator[Span]:
    time, which = 0.0, NEUTRAL
    while time < LENGTH_S:
        lasts = max(float(rng.exponential(8.0 if which == NEUTRAL else 4.0)), 0.6)
        yield time, min(time + lasts, LENGTH_S), which
        time += lasts
        which = int(rng.choice([other for other in range(COUNT) if other != which]))


def _samples(
    rng: np.random.Generator, spans: Sequence[Span], rate: float, right: float, repeated: float
) -> tuple[list[float], list[Doubles], list[int]]:
    """Media times (s), softmaxes (7,) and truths. A sample repeats the one before with the share `repeated`."""
    times = ((np.arange(int(LENGTH_S * rate)) + rng.uniform(0, 0.5, int(LENGTH_S * rate))) / rate).tolist()
    samples: list[Doubles] = []
    truths: list[int] = []
    said = NEUTRAL
    for time in times:
        truth = next(which for start, end, which in spans if start <= time < end)
        if not (truths and truths[-1] == truth and rng.random() < repeated):
            others = [other for other in range(COUNT) if other != truth]
            said = truth if rng.random() < right else int(rng.choice(others))
        logits = rng.normal(0, 0.8, COUNT)
        logits[said] += 2 + rng.exponential(2)
        powers = np.exp(logits - logits.max())
        samples.append(powers / powers.sum())
        truths.append(truth)
    return times, samples, truths


def _smoothed_expressions(times: Sequence[float], samples: Sequence[Doubles]) -> list[int]:
    mean = np.log(samples[0] + 1e-6)
    labels = [int(mean.argmax())]
    for before, time, sample in zip(times, times[1:], samples[1:], strict=False):
        mean = mean - math.expm1((before - time) / 0.4) * (np.log(sample + 1e-6) - mean)
        labels.append(int(mean.argmax()))
    return labels


def _runs(times: Sequence[float], labels: Sequence[int]) -> list[Span]:
    """Samples in a row of the same expression, from half-way to half-way; -1: no expression."""
    borders = [times[0], *((one + other) / 2 for one, other in itertools.pairwise(times)), times[-1]]
    runs: list[Span] = []
    for place, label in enumerate(labels):
        if runs and runs[-1][2] == label:
            runs[-1] = (runs[-1][0], borders[place + 1], label)
        else:
            runs.append((borders[place], borders[place + 1], label))
    return [run for run in runs if run[2] >= 0]


def _f1(found: Sequence[Span], truth: Sequence[Span]) -> float:
    """Segments of the right expression that cover at least half of the union with theirs, each at most once."""
    free = list(truth)
    hits = 0
    for start, end, which in found:
        for span in free:
            both = min(end, span[1]) - max(start, span[0])
            if which == span[2] and both > 0 and both >= 0.5 * (max(end, span[1]) - min(start, span[0])):
                free.remove(span)
                hits += 1
                break
    return 2 * hits / (len(found) + len(truth))


def _swaps() -> dict[str, float]:
    """Measure how often a swap in the middle of a track is noticed, and how often one is reported without a swap.

    Tracks last 30 s, with one crop a second.
    """
    rng = np.random.default_rng(2)
    noticed, false, late, off = 0, 0, [], []
    plain, ours = [], []
    for index in range(2 * TRACKS):
        swap = 15 if index < TRACKS else None
        people = [_direction(rng), _direction(rng)]
        samples, found = Samples(SETTINGS, Model("simulated", False, False, (), True)), None
        vectors = []
        for second in range(30):
            person = people[swap is not None and second >= swap]
            vectors.append(_seen(rng, person))
            place = samples.add(
                Sample(
                    float(second),
                    float(rng.uniform(0.3, 0.9)),
                    None,
                    None,
                    np.zeros(0),
                    vectors[-1].astype(np.float32),
                    20.0,
                )
            )
            assert place is not None
            time = samples.swapped_at(place)
            if found is None and time is not None:
                found = second - time
                if swap is not None:
                    noticed += 1
                    off.append(abs(time - swap))
                    late.append(second - swap)
        false += swap is None and found is not None
        if swap is None:
            identity = samples.estimates(1).identity
            assert identity is not None
            ours.append(float(identity.template @ people[0]))
            plain.append(float(np.mean(vectors, axis=0) @ people[0] / np.linalg.norm(np.mean(vectors, axis=0))))
    return {
        "swaps noticed, % of tracks with one": 100 * noticed / TRACKS,
        "noticed after, s": float(np.mean(late)),
        "placed wrong by, s": float(np.mean(off)),
        "wrongly split, % of tracks without": 100 * false / TRACKS,
        "template's cosine to the person, plain mean": float(np.mean(plain)),
        "template's cosine to the person, ours": float(np.mean(ours)),
    }


def _direction(rng: np.random.Generator) -> Doubles:
    vector = rng.normal(size=512)
    return vector / np.linalg.norm(vector)


def _seen(rng: np.random.Generator, person: Doubles) -> Doubles:
    cosine = float(np.clip(rng.normal(0.7, 0.1), 0.0, 0.95)) if rng.random() > 1 / 12 else 0.0
    other = _direction(rng)
    other -= (other @ person) * person
    return cosine * person + math.sqrt(1 - cosine**2) * other / float(np.linalg.norm(other))


if __name__ == "__main__":
    print(table(measure()))
