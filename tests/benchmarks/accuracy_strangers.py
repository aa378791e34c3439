"""False accepts without labels: the estimate of `streamer people audit` against the truth, which is known here.

People of the gallery and strangers are searched for together, as past tracks that nobody has confirmed are; the share
of searches by people of the gallery is given. LFW's people on whom the small model was not trained: half of them are
the cohort that the threshold comes from; people with several images are visitors with several tracks. ORL's people are
searched with the threshold of LFW's people, which names more strangers than is stated: the estimate must say so.
`within` is the share of random partitions in which the true share lies in the interval of 95 %.
"""

import sys

import numpy as np

from faceanalytics.errors import ConfigError
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.impostors import threshold
from streamer.identity.strangers import estimated
from streamer.values import ImpostorScores
from tests.benchmarks.accuracy_gallery import REFERENCES, lfw_people, orl_people, scores
from tests.conftest import shared_folder
from workers.runtime.engine import Engine
from workers.swinface.labels import EMBEDDING
from workers.weights.registry import FACE_MODEL, find

RATES = (0.01, 0.05)
MEMBERS = (0.0, 0.3, 0.7)  # share of the searches
ROUNDS = 5
People = dict[str, list[EmbeddedReference]]


def main() -> int:
    folder = shared_folder() / "data"
    if not folder.is_dir():
        print(f"needs the sets of the data folder at {folder} (FACEANALYTICS_SHARED)", file=sys.stderr)
        return 3
    engine = Engine(find(FACE_MODEL), heads=[EMBEDDING], threads=1)
    lfw, orl = lfw_people(folder, engine), orl_people(folder, engine)
    print(f"{engine.model_id}: LFW {len(lfw)} people, ORL {len(orl)}; {ROUNDS} partitions, medians")
    print("gallery    stated  members  searches  named  true   estimate  from   to     within")
    table = scores(lfw, {})
    for name, people, size, known in (("LFW 10", lfw, 10, None), ("LFW 50", lfw, 50, None), ("ORL 10", orl, 10, table)):
        for rate in RATES:
            for members in MEMBERS:
                show(name, people, size, known, rate, members)
    return 0


def show(name: str, people: People, size: int, known: ImpostorScores | None, rate: float, members: float) -> None:
    rows = []
    for seed in range(ROUNDS):
        try:
            rows.append(one_round(people, size, known, rate, members, seed))
        except ConfigError:
            print(f"{name:<9}{rate:>8.0%}{members:>9.0%}   the cohort is too small for it")
            return
    searches, named, true, found, low, high = np.median(rows, axis=0).tolist()
    within = np.mean([one[4] <= one[2] <= one[5] for one in rows])
    shares = f"{true:>7.1%}{found:>9.1%}{low:>8.1%}{high:>7.1%}{within:>8.0%}"
    print(f"{name:<9}{rate:>8.0%}{members:>9.0%}{searches:>10.0f}{named:>7.0f}{shares}", flush=True)


def one_round(
    people: People, size: int, known: ImpostorScores | None, rate: float, members: float, seed: int
) -> tuple[float, ...]:
    """Searches, those that are named, the true share of strangers named, the estimate and its interval."""
    generator = np.random.default_rng(seed)
    names = generator.permutation(sorted(people)).tolist()
    cohort = names[: len(names) // 2] if known is None else []
    rest = sorted(names[len(cohort) :], key=lambda name: len(people[name]) < 4)  # several images first: stable
    enrolled, others = rest[:size], rest[size:]
    gallery = Gallery({name: people[name][:2] for name in enrolled}, "")
    used = known or scores({name: people[name] for name in cohort}, {name: people[name][:2] for name in enrolled})
    least = threshold(used, rate, size, "rate")
    probes, visitors = list[EmbeddedReference](), list[list[int]]()
    for name in others:
        visitors.append(list(range(len(probes), len(probes) + min(REFERENCES, len(people[name])))))
        probes += people[name][:REFERENCES]
    strangers = len(probes)
    wanted = round(strangers * members / (1 - members))
    images = [(name, one) for name in enrolled for one in people[name][2:]]
    for place in generator.permutation(np.arange(wanted) % max(1, len(images)))[: wanted if images else 0].tolist():
        visitors.append([len(probes)])
        probes.append(images[place][1])
    units = np.stack([one.embedding / np.linalg.norm(one.embedding) for one in probes])
    best = gallery.scores(units).max(axis=1)
    found = estimated(best, visitors, used, size, least, rate, None)
    true = float((best[:strangers] >= least).mean())
    assert found.rate is not None
    return len(probes), found.named, true, found.rate, found.low, found.high


if __name__ == "__main__":
    sys.exit(main())
