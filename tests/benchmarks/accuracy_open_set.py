"""Who is named in an open set: enrolled people and strangers, with the bundled weights and with other recognisers.

Of people with several images a random half is enrolled with up to five images each; their others are searched for, and
so is one image of each stranger: the other half, and all with one image. Five draws. `LFW held out` has people on
whom the bundled weights were not trained, `LFW` all people that are there (recognisers that were not trained on LFW
only), `Congress` portraits of two years about nine years apart, `ORL` one laboratory.
Single images are searched; a camera's tracks have several crops.

- TPIR: share of searches for enrolled people that find them first and reach the cosine that 1 % or 0.1 % of the
  strangers reach (FPIR), with the 95 % interval (Wilson) for the searches of one draw. With fewer than ten strangers
  beyond the cosine the figure is marked `~`; with fewer than one it is left
  out.
- `named at 5 %`: as the streamer decides, with the cosine that it derives from half of the strangers as cohort for a
  stated rate of 5 % (the cohorts are too small for 1 %): the share of the other strangers who are named. `one`: all
  people have one image; `fifty`: up to fifty; `both`: every second one has one image, the others up to fifty. Then the
  strangers who are named as a person with one image, and with ten or more, for each such person (per mille), where
  5 % are named. `before`: with scores that are not corrected for the number of images.
- `with the card`: the bundled weights as they come, with the table of strangers of their card in place of a cohort, up
  to five images each: enrolled people and strangers who are named at a stated rate of 1 % and of 5 %, and what scaling
  the table by 0.95 would give.
- Protocol of Best-Rowden et al. (2014, "Unconstrained face recognition: identifying a person of interest from a media
  collection"): 596 people of LFW with one image each, one search for each, all images of all others as strangers;
  detection and identification rate at 1 % false alarms. Their list of people is not there, and LFW here has 10,204 of
  13,233 images, so the 596 are drawn at random five times.
- Families: galleries of two people only, decided as in the streamer at a stated rate of 1 %, for the 400 most similar
  pairs of people of the set, for pairs with one last name (some are relatives, most by chance) and for random pairs.
  `swapped`: named as the other one; `before`: without thresholds of their own for people who look alike.
- Normalisation by a cohort (half of the strangers): z-norm by the scores of a person against the cohort, t-norm by
  those of the searched face, s-norm by both, as-norm by the 100 highest of both. TPIR at FPIR 1 % and FNIR at more
  points (detection error trade-off).

![FNIR against FPIR, raw and normalised](images/open-set-det.svg)
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.config import Gallery as Settings
from streamer.identity.gallery import Gallery, cohort_scores
from streamer.identity.identification import EnrolledGallery, Identifier, Probe
from streamer.identity.impostors import threshold
from streamer.identity.look_alikes import LookAlikes
from streamer.values import IdentityDecision, IdentityReason, IdentityStatus, ImpostorScores
from tests.benchmarks.open_set_data import People, recognisers
from tests.benchmarks.open_set_data import people as people_of

Doubles = NDArray[np.float64]

DRAWS, REFERENCES, PERSON_OF_INTEREST = 5, 5, 596
STATED = 0.05
POINTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # FPIR
PAIRS = 400
TOP = 100  # cohort scores of adaptive normalisation
FIGURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "open-set-det.svg"
NEW = IdentityDecision(IdentityStatus.UNDECIDED, "", IdentityReason.TOO_LITTLE_EVIDENCE, (), None, None, 0, 0.0, 0)
NORMS = ("raw", "z-norm", "t-norm", "s-norm", "as-norm")


def measure() -> dict[str, Any]:
    results: dict[str, Any] = {"sets": {}, "stated": {}, "card": {}, "interest": {}, "families": {}, "norms": {}}
    for recogniser in recognisers():
        for name in recogniser.sets:
            people, key = people_of(name, recogniser), f"{recogniser.name}, {name}"
            print(f"  {key}: {len(people)} people, {sum(map(len, people.values()))} images", flush=True)
            results["sets"][key] = half_enrolled(people)
            if recogniser.strangers is not None:
                results["card"][key] = with_card(people, recogniser.strangers)
            if name.startswith("LFW"):
                results["stated"][key] = stated(people)
                results["families"][key] = families(people)
                results["norms"][key] = normalised(people)
            if name == "LFW":
                results["interest"][key] = person_of_interest(people)
    draw(results["norms"])
    return results


def table(results: dict[str, Any]) -> str:
    lines = [f"{'half enrolled':<40}{'people':>7}{'strangers':>10}{'TPIR at FPIR 1 %':>22}{'at 0.1 %':>22}"]
    for key, row in results["sets"].items():
        lines.append(
            f"{key:<40}{row['people']:>7}{row['strangers']:>10}{_share(row['0.01']):>22}{_share(row['0.001']):>22}"
        )
    lines += ["", f"{'named at 5 %':<40}{'one':>8}{'fifty':>8}{'both':>8}{'as one':>9}{'as many':>9}"]
    for key, rows in results["stated"].items():
        for when, row in rows.items():
            name = key if when == "now" else "  before"
            shares = "".join(f"{100 * row[column]:>7.2f}%" for column in ("one", "fifty", "both"))
            lines.append(f"{name:<40}{shares}{row['as one']:>9.3f}{row['as many']:>9.3f}")
    lines += ["", f"{'with the card':<60}{'known':>9}{'strangers':>11}"]
    for key, scales in results["card"].items():
        for kind, row in scales.items():
            lines.append(f"{f'{key}: {kind}':<60}{row['known']:>9.1%}{row['strangers']:>11.2%}")
    for key, row in results["interest"].items():
        lines += ["", f"Best-Rowden et al., {key}: {_share(row)} at 1 % false alarms, {row['strangers']} strangers"]
    lines += ["", f"{'families':<60}{'right':>8}{'undecided':>11}{'unknown':>9}{'swapped':>9}{'searches':>10}"]
    for key, kinds in results["families"].items():
        for kind, row in kinds.items():
            shares = f"{row['right']:>7.1%} {row['undecided']:>10.1%}{row['unknown']:>9.1%}"
            lines.append(f"{f'{key}: {kind}':<60}{shares}{row['swapped']:>9}{row['searches']:>10}".rstrip())
    lines += ["", f"{'FNIR at FPIR':<40}" + "".join(f"{100 * point:>8g}%" for point in POINTS)]
    for key, norms in results["norms"].items():
        lines.append(key)
        for norm, row in norms.items():
            lines.append(f"  {norm:<38}" + "".join(_point(row, point) for point in POINTS))
    return "\n".join(lines)


def half_enrolled(people: People) -> dict[str, Any]:
    rows, columns = [], (0.01, 0.001)
    for seed in range(DRAWS):
        enrolled, strangers = parted(people, seed)
        gallery, probes, owners = gallery_of(people, enrolled, REFERENCES, seed)
        top = gallery.scores(one_of_each(people, strangers, seed)).max(axis=1)
        found = gallery.scores(probes)
        right = found.argmax(axis=1) == owners
        rows.append([(right & (found.max(axis=1) > beyond(top, rate))).mean() for rate in columns])
    result: dict[str, Any] = {"people": len(enrolled), "strangers": len(strangers)}
    for column, rate in enumerate(columns):
        result[f"{rate:g}"] = _interval(float(np.mean([row[column] for row in rows])), len(owners), rate, len(top))
    return result


def stated(people: People) -> dict[str, dict[str, float]]:
    """Return the shares of strangers who are named at the stated rate, now and before."""
    result: dict[str, dict[str, float]] = {}
    for when, plain in (("now", False), ("before", True)):
        named: dict[str, list[float]] = defaultdict(list)
        for seed in range(DRAWS):
            enrolled, outside = parted(people, seed)
            cohort, strangers = outside[::2], outside[1::2]
            faces = one_of_each(people, strangers, seed)
            few = Gallery({name: people[name][:REFERENCES] for name in cohort}, "")
            for kind, most in (("one", (1, 1)), ("fifty", (50, 50)), ("both", (1, 50))):
                chosen = {name: images_of(people[name], most[row % 2], seed) for row, name in enumerate(enrolled)}
                gallery = Gallery(chosen, "")
                scores = gallery.scores(faces, plain)
                least = threshold(cohort_scores(few, gallery, "cohort", plain), STATED, len(gallery), "rate")
                named[kind].append(float((scores.max(axis=1) >= least).mean()))
                if kind == "both":
                    each = 1000 * (scores >= np.quantile(scores.max(axis=1), 0.95)).mean(axis=0)
                    named["as one"].append(float(each[gallery.images == 1].mean()))
                    named["as many"].append(float(each[gallery.images >= 10].mean()))
        result[when] = {kind: float(np.mean(shares)) for kind, shares in named.items()}
    return result


def with_card(people: People, card: ImpostorScores) -> dict[str, dict[str, float]]:
    """Return the shares of enrolled people and of strangers who are named, with a card's table."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(DRAWS):
        enrolled, strangers = parted(people, seed)
        gallery, probes, owners = gallery_of(people, enrolled, REFERENCES, seed)
        of_known, of_strangers = gallery.scores(probes), gallery.scores(one_of_each(people, strangers, seed))
        for rate, scale in ((0.01, 1.0), (0.01, 0.95), (0.05, 1.0)):
            least = threshold(replace(card, cosines=card.cosines * scale), rate, len(gallery), "rate")
            right = (of_known.argmax(axis=1) == owners) & (of_known.max(axis=1) >= least)
            wrong = of_strangers.max(axis=1) >= least
            kind = f"stated {100 * rate:g} %" + (f", table x {scale}" if scale != 1 else "")
            found[kind].append((float(right.mean()), float(wrong.mean())))
    means = {kind: np.mean(rows, axis=0).tolist() for kind, rows in found.items()}
    return {kind: {"known": known, "strangers": strangers} for kind, (known, strangers) in means.items()}


def person_of_interest(people: People) -> dict[str, Any]:
    shares = []
    for seed in range(DRAWS):
        several = [name for name in shuffled(people, seed) if len(people[name]) > 1]
        chosen = sorted(several[:PERSON_OF_INTEREST])
        strangers = units([one for name in people if name not in set(chosen) for one in people[name]])
        gallery = Gallery({name: people[name][:1] for name in chosen}, "")
        found = gallery.scores(units([people[name][1] for name in chosen]))
        right = found.argmax(axis=1) == np.arange(len(chosen))
        shares.append((right & (found.max(axis=1) > beyond(gallery.scores(strangers).max(axis=1), 0.01))).mean())
    return {**_interval(float(np.mean(shares)), len(chosen), 0.01, len(strangers)), "strangers": len(strangers)}


def families(people: People) -> dict[str, dict[str, Any]]:
    several = sorted(name for name in people if len(people[name]) > 1)
    references = {name: people[name][: max(1, min(REFERENCES, len(people[name]) // 2))] for name in several}
    everyone = Gallery(references, "")
    alone = one_of_each(people, [name for name in people if len(people[name]) == 1], 0)
    known = cohort_scores(Gallery({f"{row}": [one] for row, one in enumerate(_images(alone))}, ""), everyone, "cohort")
    least = threshold(known, 0.01, 2, "rate")
    scores = everyone.scores(everyone.templates)
    alike = np.triu(np.maximum(scores, scores.T), 1)
    best = np.argsort(-alike, axis=None)[:PAIRS]
    dice = np.random.default_rng(0)
    rows = range(len(several))
    kinds = {
        "most alike": [divmod(int(place), len(several)) for place in best],
        "one last name": [(a, b) for a in rows for b in rows if a < b and _last(several[a]) == _last(several[b])],
        "random": [(int(a), int(b)) for a, b in (dice.choice(len(several), 2, replace=False) for _ in range(PAIRS))],
    }
    result: dict[str, dict[str, Any]] = {}
    for kind, pairs in kinds.items():
        for own in (True, False):
            counts: dict[str, int] = defaultdict(int)
            for a, b in pairs:
                decide_pair({name: references[name] for name in (several[a], several[b])}, people, least, own, counts)
            total = max(sum(counts.values()), 1)
            shares = {name: counts[name] / total for name in ("right", "undecided", "unknown")}
            title = kind if own else f"{kind}, before"
            result[title] = {**shares, "swapped": counts["swapped"], "searches": sum(counts.values())}
    return result


def decide_pair(references: People, people: People, least: float, own: bool, counts: dict[str, int]) -> None:
    """Count what the streamer decides for up to three other images of each of two people. `own`: own thresholds."""
    identifier = Identifier(Settings())
    identifier.use(EnrolledGallery(Gallery(references, ""), least))
    if not own:
        identifier._look_alikes = LookAlikes(Gallery(references, ""), 2.0)  # nobody looks alike
        identifier._look_alikes._threshold = least
        identifier._look_alikes._found = {name: {} for name in references}
    for name, images in references.items():
        for probe in units(people[name][len(images) : len(images) + 3]):
            found = identifier.decide_past(NEW, Probe(probe.astype(np.float32), 4, 1.0, ("t",)))
            if found.status is IdentityStatus.IDENTIFIED:
                counts["right" if found.person == name else "swapped"] += 1
            else:
                counts[found.status.value.lower()] += 1


def normalised(people: People) -> dict[str, dict[str, float]]:
    """Return FNIR by FPIR for each way to normalise."""
    rates: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(DRAWS):
        enrolled, outside = parted(people, seed)
        cohort, strangers = one_of_each(people, outside[::2], seed), one_of_each(people, outside[1::2], seed)
        gallery, probes, owners = gallery_of(people, enrolled, REFERENCES, seed)
        of_people = gallery.scores(cohort).T  # (people, cohort)
        for norm in NORMS:
            found, top = (
                norms(norm, gallery.scores(faces), of_people, faces @ cohort.T) for faces in (probes, strangers)
            )
            right, highest = found.argmax(axis=1) == owners, top.max(axis=1)
            known = [rate for rate in POINTS if rate * len(strangers) >= 1]
            rates[norm].append([1 - (right & (found.max(axis=1) > beyond(highest, rate))).mean() for rate in known])
    return {
        norm: {f"{point:g}": float(value) for point, value in zip(known, np.mean(rows, axis=0), strict=True)}
        for norm, rows in rates.items()
    }


def norms(norm: str, scores: Doubles, of_people: Doubles, of_faces: Doubles) -> Doubles:
    """Return scores (n, people) normalised by those of a cohort: of each person (people, k) and of each face (n, k)."""
    if norm == "as-norm":
        of_people, of_faces = (np.sort(each, axis=1)[:, -TOP:] for each in (of_people, of_faces))
    by_person = (scores - of_people.mean(axis=1)) / of_people.std(axis=1)
    by_face = (scores - of_faces.mean(axis=1)[:, None]) / of_faces.std(axis=1)[:, None]
    ways: dict[str, Callable[[], Doubles]] = {
        "raw": lambda: scores,
        "z-norm": lambda: by_person,
        "t-norm": lambda: by_face,
        "s-norm": lambda: (by_person + by_face) / 2,
        "as-norm": lambda: (by_person + by_face) / 2,
    }
    return ways[norm]()


def draw(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """Draw FNIR against FPIR, raw and normalised, into docs/images."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "open set"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(4.2 * len(results), 3.8), squeeze=False)
    for axis, (key, rows) in zip(axes[0], results.items(), strict=True):
        for norm, row in rows.items():
            axis.plot([float(point) for point in row], list(row.values()), marker="o", markersize=3, label=norm)
        axis.set(xscale="log", yscale="log", xlabel="FPIR", ylabel="FNIR")
        axis.set_title(key, fontsize=9)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(FIGURE, metadata={"Date": None})
    pyplot.close(figure)


def parted(people: People, seed: int) -> tuple[list[str], list[str]]:
    """Return the people who are enrolled, and the strangers."""
    names = shuffled(people, seed)
    several = [name for name in names if len(people[name]) > 1]
    enrolled = sorted(several[: len(several) // 2])
    return enrolled, [name for name in names if name not in set(enrolled)]


def shuffled(people: People, seed: int) -> list[str]:
    return [str(name) for name in np.random.default_rng(seed).permutation(sorted(people))]


def images_of(images: list[Any], most: int, seed: int) -> list[Any]:
    """Return at most this many images of a person, so that one at least is left."""
    rows = np.random.default_rng(seed).permutation(len(images))[: max(1, min(most, len(images) - 1))]
    return [images[row] for row in sorted(rows.tolist())]


def gallery_of(people: People, enrolled: list[str], most: int, seed: int) -> tuple[Gallery, Doubles, NDArray[np.int64]]:
    """Return a gallery, up to three other images (n, width) of each person, and the rows of these people in it."""
    taken = {name: images_of(people[name], most, seed) for name in enrolled}
    gallery = Gallery(taken, "")
    probes, owners = [], []
    for row, name in enumerate(gallery.names):
        others = [one for one in people[name] if all(one is not other for other in taken[name])][:3]
        probes += others
        owners += [row] * len(others)
    return gallery, units(probes), np.array(owners)


def one_of_each(people: People, names: list[str], seed: int) -> Doubles:
    dice = np.random.default_rng(seed)
    return units([people[name][int(dice.integers(len(people[name])))] for name in names])


def units(images: list[Any]) -> Doubles:
    vectors = np.stack([one.embedding for one in images]).astype(np.float64)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)


def _images(vectors: Doubles) -> list[Any]:
    from streamer.identity.gallery import EmbeddedReference

    return [EmbeddedReference(str(row), "", vector.astype(np.float32), 1.0) for row, vector in enumerate(vectors)]


def beyond(top: Doubles, rate: float) -> float:
    """Return the cosine that at most this share of strangers exceeds."""
    return float(np.sort(top)[::-1][int(rate * len(top))])


def _interval(share: float, searches: int, rate: float, strangers: int) -> dict[str, Any]:
    z = 1.96
    middle = (share + z * z / (2 * searches)) / (1 + z * z / searches)
    half = z * np.sqrt(share * (1 - share) / searches + z * z / (4 * searches**2)) / (1 + z * z / searches)
    return {"share": share, "low": middle - half, "high": middle + half, "expected": rate * strangers}


def _share(row: dict[str, Any]) -> str:
    if row["expected"] < 1:
        return "too few"
    mark = "~" if row["expected"] < 10 else ""
    return f"{mark}{100 * row['share']:.1f}% ({100 * row['low']:.1f}-{100 * row['high']:.1f})"


def _point(row: dict[str, float], point: float) -> str:
    share = row.get(f"{point:g}")  # with fewer than one stranger beyond it there is none
    return f"{100 * share:>8.1f}%" if share is not None else f"{'-':>9}"


def _last(name: str) -> str:
    return name.rsplit("_", 1)[-1]
