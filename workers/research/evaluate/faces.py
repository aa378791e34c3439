"""Evaluate on labelled sets: RAF-DB, CelebA, CLAP2015, FG-NET, and all that the labels of any other set allow."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError, ModelError
from workers.research.data.face_set import UNKNOWN, FaceSet, Labels, impossible
from workers.research.evaluate.groups import by_group
from workers.research.evaluate.inference import InferenceOptions, Network, NetworkOutputs, infer
from workers.research.evaluate.result import Result
from workers.research.evaluate.score import (
    Outputs,
    Scores,
    heads_of,
    score_age,
    score_attributes,
    score_expression,
    score_gender,
    score_identity,
)
from workers.swinface.labels import OUTPUTS

SHOWN = 20  # lines to print in an error
KINDS = ("age", "gender", "attributes", "expression", "identity")  # kinds of labels in the order of the report
BY_PROTOCOL: Mapping[str, tuple[str, ...]] = {
    "raf-db": ("expression",),
    "celeba": ("attributes",),
    "clap2015": ("age",),
    "fg-net": ("age",),
    "faces": KINDS,
}
ADDITIONAL = {"age": ("age_spread", "identity")}  # labels that a kind also uses if the set has them


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What can be measured on a set with the outputs of some weights."""

    faces: FaceSet  # faces with a label that is measured
    kinds: tuple[str, ...]
    heads: tuple[str, ...]  # needed outputs
    absent: tuple[str, ...]  # what is not measured, and why


def make_plan(faces: FaceSet, protocol: str, available: Sequence[str] = OUTPUTS) -> Plan:
    """Plan what `protocol` measures on the faces with these outputs.

    Raises InputError for impossible labels or a set without needed ones, ModelError without a needed output.
    """
    if wrong := impossible(faces):
        lines = "".join(f"\n  {line}" for _, line in wrong[:SHOWN])
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(f"{len(wrong)} labels of {faces.name} cannot be true:{lines}{more}")
    wanted = BY_PROTOCOL[protocol]
    known = faces.labels.count()
    labelled = [kind for kind in wanted if known.get(kind)]
    if not labelled:
        raise InputError(f"{faces.name} has no labels of {', '.join(wanted)}, which {protocol} needs")
    absent = [f"{kind}: the set has no such labels" for kind in wanted if kind not in labelled]
    kinds, heads = [], set()
    for kind in labelled:
        present = [head for head in heads_of(kind) if head in available]
        if len(present) < len(heads_of(kind)):
            missing = [head for head in heads_of(kind) if head not in available]
            absent.append(f"{kind}: the weights have no head {', '.join(missing)}")
        if present:
            kinds.append(kind)
            heads.update(present)
    if not kinds:
        raise ModelError(f"{protocol} cannot be measured with these weights: {'; '.join(absent)}")
    rows = np.flatnonzero(np.any([_is_known(faces.labels, kind) for kind in kinds], axis=0))
    used = faces if len(rows) == len(faces) else faces.at(rows)
    return Plan(used, tuple(kinds), tuple(slug for slug in OUTPUTS if slug in heads), tuple(absent))


def evaluate_faces(
    plan: Plan,
    network: Network,
    options: InferenceOptions | None = None,
    leave_one_out: bool = False,
    groups: bool = False,
) -> Result:
    """Score the network's outputs for the faces, with `groups` also by group of faces. Raises InputError."""
    faces = plan.faces
    if leave_one_out:
        _check_persons(faces.name, faces.labels)
    inferred = infer(faces.images, network, options)
    labels = faces.labels.at(inferred.rows)
    if leave_one_out:
        _check_persons(faces.name, labels)
    scorers: dict[str, Callable[[Labels, Outputs], Scores]] = {
        "age": partial(score_age, leave_one_out=leave_one_out),
        "gender": score_gender,
        "attributes": score_attributes,
        "expression": score_expression,
        "identity": score_identity,
    }
    measured = [kind for kind in plan.kinds if _is_known(labels, kind).any()]
    scores = [scorers[kind](labels, inferred.outputs) for kind in measured]
    lost = tuple(
        f"{kind}: none of the images with this label can be read" for kind in plan.kinds if kind not in measured
    )
    return Result(
        metrics={name: value for part in scores for name, value in part.metrics.items()},
        counts={"faces": len(inferred.rows)} | {name: value for part in scores for name, value in part.counts.items()},
        data=_digest(inferred, faces.labels, plan.kinds),
        hashed="names, decoded pixels and used labels of the faces",
        absent=plan.absent + lost + tuple(line for part in scores for line in part.absent),
        unreadable=inferred.unreadable,
        details={name: value for part in scores for name, value in part.details.items()}
        | ({"groups": by_group(faces, inferred.rows, inferred.outputs, scorers, measured)} if groups else {}),
    )


def _check_persons(name: str, labels: Labels) -> None:
    identity = labels.identity
    if identity is None or len(np.unique(identity[identity != UNKNOWN])) < 2:
        raise InputError(f"{name} has identities of fewer than two persons, so none can be left out")


def _is_known(labels: Labels, kind: str) -> NDArray[np.bool_]:
    """Return which faces (n,) have a known label of this kind."""
    (column,) = (values for name, values in labels.columns() if name == kind)
    known = ~np.isnan(column) if kind == "age" else column != UNKNOWN
    return np.asarray(known if known.ndim == 1 else known.any(1))


def _digest(inferred: NetworkOutputs, labels: Labels, kinds: Sequence[str]) -> str:
    used = {*kinds, *(name for kind in kinds for name in ADDITIONAL.get(kind, ()))}
    digest = hashlib.sha256(inferred.digest.encode())
    for name, column in labels.columns():
        if name in used:
            digest.update(f"{name} {column.dtype.str} {column.shape}".encode())
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
