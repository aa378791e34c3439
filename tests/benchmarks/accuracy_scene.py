"""Strangers in one scene: the cosines of their templates, beside those of the table in the weights' card.

Templates are normalised means of at most MOST crops, evenly spaced over a track. Strangers are the people who are in
view at the same time in a clip, and different people who were filmed one after another in the same studio; the pairs of
one person are different clips of that studio. The cosine is less by the penalty for poor crops, as when tracks are
joined. The table of the card has strangers photographed in different places.
"""

from itertools import combinations
from typing import Any

import numpy as np

from streamer.identity.relink import GOOD_QUALITY, POOR_PENALTY
from streamer.values import Floats
from tests.benchmarks.clip_tracks import clip_tracks
from tests.benchmarks.cut_films import OTHERS, PEOPLE
from tests.benchmarks.degraded import SeenFace
from tests.conftest import shared_folder
from workers.runtime.engine import Engine
from workers.weights.registry import find

MOST, LEAST = 8, 2  # crops of a template
SHARES = (0.5, 0.75, 0.9, 0.95, 1.0)
Template = tuple[Floats, float]  # unit length (512,), best quality


def measure(weights: str | None = None) -> dict[str, Any]:
    engine = Engine(find(weights or "default"), threads=1)
    clips = shared_folder() / "data" / "clips"
    rows: dict[str, list[float]] = {"strangers, same frame": [], "strangers, same studio": [], "one person": []}
    for name in OTHERS[:5]:  # the others hold no two faces that could be compared
        _, tracks = clip_tracks(clips / name)
        spans = {number: (min(faces), max(faces)) for number, faces in tracks.items() if len(faces) >= LEAST}
        templates = {number: _template(engine, tracks[number]) for number in spans}
        for one, other in combinations(spans, 2):
            if spans[one][0] <= spans[other][1] and spans[other][0] <= spans[one][1]:
                rows["strangers, same frame"].append(_cosine(templates[one], templates[other]))
    studio: list[tuple[int, Template]] = []
    for person, names in enumerate(PEOPLE):
        for name in names:
            _, tracks = clip_tracks(clips / "asl" / f"{name}.mkv")
            longest = max(tracks.values(), key=len)  # others are at the edge of the picture
            studio.append((person, _template(engine, longest)))
    for (one, first), (other, second) in combinations(studio, 2):
        rows["one person" if one == other else "strangers, same studio"].append(_cosine(first, second))
    scores = engine.impostor_scores or {"shares": [], "cosines": []}
    card = [float(np.interp(1 - share, scores["shares"], scores["cosines"])) for share in SHARES[:-1]]
    return {"weights": engine.model_id, "rows": {name: sorted(values) for name, values in rows.items()}, "card": card}


def table(results: dict[str, Any]) -> str:
    lines = [f"{'':<26}{'pairs':>7}{'least':>8}" + "".join(f"{f'{share:.0%}':>8}" for share in SHARES)]
    for name, values in results["rows"].items():
        cells = "".join(f"{np.quantile(values, share):>8.2f}" for share in SHARES)
        lines.append(f"{name:<26}{len(values):>7}{values[0]:>8.2f}{cells}")
    lines.append(f"{'strangers of the card':<41}" + "".join(f"{cosine:>8.2f}" for cosine in results["card"]))
    return "\n".join(lines)


def _template(engine: Engine, faces: dict[int, SeenFace]) -> Template:
    places = sorted(faces)
    chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, MOST).astype(int))]
    embeddings = engine.analyse(np.stack([faces[place].crop for place in chosen])).embeddings
    assert embeddings is not None
    total = embeddings.sum(axis=0)
    quality = max(faces[place].quality.value for place in chosen)
    return np.asarray(total / np.linalg.norm(total), np.float32), quality


def _cosine(one: Template, other: Template) -> float:
    return float(one[0] @ other[0]) - POOR_PENALTY * max(0.0, GOOD_QUALITY - max(one[1], other[1]))


if __name__ == "__main__":
    print(table(measure()))
