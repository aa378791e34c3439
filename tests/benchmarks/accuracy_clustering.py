"""Visitors: which tracks are one person, as they come and after a night, by this and by other methods.

Pairs: precision is the share of the pairs given as one person that are one, recall the share of all pairs of one
person that are given as one. B-cubed counts for each track how pure and how complete its group is, so that large
groups do not decide alone.
`people` is the number of groups against the truth.

Track-like sets are those of "People of recordings": LFW's people on whom the bundled network was not trained, and ORL's
forty people of one room. A track is one photo, six times degraded as by cameras, found and measured as in a stream.
Clips: the nine sign-language clips (three people, and half a face at the edge of one) and the stage recording (two
people and a hand), whose tracks, those of a stream, were looked at one by one.

`online` is what a streamer says while it sees the tracks one by one, in random order; `nightly` groups all of them
again. Both have one setting, `visitors.false_join_rate`, with its default, and the scores of strangers of the weights.
Each of the others has the parameter of its grid with the best B-cubed F1 over these same sets: an advantage that ours
does not have. DBSCAN: eps, and one or two tracks as a core; HDBSCAN: 1 to 3 as min_samples, and whole
clusters or leaves; Chinese whispers: the cosine of an edge, 20 rounds, a fixed order.
`bundled` are the default weights; MobileFaceNet is a public recogniser of 128 values, whose strangers are LFW's people
who are in no set. Tracks that are too poor to compare (`visitors.min_quality`) are groups of their own in ours.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, HDBSCAN

from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.impostors import impostor_table
from streamer.identity.visitors import Visitors
from streamer.values import Bytes, Floats, ImpostorScores
from streamer.visitor_settings import Visitors as Settings
from tests.benchmarks.accuracy_people import (
    ROUNDS,
    SETS,
    Look,
    Set,
    distances,
    lfw_looks,
    orl_looks,
    recording,
    template,
)
from tests.benchmarks.clip_tracks import clip_tracks
from tests.benchmarks.synthetic_tracks import face_set
from tests.conftest import shared_folder
from workers.research.data.face_set import fitted
from workers.runtime.engine import Engine
from workers.weights.registry import find

CLIPS = ("again", "bird", "book", "brother", "learn", "milk", "no", "please", "school")
SIGNERS = {"again": "a", "brother": "a", "no": "a", "bird": "b", "milk": "b", "please": "b"}  # the others: c
STAGE = {1: "s", 19: "s", 22: "hand", 23: "t"}  # track of the stage recording -> whom it shows
CROPS = 6  # analysed per track of a clip
F1 = "f1"


class Score(NamedTuple):
    """Sums over sets."""

    right: float = 0
    joins: float = 0
    pairs: float = 0
    b_precision: float = 0  # sum over tracks
    b_recall: float = 0
    tracks: int = 0
    found: int = 0
    truth: int = 0

    def plus(self, other: "Score") -> "Score":
        return Score(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[arg-type]

    def row(self) -> dict[str, float]:
        precision, recall = self.b_precision / self.tracks, self.b_recall / self.tracks
        return {
            "precision": self.right / self.joins if self.joins else 1.0,
            "recall": self.right / max(self.pairs, 1),
            "b_precision": precision,
            "b_recall": recall,
            F1: 2 * precision * recall / (precision + recall),
            "found": self.found,
            "truth": self.truth,
        }


Labels = NDArray[np.int64]
Method = Callable[[Set], Labels]


def measure() -> dict[str, Any]:
    results: dict[str, Any] = {}
    engines: dict[str, Any] = {"bundled": Engine(find("default"), threads=1), "MobileFaceNet": MobileFaceNet()}
    for name, engine in engines.items():
        looks = {"lfw": lfw_looks(engine), "orl": orl_looks(engine)}
        sets = {
            title: [recording(looks[source], seed, people, photos, impure=False) for seed in range(ROUNDS)]
            for title, (source, people, photos) in SETS.items()
        }
        sets["clips"] = clips(engine)
        known = card(engine) if isinstance(engine, Engine) else strangers(engine, set(looks["lfw"]))
        results[name] = {
            method: {title: total(some, find_people).row() for title, some in sets.items()}
            for method, find_people in methods(known, sets).items()
        }
    return results


def table(results: dict[str, Any]) -> str:
    titles = list(next(iter(next(iter(results.values())).values())))
    lines = [f"{'':<48}" + "".join(f"{title:>34}" for title in titles)]
    lines.append(f"{'':<48}" + f"{'pairs P   R    B3 P   R  people':>34}" * len(titles))
    for engine, rows in results.items():
        for method, row in rows.items():
            cells = [_cell(row[title], 1 if title == "clips" else ROUNDS) for title in titles]
            lines.append(f"{engine + ', ' + method:<48}" + "".join(f"{cell:>34}" for cell in cells))
    return "\n".join(lines)


def _cell(row: dict[str, float], rounds: int) -> str:
    numbers = [100 * row[name] for name in ("precision", "recall", "b_precision", "b_recall")]
    shares = [f"{number:>6.1f}" if place in (0, 2) else f"{number:>5.0f}" for place, number in enumerate(numbers)]
    return f"{''.join(shares)}  {row['found'] / rounds:>5.0f}/{row['truth'] / rounds:<4.0f}"


def methods(known: ImpostorScores, sets: dict[str, list[Set]]) -> dict[str, Method]:
    """The methods with their parameters in the name."""
    flat = [one for some in sets.values() for one in some]
    found: dict[str, Method] = {"online": partial(online, known=known), "nightly": partial(nightly, known=known)}
    grids: dict[str, tuple[Callable[..., Labels], list[dict[str, float]]]] = {
        "DBSCAN": (dbscan, [{"eps": eps, "core": core} for core in (1, 2) for eps in _steps(0.2, 0.7)]),
        "HDBSCAN": (hdbscan, [{"least": least, "leaves": leaves} for least in (1, 2, 3) for leaves in (0, 1)]),
        "Chinese whispers": (whispers, [{"cosine": cosine} for cosine in _steps(0.3, 0.8)]),
    }
    for name, (method, grid) in grids.items():
        best = max(grid, key=lambda how: total(flat, partial(method, **how)).row()[F1])
        shown = ", ".join(f"{key} {value:g}" for key, value in best.items())
        found[f"{name} ({shown})"] = partial(method, **best)
    return found


def _steps(first: float, last: float) -> list[float]:
    return [round(float(one), 2) for one in np.arange(first, last, 0.025)]


def online(some: Set, known: ImpostorScores) -> Labels:
    settings, visitors = Settings(), Visitors(Settings().false_join_rate)
    visitors.use(known)
    labels = np.arange(len(some.tracks))
    for row in np.random.default_rng(3).permutation(len(some.tracks)).tolist():
        track = some.tracks[row]
        if track.template is None or track.quality < settings.min_quality:
            continue
        match = visitors.match(track.template, track.quality)
        labels[row] = int(match.visitor_id) if match is not None else row
        visitors.put(track.id, str(labels[row]), track.template, track.quality)
    return labels


def nightly(some: Set, known: ImpostorScores) -> Labels:
    settings, labels = Settings(), np.empty(len(some.tracks), np.int64)
    poor = [one if one.quality >= settings.min_quality else Tracklet(one.id, None, 0.0) for one in some.tracks]
    for number, rows in enumerate(cluster(poor, Links(), known, settings.false_join_rate)):
        labels[rows] = number
    return labels


def dbscan(some: Set, eps: float, core: float) -> Labels:
    return _alone(DBSCAN(eps=eps, min_samples=int(core), metric="precomputed").fit_predict(distances(some)))


def hdbscan(some: Set, least: float, leaves: float) -> Labels:
    found = HDBSCAN(
        min_cluster_size=2,
        min_samples=int(least),
        cluster_selection_method="leaf" if leaves else "eom",
        metric="precomputed",
        copy=True,
    )
    return _alone(found.fit_predict(distances(some)))


def _alone(labels: Labels) -> Labels:
    """Tracks that are in no group, each as a group of its own."""
    return np.where(labels < 0, 10_000 + np.arange(len(labels)), labels)


def whispers(some: Set, cosine: float) -> Labels:
    """Each track takes the label that the tracks it resembles have, weighted by their cosines."""
    similar = 1 - distances(some)
    np.fill_diagonal(similar, 0)
    similar[similar < cosine] = 0
    labels, dice = np.arange(len(similar)), np.random.default_rng(0)
    for _ in range(20):
        for row in dice.permutation(len(similar)).tolist():
            if similar[row].any():
                labels[row] = int(np.bincount(labels, similar[row], minlength=len(labels)).argmax())
    return labels


def total(some: Sequence[Set], method: Method) -> Score:
    score = Score()
    for one in some:
        score = score.plus(scored(method(one), one.people))
    return score


def scored(labels: Labels, people: Labels) -> Score:
    together, same = labels[:, None] == labels, people[:, None] == people
    both = (together & same).sum(axis=1)
    upper = np.triu_indices(len(labels), 1)
    return Score(
        right=int((together & same)[upper].sum()),
        joins=int(together[upper].sum()),
        pairs=int(same[upper].sum()),
        b_precision=float((both / together.sum(axis=1)).sum()),
        b_recall=float((both / same.sum(axis=1)).sum()),
        tracks=len(labels),
        found=len(set(labels.tolist())),
        truth=len(set(people.tolist())),
    )


class Answers(NamedTuple):
    embeddings: Floats  # (n, 512) unit length
    norms: Floats  # (n,)


class MobileFaceNet:
    """A public recogniser with 128 values, which are padded with zeros to 512."""

    def __init__(self) -> None:
        import ncnn

        folder = shared_folder() / "data" / "weights"
        self._net = ncnn.Net()
        self._net.opt.num_threads = 1
        self._net.load_param(str(folder / "mobilefacenet-128.param"))
        self._net.load_model(str(folder / "mobilefacenet-128.bin"))

    def analyse(self, crops: Bytes) -> Answers:
        import ncnn

        values = np.zeros((len(crops), 512), np.float32)
        for row, crop in enumerate(crops):
            pixels = ncnn.Mat.from_pixels(np.ascontiguousarray(crop), ncnn.Mat.PixelType.PIXEL_RGB, 112, 112)
            extractor = self._net.create_extractor()
            extractor.input("data", pixels)
            values[row, :128] = np.array(extractor.extract("fc1")[1])
        norms = np.linalg.norm(values, axis=1)
        return Answers(values / norms[:, None], norms)


def card(engine: Engine) -> ImpostorScores:
    known = engine.impostor_scores
    assert known is not None
    shares, cosines = np.array(known["shares"]), np.array(known["cosines"])
    return ImpostorScores(known["pairs"], known["people"], shares, cosines, known["source"])


def strangers(engine: MobileFaceNet, used: set[str]) -> ImpostorScores:
    """The scores of people of LFW who are in no set, one photo of each."""
    faces = face_set("lfw_val")
    people = faces.labels.identity
    assert people is not None
    rows = {str(name): row for row, name in enumerate(people.tolist()) if str(name) not in used}
    crops = [fitted(faces.images.read(row)) for row in rows.values()]
    found = engine.analyse(np.stack(crops)).embeddings.astype(np.float64)
    cosines = (found @ found.T)[np.triu_indices(len(found), 1)]
    return impostor_table(cosines, len(cosines), len(found), "LFW")


def clips(engine: Any) -> list[Set]:
    """The tracks of the nine clips, and those of the stage recording."""
    folder = shared_folder() / "data" / "clips"
    signs: list[tuple[Any, dict[int, str], str]] = [
        (folder / "asl" / f"{name}.mkv", {}, SIGNERS.get(name, "c")) for name in CLIPS
    ]
    stage = [(folder / "stage-cuts.mp4", STAGE, "")]
    made = []
    for films in (signs, stage):
        tracks, people = [], []
        for path, known, person in films:
            for number, faces in clip_tracks(path)[1].items():
                who = known.get(number, "") if known else person if number == 1 else "at the edge of the frame"
                frames = sorted(faces)
                if who:
                    chosen = [faces[frames[int(at)]] for at in np.linspace(0, len(frames) - 1, min(CROPS, len(frames)))]
                    answers = engine.analyse(np.stack([one.crop for one in chosen]))
                    looks = [
                        Look(one.quality.value, vector, float(norm))
                        for one, vector, norm in zip(chosen, answers.embeddings, answers.norms, strict=True)
                    ]
                    best = max(one.quality for one in looks)
                    tracks.append(Tracklet(f"{path.stem} {number}", template(looks), best))
                    people.append(who)
        made.append(Set(tracks, np.unique(people, return_inverse=True)[1]))
    return made


if __name__ == "__main__":
    print(table(measure()))
