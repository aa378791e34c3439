"""What a crop's quality predicts: the error of embeddings against the share of crops left out.

Real faces that the network was not trained on are degraded as by cameras (`degraded.py`), then detected, cropped and
measured by the functions of a streamer. The error is 1 - cosine between the embedding of that crop and that of the
original image. The rank correlation covers all crops; the mean errors leave out those with a reason against them,
which are never sent. `quality` is the product that the streamer ranks by. Beside it are the alternatives: the
detector's score, the eye distance, and the length of the embedding, which is known only after the analysis.

Below are the mean cosine by quality, which a curve a * quality^b fitted on UTKFace's faces should predict for LFW's,
and the cosine that 1 % of the pairs of different people reach: for two such crops, and for one with an original image.
Poor crops resemble each other, whoever they show, but not clear ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import spearmanr

from streamer.values import Bytes, Floats
from tests.benchmarks.degraded import seen
from tests.benchmarks.synthetic_tracks import BATCH, face_set, lite_detector
from workers.research.data.face_set import fitted
from workers.runtime.engine import Engine
from workers.weights.registry import find

FACES = 800  # of each set, each made worse twice
KEPT = (1.0, 0.75, 0.5, 0.25)
STEP = 0.1  # of quality
FEWEST = 20  # crops from which a step of quality is shown


def measure(weights: str | None = None) -> dict[str, Any]:
    engine = Engine(find(weights or "default"), threads=1)
    sets = {name: _judged(engine, name) for name in ("utkface_val", "lfw_val")}
    fitted_on = sets["utkface_val"]
    (a, b), _ = curve_fit(_curve, fitted_on["quality"], fitted_on["cosine"], (1.0, 1.0))
    rows = {name: _row(columns, float(a), float(b)) for name, columns in sets.items()}
    return {"weights": engine.model_id, "curve": [float(a), float(b)], "sets": rows}


def table(results: dict[str, Any]) -> str:
    a, b = results["curve"]
    lines = []
    for name, row in results["sets"].items():
        lines.append(f"{name}: {row['crops']} crops, {row['usable']} usable, mean error {row['error']:.3f}")
        lines.append(f"{'':<18}{'rank corr.':>11}" + "".join(f"{f'best {share:.0%}':>11}" for share in KEPT))
        for by, values in row["by"].items():
            errors = "".join(f"{error:>11.3f}" for error in values["errors"])
            lines.append(f"{by:<18}{values['correlation']:>11.2f}{errors}")
        for low, count, cosine, expected, strangers, clear in row["bins"]:
            lines.append(
                f"quality {low:.1f}-{low + STEP:.1f}: {count:>4} crops, cosine {cosine:.2f}, predicted {expected:.2f}; "
                f"1 % of strangers {strangers:.2f}, to clear images {clear:.2f}"
            )
        lines.append("")
    lines.append(f"predicted: {a:.2f} * quality^{b:.2f}, fitted on utkface_val")
    return "\n".join(lines)


def _curve(quality: Any, /, a: float, b: float) -> Any:
    return a * np.maximum(quality, 1e-6) ** b


def _judged(engine: Engine, name: str) -> dict[str, Any]:
    faces = face_set(name)
    rows = np.random.default_rng(1).choice(len(faces), FACES, replace=False)
    images = [fitted(faces.images.read(int(row))) for row in rows]
    truth, _ = _embedded(engine, images)
    detector = lite_detector()
    found = [one for seed in (1, 2) for one in seen(images, detector, seed)]
    embeddings, norms = _embedded(engine, [one.crop for one in found])
    labels = faces.labels.identity
    people = (np.arange(len(faces)) if labels is None else labels)[rows]
    return {
        "clear": (people, truth),
        "person": people[[one.image for one in found]],
        "embedding": embeddings,
        "quality": np.array([one.quality.value for one in found], np.float32),
        "detector's score": np.array([one.score for one in found], np.float32),
        "eye distance": np.array([one.quality.eye_distance for one in found], np.float32),
        "embedding's length": norms,
        "usable": np.array([not one.quality.reasons for one in found], np.float32),
        "cosine": (embeddings * truth[[one.image for one in found]]).sum(axis=1),
    }


def _embedded(engine: Engine, crops: Sequence[Bytes]) -> tuple[Floats, Floats]:
    """Of unit length (n, 512), and how long they were (n,)."""
    answers = [engine.analyse(np.stack(crops[first : first + BATCH])) for first in range(0, len(crops), BATCH)]
    vectors, lengths = [one.embeddings for one in answers], [one.norms for one in answers]
    return np.concatenate([one for one in vectors if one is not None]), np.concatenate(
        [one for one in lengths if one is not None]
    )


def _strangers(some: tuple[Any, Floats], others: tuple[Any, Floats]) -> float:
    """The cosine that 1 % of the pairs of different people reach; each: people (n,), their embeddings (n, 512)."""
    (people, embeddings), (other_people, other_embeddings) = some, others
    return float(np.quantile((embeddings @ other_embeddings.T)[people[:, None] != other_people], 0.99))


def _row(columns: dict[str, Any], a: float, b: float) -> dict[str, Any]:
    usable, errors = columns["usable"] > 0, 1 - columns["cosine"]
    by = {}
    for name in ("quality", "detector's score", "eye distance", "embedding's length"):
        order = np.argsort(-columns[name][usable], kind="stable")
        kept = [float(errors[usable][order[: round(share * len(order))]].mean()) for share in KEPT]
        by[name] = {"correlation": float(spearmanr(columns[name], -errors).statistic), "errors": kept}
    bins = []
    for low in np.arange(0, 1, STEP):
        inside = (columns["quality"] >= low) & (columns["quality"] < low + STEP)
        if np.count_nonzero(inside) >= FEWEST:
            predicted = float(_curve(columns["quality"][inside], a, b).mean())
            crops = columns["person"][inside], columns["embedding"][inside]
            strangers, clear = _strangers(crops, crops), _strangers(crops, columns["clear"])
            cosine = float(columns["cosine"][inside].mean())
            bins.append((float(low), int(inside.sum()), cosine, predicted, strangers, clear))
    return {
        "crops": len(errors),
        "usable": int(usable.sum()),
        "error": float(errors.mean()),
        "by": by,
        "bins": bins,
    }


if __name__ == "__main__":
    print(table(measure()))
