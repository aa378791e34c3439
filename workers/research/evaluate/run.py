"""Run a protocol of `swinface evaluate` and write its result."""

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from faceanalytics.errors import ConfigError, ModelError
from workers.research.data.sets import load_sets, open_set
from workers.research.evaluate.bin_file import read_bin
from workers.research.evaluate.degrade import degraded
from workers.research.evaluate.faces import evaluate_faces, make_plan
from workers.research.evaluate.inference import READERS, InferenceOptions, Network
from workers.research.evaluate.pair_list import read_pairs
from workers.research.evaluate.paper import published
from workers.research.evaluate.report import Measured, table, write
from workers.research.evaluate.result import Result
from workers.research.evaluate.verify import HEADS, verify
from workers.swinface.card import card_path
from workers.swinface.checkpoint import IMPOSTOR_SCORES, UNTRAINED, sha256
from workers.swinface.labels import EMBEDDING, OUTPUTS

if TYPE_CHECKING:
    from workers.swinface.precisions import Precision

log = logging.getLogger(__name__)
Measure: TypeAlias = Callable[[Network], Result]


@dataclass(frozen=True, slots=True)
class Request:
    """The weights to measure, the protocol, and where to write the result."""

    protocol: str
    weights: str
    device: str = "cpu"
    precision: "Precision" = "fp32"
    threads: int | None = None  # CPU threads; None: one per core
    options: InferenceOptions = field(default_factory=InferenceOptions)
    out: Path | None = None  # .json
    part: str | None = None  # part of the protocol, for the paper's results: val or test
    degraded: str | None = None  # how to degrade the faces, by evaluate.degrade
    groups: bool = False  # also by age, gender and lightness


def run_bin(request: Request, path: Path) -> Result:
    """Measure verification on a .bin file of insightface. Raises InputError, ModelError, ConfigError."""
    images, pairs = read_bin(path)
    digest = sha256(path)

    def measure(network: Network) -> Result:
        result = verify(images, pairs, network, replace(request.options, readers=READERS))
        return replace(result, data=digest, hashed="the .bin file")

    return _run(request, HEADS, measure)


def run_pairs(request: Request, path: Path, folder: Path) -> Result:
    """Measure verification on a list of pairs. Raises InputError, ModelError, ConfigError."""
    images, pairs = read_pairs(path, folder)
    options = replace(request.options, readers=READERS)
    return _run(request, HEADS, lambda network: verify(images, pairs, network, options))


def run_ijb(request: Request, path: Path, tasks: Sequence[str]) -> Result:
    """Measure on IJB-B or IJB-C. Raises InputError, ModelError, ConfigError."""
    from workers.research.evaluate.ijb import evaluate_ijb  # here, because it needs the streamer
    from workers.research.evaluate.ijb_files import IjbFolder

    folder = IjbFolder(path, request.protocol)
    folder.check(tasks)
    return _run(request, HEADS, lambda network: evaluate_ijb(folder, network, tasks, request.options))


def run_faces(request: Request, config: Path, name: str, leave_one_out: bool = False) -> Result:
    """Measure on a set of a configuration. Raises InputError, ModelError, ConfigError."""
    sets = load_sets(config)
    if name not in sets:
        raise ConfigError(f"--set {name}: {config} has no such set. It has {', '.join(sets)}")
    plan = make_plan(open_set(name, sets[name]), request.protocol, heads_in(request.weights))
    return _run(
        request,
        plan.heads,
        lambda network: evaluate_faces(plan, network, request.options, leave_one_out, request.groups),
    )


def run_impostors(request: Request, config: Path, name: str, source: str | None, card: bool) -> Result:
    """Measure how similar strangers are, and with `card` write it into the weights' card.

    Raises InputError, ModelError, ConfigError.
    """
    from workers.research.evaluate.impostors import (  # here, because it needs the streamer
        measure_impostors,
        write_card,
    )

    sets = load_sets(config)
    if name not in sets:
        raise ConfigError(f"--set {name}: {config} has no such set. It has {', '.join(sets)}")
    weights = Path(request.weights)
    if card and weights.suffix != ".safetensors":
        raise ConfigError(f"--card: {request.weights} has no card; `swinface convert` writes weights that have one")
    if EMBEDDING not in heads_in(request.weights):
        raise ModelError(f"{request.weights} was not trained for identity")
    faces = open_set(name, sets[name])
    result = _run(request, HEADS, lambda network: measure_impostors(faces, network, source or name, request.options))
    if card:
        write_card(weights, result.details[IMPOSTOR_SCORES])
    return result


def heads_in(weights: str) -> tuple[str, ...]:
    """Return the outputs that the weights were trained for: `outputs` of their card, or all."""
    path = Path(weights)
    if weights == UNTRAINED or path.suffix != ".safetensors":
        return OUTPUTS
    try:
        card = json.loads(card_path(path).read_text())
    except (OSError, ValueError):
        return OUTPUTS  # loading the weights will report the error
    named = card.get("outputs") if isinstance(card, dict) else None
    return tuple(slug for slug in OUTPUTS if slug in named) if isinstance(named, list) else OUTPUTS


def _run(request: Request, heads: Sequence[str], measure: Measure) -> Result:
    """Load the weights, measure, print the table and write the file."""
    from workers.runtime.engine import Engine, InferenceError

    engine = Engine(request.weights, request.device, request.precision, request.threads, heads, request.options.batch)
    started = time.monotonic()
    try:
        result = measure(engine.outputs if request.degraded is None else degraded(engine.outputs, request.degraded))
    except InferenceError as error:
        raise ModelError(f"{error}: choose a smaller --batch than {request.options.batch}") from error
    log.info("%s took %.1f s", request.protocol, time.monotonic() - started)
    digest = None if request.weights == UNTRAINED else sha256(Path(request.weights))
    measured = Measured(
        protocol=request.protocol,
        part=request.part,
        degraded=request.degraded,
        weights={"sha256": digest, "model_id": engine.model_id},
        device=engine.device,
        precision=engine.precision,
        result=result,
        paper=published(request.protocol, request.part) if request.degraded is None else {},
    )
    sys.stdout.write(table(measured))
    if result.unreadable:
        lines = "".join(f"  {line}\n" for line in result.unreadable)
        sys.stderr.write(f"{len(result.unreadable)} images could not be read and were left out:\n{lines}")
    if request.out is not None:
        write(measured, request.out)
    return result
