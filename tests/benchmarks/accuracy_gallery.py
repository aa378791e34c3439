"""Who it is: how many strangers are named against the stated false-accept rate, and how many people are recognised.

Everything is done by the code that serves: references of at most five images, thresholds from a cohort by
`cohort_scores` and `threshold`, answers with the margin. LFW's people on whom the small model was not trained are
parted at random into a cohort (half of them), people of the gallery and strangers; a person's last image is the
probe. ORL's forty people (from photographs of one studio) are searched with the threshold of all of LFW's people: how a
table from one kind of images serves another. TPIR: share of probes of enrolled people that are named right.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError
from streamer.config import Detect, StreamerConfig
from streamer.config import Gallery as Settings
from streamer.detect.detector import Detector
from streamer.identity.gallery import EmbeddedReference, Gallery, cohort_scores
from streamer.identity.impostors import threshold
from streamer.identity.references import read_people
from streamer.values import ImpostorScores
from tests.conftest import shared_folder
from workers.research.data.options import Split
from workers.research.data.parquet import Columns, Parquet
from workers.research.data.sets import open_set
from workers.research.evaluate.inference import embeddings
from workers.runtime.engine import Engine
from workers.swinface.labels import EMBEDDING
from workers.weights.registry import FACE_MODEL, find

RATES = (0.01, 0.05, 0.1)
SIZES = (10, 50, 200)
ROUNDS = 10  # random partitions
REFERENCES = 5  # images at most
BATCH = 16


class Row(NamedTuple):
    """One line of the table; shares of all rounds together."""

    threshold: float
    named: float  # share of strangers whose best cosine reaches it (FPIR)
    answered: float  # the same, with the margin
    recognised: float  # TPIR
    strangers: int
    probes: int


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", default=FACE_MODEL)
    weights = find(options.parse_args().weights)
    folder = shared_folder() / "data"
    if not folder.is_dir():
        print(f"needs the sets of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    engine = Engine(weights, heads=[EMBEDDING], threads=1)
    lfw, orl = lfw_people(folder, engine), orl_people(folder, engine)
    print(f"{engine.model_id}: LFW {len(lfw)} people, ORL {len(orl)}; margin {Settings().margin:g}")
    print("gallery      stated  cosine   FPIR  with margin   TPIR  strangers  probes")
    for size in SIZES:
        for rate in RATES:
            show(f"LFW {size}", rate, rounds(lfw, size, rate, None))
    table = scores(lfw, {})
    for size in (10, 20):
        for rate in RATES:
            show(f"ORL {size}", rate, rounds(orl, size, rate, table))
    return 0


def show(name: str, rate: float, row: Row | None) -> None:
    if row is None:
        print(f"{name:<12}{rate:>7.0%}   the cohort is too small for it")
        return
    shares = f"{row.named:>7.1%}{row.answered:>13.1%}{row.recognised:>7.1%}"
    print(f"{name:<12}{rate:>7.0%}{row.threshold:>8.3f}{shares}{row.strangers:>11}{row.probes:>8}", flush=True)


def rounds(
    people: dict[str, list[EmbeddedReference]], size: int, rate: float, table: ImpostorScores | None
) -> Row | None:
    """Without a table half of the people are the cohort. None: it cannot vouch for the rate."""
    found = []
    for seed in range(ROUNDS):
        names = np.random.default_rng(seed).permutation(sorted(people)).tolist()
        cohort = names[: len(names) // 2] if table is None else []
        rest = sorted(names[len(cohort) :], key=lambda name: len(people[name]) < 2)  # several images first: stable
        enrolled, strangers = rest[:size], rest[size:]
        references = {name: people[name][:-1][:REFERENCES] or people[name] for name in enrolled}
        known = table or scores({name: people[name] for name in cohort}, references)
        try:
            least = threshold(known, rate, size, "rate")
        except ConfigError:
            return None
        gallery = Gallery(references, "")
        probes = [name for name in enrolled if len(people[name]) > 1]
        _, reached, answered = search(gallery, [people[name][-1] for name in strangers], least)
        who, _, sure = search(gallery, [people[name][-1] for name in probes], least)
        right = sure & (who == np.array(probes))
        found.append((least, reached.mean(), answered.mean(), right.mean(), len(strangers), len(probes)))
    means, totals = np.mean(found, axis=0).tolist(), np.sum(found, axis=0).tolist()
    return Row(means[0], means[1], means[2], means[3], int(totals[4]), int(totals[5]))


def scores(cohort: dict[str, list[EmbeddedReference]], gallery: dict[str, list[EmbeddedReference]]) -> ImpostorScores:
    few = {name: images[:REFERENCES] for name, images in cohort.items()}
    return cohort_scores(Gallery(few, ""), Gallery(gallery, ""), "cohort")


def search(
    gallery: Gallery, probes: Sequence[EmbeddedReference], least: float
) -> tuple[NDArray[np.str_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each probe: who is most similar, whether the threshold is reached, and whether with the margin too."""
    units = np.stack([probe.embedding / np.linalg.norm(probe.embedding) for probe in probes])
    found = gallery.scores(units)
    ranked = np.sort(found, axis=1)[:, ::-1]
    who = np.array(gallery.names)[found.argmax(axis=1)]
    reached = ranked[:, 0] >= least
    return who, reached, reached & (ranked[:, 0] - ranked[:, 1] >= Settings().margin)


def lfw_people(folder: Path, engine: Engine) -> dict[str, list[EmbeddedReference]]:
    """Those whom configs/train-small.yaml keeps out of the training."""
    columns = Columns(name="source_name", identity="person")
    path = folder / "train" / "lfw_grey_aligned.parquet"
    held_out = Split(part="validation", share=0.2)
    faces = open_set("lfw", Parquet(format="parquet", path=path, columns=columns, split=held_out))
    assert faces.labels.identity is not None
    names = [faces.identities[number] for number in faces.labels.identity]
    return embedded(names, [faces.images.read(row) for row in range(len(faces))], engine)


def orl_people(folder: Path, engine: Engine) -> dict[str, list[EmbeddedReference]]:
    """Detected and aligned as a gallery is."""
    rows = parquet.read_table(folder / "stills" / "orl-40x10.parquet").to_pylist()
    weights = folder / "weights" / "yolov8-lite-t-face.onnx"
    config = StreamerConfig(detect=Detect(weights=str(weights)))
    with tempfile.TemporaryDirectory() as scratch:
        for number, row in enumerate(rows):
            place = Path(scratch) / str(row["person"])
            place.mkdir(exist_ok=True)
            (place / f"{number:03d}.png").write_bytes(row["image"])
        found = read_people(Path(scratch), "ORL", Detector(config.detect), config.crop, lambda: False)
    return embedded([one.person for one in found], [one.pixels for one in found], engine)


def embedded(
    names: Sequence[str], crops: Sequence[NDArray[np.uint8]], engine: Engine
) -> dict[str, list[EmbeddedReference]]:
    people: dict[str, list[EmbeddedReference]] = defaultdict(list)
    for start in range(0, len(names), BATCH):
        found = embeddings(engine.outputs, np.stack(crops[start : start + BATCH]))
        for name, embedding in zip(names[start:], found, strict=False):
            people[name].append(EmbeddedReference(name, "", embedding, 1.0))
    return dict(people)


if __name__ == "__main__":
    sys.exit(main())
