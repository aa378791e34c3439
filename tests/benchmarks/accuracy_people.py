"""People of recordings: which tracks are one person, by this and by other methods, against the truth.

A right join is a pair of tracks of one person that are given as one person, a wrong one a pair of two people; recall is
the share of all pairs of one person. `people` is their number against the truth, where every track alone is a person
`before`.

Track-like sets: LFW's people on whom the network was not trained, and ORL's forty people of one room. A track is one
photo, six times degraded as by cameras (`degraded.py`), found and measured as in a stream; two to six looks are its
analyses. So two tracks of a person are two photos, in LFW often of different years: harder than most recordings.
`LFW 240` has 240 people, of which 90 have one track. Tracks whose crops are too poor (`people.min_quality`) count too,
they just never join. Ours runs as a streamer does; each of the others got the one threshold (of steps of 0.01) that
gives the best recall over all sets at 99 % of the joins right. HDBSCAN has only its smallest cluster size, two.
`impure`: in a tenth of the tracks half of the looks are of somebody else; their joins count by the first person.

Recordings: clips of known people, alone and composed of scenes (`tests/support/composed.py`), through the whole of
`streamer analyze`. Pairs are pairs of scenes there: a scene counts as the person that most of its faces were given to,
so a track that goes on over a cut to somebody else makes a wrong join. `before` has a person for every track.
"""

import asyncio
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, AgglomerativeClustering

from streamer.config import Detect, People, StreamerConfig
from streamer.detect.detector import Detector
from streamer.dispatch.worker_process import WorkerOptions
from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.references import read_people
from streamer.recorded.analysis import Analysis
from streamer.values import Bytes, Floats, ImpostorScores
from tests.benchmarks.degraded import seen
from tests.benchmarks.synthetic_tracks import BATCH, face_set, lite_detector
from tests.conftest import shared_folder
from tests.support.composed import Scene, compose
from workers.research.data.face_set import fitted
from workers.runtime.engine import Engine
from workers.weights.registry import find

LOOKS, PHOTOS = 6, 4  # of a photo; of a person of LFW, at most
SETS = {"LFW 240": ("lfw", 240, 4), "LFW 40": ("lfw", 40, 4), "ORL 40": ("orl", 40, 10), "ORL 15": ("orl", 15, 5)}
ROUNDS = 5  # random recordings of each
THRESHOLDS = np.arange(0.4, 0.8, 0.01)
Labels = NDArray[np.int64]
SIGNS = {"again": "a", "brother": "a", "no": "a", "bird": "b", "milk": "b", "please": "b", "book": "c", "learn": "c"}
SIGNS["school"] = "c"


class Look(NamedTuple):
    """One analysed crop."""

    quality: float
    embedding: Floats  # (512,) unit length
    norm: float


class Set(NamedTuple):
    """The tracks of one recording."""

    tracks: list[Tracklet]
    people: Labels


class Score(NamedTuple):
    """Numbers of pairs, and of people."""

    right: int = 0
    wrong: int = 0
    pairs: int = 0  # of one person
    found: int = 0
    truth: int = 0

    def plus(self, other: "Score") -> "Score":
        return Score(*(a + b for a, b in zip(self, other, strict=True)))

    def row(self) -> dict[str, float]:
        joins = self.right + self.wrong
        return {
            "precision": self.right / joins if joins else 1.0,
            "recall": self.right / max(self.pairs, 1),
            "wrong": self.wrong,
            "joins": joins,
            "found": self.found,
            "truth": self.truth,
        }


def measure() -> dict[str, Any]:
    engine = Engine(find("default"), threads=1)
    table = engine.impostor_scores
    assert table is not None
    known = ImpostorScores(
        table["pairs"], table["people"], np.array(table["shares"]), np.array(table["cosines"]), table["source"]
    )
    looks = {"lfw": lfw_looks(engine), "orl": orl_looks(engine)}
    settings = People()
    results: dict[str, Any] = {"sets": {}, "recordings": recordings()}
    for impure in (False, True):
        sets = {
            name: [recording(looks[source], seed, people, photos, impure) for seed in range(ROUNDS)]
            for name, (source, people, photos) in SETS.items()
        }
        for method, find_people in methods(known, settings, sets).items():
            name = f"{method}, impure" if impure else method
            if not impure or method == "ours":
                results["sets"][name] = {each: total(some, find_people).row() for each, some in sets.items()}
    return results


def table(results: dict[str, Any]) -> str:
    names = list(SETS)
    lines = [f"{'track-like sets':<30}" + "".join(f"{name:>26}" for name in names)]
    lines.append(f"{'':<30}" + "  right recall wrong people" * len(names))
    for method, row in results["sets"].items():
        cells = [
            f"{100 * row[name]['precision']:>6.1f}%{100 * row[name]['recall']:>5.0f}%{row[name]['wrong']:>6}"
            f"{row[name]['found'] / ROUNDS:>4.0f}/{row[name]['truth'] / ROUNDS:<3.0f}"
            for name in names
        ]
        lines.append(f"{method:<30}" + "".join(f"{cell:>26}" for cell in cells))
    lines += [
        "",
        f"{'recordings':<30}{'joins right':>14}{'recall':>9}{'people':>10}{'before: right':>16}{'people':>10}",
    ]
    for name, row in results["recordings"].items():
        now, before = row["after"], row["before"]
        lines.append(
            f"{name:<30}{now['joins'] - now['wrong']:>7} of{now['joins']:>4}{100 * now['recall']:>8.0f}%"
            f"{now['found']:>6} of{now['truth']:>2}"
            f"{before['joins'] - before['wrong']:>9} of{before['joins']:>4}{before['found']:>7} of{before['truth']:>2}"
        )
    return "\n".join(lines)


def methods(known: ImpostorScores, settings: People, sets: dict[str, list[Set]]) -> dict[str, Callable[[Set], Labels]]:
    def ours(some: Set) -> Labels:
        labels = np.empty(len(some.tracks), np.int64)
        poor = [one if one.quality >= settings.min_quality else Tracklet(one.id, None, 0.0) for one in some.tracks]
        for number, rows in enumerate(cluster(poor, Links(), known, settings.false_join_rate)):
            labels[rows] = number
        return labels

    def hdbscan(some: Set) -> Labels:
        labels = HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True).fit_predict(distances(some))
        return np.where(labels < 0, 10_000 + np.arange(len(labels)), labels)

    flat = [one for some in sets.values() for one in some]
    found: dict[str, Callable[[Set], Labels]] = {"ours": ours}
    for linkage in ("average", "complete", "single"):
        found[f"{linkage} linkage"] = best_of(flat, partial(linked, how=linkage))
    found["nearest with a margin"] = best_of(flat, nearest)
    found["HDBSCAN"] = hdbscan
    found["before: every track"] = lambda some: np.arange(len(some.tracks))
    return found


def best_of(flat: Sequence[Set], method: Callable[..., Labels]) -> Callable[[Set], Labels]:
    """The method at the threshold with the best recall at 99 % of the joins right, over all sets."""
    best, limit = -1.0, float(THRESHOLDS[-1])
    for threshold in THRESHOLDS[::2].tolist():
        row = total(flat, partial(method, limit=threshold)).row()
        if row["precision"] >= 0.99 and row["recall"] > best:
            best, limit = row["recall"], threshold
    return partial(method, limit=limit)


def linked(some: Set, limit: float, how: str) -> Labels:
    agglomerative = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage=how, distance_threshold=1 - limit
    )
    return np.asarray(agglomerative.fit_predict(distances(some)), np.int64)


def nearest(some: Set, limit: float) -> Labels:
    """Each track joins the person of the most similar track before it, if it leads that of all other people by 0.05."""
    cosines = 1 - distances(some)
    labels = np.arange(len(some.tracks))
    for row in range(1, len(labels)):
        best = int(cosines[row, :row].argmax())
        others = labels[:row] != labels[best]
        second = cosines[row, :row][others].max() if others.any() else -1.0
        if cosines[row, best] >= limit and cosines[row, best] - second >= 0.05:
            labels[row] = labels[best]
    return labels


def distances(some: Set) -> NDArray[np.float64]:
    templates = np.stack([one.template for one in some.tracks if one.template is not None]).astype(np.float64)
    found = np.clip(1 - templates @ templates.T, 0, 2)
    np.fill_diagonal(found, 0)
    return found


def total(some: Sequence[Set], method: Callable[[Set], Labels]) -> Score:
    score = Score()
    for one in some:
        score = score.plus(scored(method(one), one.people))
    return score


def scored(labels: Labels, people: Labels) -> Score:
    upper = np.triu_indices(len(labels), 1)
    joined, same = (labels[:, None] == labels)[upper], (people[:, None] == people)[upper]
    right, wrong, pairs = int((joined & same).sum()), int((joined & ~same).sum()), int(same.sum())
    return Score(right, wrong, pairs, len(set(labels.tolist())), len(set(people.tolist())))


def recording(looks: dict[str, list[list[Look]]], seed: int, people: int, photos: int, impure: bool) -> Set:
    """Tracks of this many random people with up to this many photos each; five eighths of LFW's have several."""
    dice = np.random.default_rng(seed)
    names = sorted(looks)
    several = [name for name in names if len(looks[name]) > 1]
    single = [name for name in names if len(looks[name]) == 1]
    many = people if not single else 5 * people // 8
    chosen = [*dice.permutation(several)[:many].tolist(), *dice.permutation(single)[: people - many].tolist()]
    tracks: list[Tracklet] = []
    truth: list[int] = []
    for number, name in enumerate(chosen):
        for photo in dice.permutation(len(looks[name]))[:photos].tolist():
            some = looks[name][photo]
            crops = [some[row] for row in dice.permutation(len(some))[: int(dice.integers(2, LOOKS + 1))]]
            if impure and dice.random() < 0.1:
                other = looks[chosen[(number + 1) % len(chosen)]][0]
                crops = crops[: max(1, len(crops) // 2)] + other[: max(1, len(crops) // 2)]
            tracks.append(Tracklet(f"{len(tracks)}", template(crops), max(one.quality for one in crops)))
            truth.append(number)
    return Set(tracks, np.array(truth))


def template(crops: Sequence[Look]) -> Floats:
    """As that of a track whose crops are of different seconds."""
    weights = np.array([max(one.quality, 0.01) * one.norm for one in crops])
    vector = weights @ np.stack([one.embedding for one in crops])
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def lfw_looks(engine: Engine) -> dict[str, list[list[Look]]]:
    faces = face_set("lfw_val")
    people = faces.labels.identity
    assert people is not None
    rows: dict[int, list[int]] = defaultdict(list)
    for row, name in enumerate(people.tolist()):
        rows[name].append(row)
    dice = np.random.default_rng(11)
    several = [name for name in dice.permutation(sorted(rows)).tolist() if len(rows[name]) > 1][:200]
    single = [name for name in dice.permutation(sorted(rows)).tolist() if len(rows[name]) == 1][:120]
    photos = [(str(name), fitted(faces.images.read(row))) for name in several + single for row in rows[name][:PHOTOS]]
    return looked(engine, photos)


def orl_looks(engine: Engine) -> dict[str, list[list[Look]]]:
    rows = parquet.read_table(shared_folder() / "data" / "stills" / "orl-40x10.parquet").to_pylist()
    weights = shared_folder() / "data" / "weights" / "yolov8-lite-t-face.onnx"
    config = StreamerConfig(detect=Detect(weights=str(weights)))
    with tempfile.TemporaryDirectory() as scratch:
        for number, row in enumerate(rows):
            place = Path(scratch) / str(row["person"])
            place.mkdir(exist_ok=True)
            (place / f"{number:03d}.png").write_bytes(row["image"])
        found = read_people(Path(scratch), "ORL", Detector(config.detect), config.crop, lambda: False)
    return looked(engine, [(one.person, one.pixels) for one in found])


def looked(engine: Engine, photos: Sequence[tuple[str, Bytes]]) -> dict[str, list[list[Look]]]:
    """The looks of each photo of each person; photos with less than two are left out."""
    images = [image for _, image in photos for _ in range(LOOKS)]
    crops = [one for one in seen(images, lite_detector(), seed=7) if not one.quality.reasons]
    looks: dict[int, list[Look]] = defaultdict(list)
    for start in range(0, len(crops), BATCH):
        some = crops[start : start + BATCH]
        answers = engine.analyse(np.stack([one.crop for one in some]))
        assert answers.embeddings is not None
        assert answers.norms is not None
        for row, one in enumerate(some):
            look = Look(one.quality.value, answers.embeddings[row].copy(), float(answers.norms[row]))
            looks[one.image // LOOKS].append(look)
    people: dict[str, list[list[Look]]] = defaultdict(list)
    for photo, (name, _) in enumerate(photos):
        if len(looks[photo]) >= 2:
            people[name].append(looks[photo])
    return dict(people)


def films() -> dict[str, list[Scene]]:
    """The composed recordings."""
    clips = shared_folder() / "data" / "clips"

    def scene(name: str, **how: Any) -> Scene:
        return Scene(clips / "asl" / f"{name}.mkv", SIGNS[name], **how)

    nine = ("again", "bird", "book", "brother", "milk", "learn", "no", "please", "school")
    looks: list[dict[str, Any]] = [{}, {"mirrored": True}, {"gain": 0.6}, {"zoom": 1.3}, {"gain": 1.3}]
    empty = Scene(clips / "people-detection.gif", "", length_s=12)
    return {
        "nine clips, cuts": [scene(name) for name in nine],
        "nine clips, cross-fades": [scene(name, fade_s=0.6) for name in nine],
        "nine clips, edited": [scene(name, **looks[place % len(looks)]) for place, name in enumerate(nine)],
        "loops, return after a pause": [scene(n, length_s=5) for n in ("again", "bird", "again", "bird")]
        + [empty, scene("brother"), scene("please"), scene("book")],
    }


def recordings() -> dict[str, Any]:
    """The score of each recording after and before joining, over pairs of scenes."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        truth: dict[str, list[tuple[Path, float, float, str]]] = {}
        videos = []
        for number, (name, scenes) in enumerate(films().items()):
            video = place / f"{number}.mp4"
            shown = compose(video, scenes)
            videos.append((video, place / f"{number}"))
            truth[name] = [
                (place / f"{number}", one.start_s + one.scene.fade_s, one.end_s, one.scene.person)
                for one in shown
                if one.scene.person
            ]
        analysis = Analysis(StreamerConfig(), WorkerOptions("default", "cpu", 16), overwrite=True)
        asyncio.run(analysis.run(videos, lambda *_: None))
        return {name: judged(scenes) for name, scenes in truth.items()}


def judged(scenes: Sequence[tuple[Path, float, float, str]]) -> dict[str, Any]:
    people = np.unique([person for *_, person in scenes], return_inverse=True)[1]
    rows = {}
    for when in ("after", "before"):
        given = [given_to(folder, start, end, when == "after") for folder, start, end, _ in scenes]
        score = scored(np.unique(given, return_inverse=True)[1], np.asarray(people, np.int64))
        rows[when] = score.row()
    return rows


def given_to(folder: Path, start: float, end: float, after: bool) -> str:
    """The person (or, before, the track) that most faces between these times (s) were given to."""
    owner: dict[str, str] = {}
    for line in (folder / ("people.jsonl" if after else "tracks.jsonl")).read_text().splitlines()[1:]:
        record = json.loads(line)
        name = str(record["number"])
        owner |= dict.fromkeys([*record.get("track_ids", []), record.get("track_id", "")], name)
        owner |= {part["track_id"]: name for part in record["intervals"]}
    votes: Counter[str] = Counter()
    for line in (folder / "observations.jsonl").read_text().splitlines()[1:]:
        record = json.loads(line)
        if record["type"] == "observation" and start <= record["media_time_s"] < end:
            votes[owner.get(record["track_id"], "none")] += 1
    return votes.most_common(1)[0][0] if votes else f"none {start}"


if __name__ == "__main__":
    print(table(measure()))
