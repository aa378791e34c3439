"""Protocols of labelled sets: RAF-DB, CelebA, CLAP2015, FG-NET, and whatever the labels of any other set allow."""

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

SHOWN = 20  # lines of an error
KINDS = ("age", "gender", "attributes", "expression", "identity")  # of labels, in the order of the report
BY_PROTOCOL: Mapping[str, tuple[str, ...]] = {
    "raf-db": ("expression",),
    "celeba": ("attributes",),
    "clap2015": ("age",),
    "fg-net": ("age",),
    "faces": KINDS,
}
USED_BESIDE = {"age": ("age_spread", "identity")}  # labels that go with a kind, if they are there


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What of a set can be measured with some weights."""

    faces: FaceSet  # those of which something is known that is measured
    kinds: tuple[str, ...]
    heads: tuple[str, ...]  # outputs that are needed
    absent: tuple[str, ...]  # what is not measured, and why


def make_plan(faces: FaceSet, protocol: str, available: Sequence[str] = OUTPUTS) -> Plan:
    """What `protocol` measures on the faces with these outputs.

    Raises InputError for labels that cannot be true or a set without any that are wanted, ModelError without a head.
    """
    if wrong := impossible(faces):
        lines = "".join(f"\n  {line}" for _, line in wrong[:SHOWN])
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(f"{len(wrong)} labels of {faces.name} cannot be true:{lines}{more}")
    wanted = BY_PROTOCOL[protocol]
    known = faces.labels.count()
    labelled = [kind for kind in wanted if known.get(kind)]
    if not labelled:
        raise InputError(f"{faces.name} has no label of {', '.join(wanted)}, which {protocol} needs")
    absent = [f"{kind}: the set has no such labels" for kind in wanted if kind not in labelled]
    kinds, heads = [], set()
    for kind in labelled:
        there = [head for head in heads_of(kind) if head in available]
        if len(there) < len(heads_of(kind)):
            missing = [head for head in heads_of(kind) if head not in available]
            absent.append(f"{kind}: the weights have no head {', '.join(missing)}")
        if there:
            kinds.append(kind)
            heads.update(there)
    if not kinds:
        raise ModelError(f"{protocol} cannot be measured with these weights: {'; '.join(absent)}")
    rows = np.flatnonzero(np.any([_is_known(faces.labels, kind) for kind in kinds], axis=0))
    used = faces if len(rows) == len(faces) else faces.at(rows)
    return Plan(used, tuple(kinds), tuple(slug for slug in OUTPUTS if slug in heads), tuple(absent))


def evaluate_faces(
    planned: Plan,
    network: Network,
    options: InferenceOptions | None = None,
    leave_one_out: bool = False,
    groups: bool = False,
) -> Result:
    """Judge what the network says of the faces; with `groups` of parts of them, too. Raises InputError."""
    faces = planned.faces
    if leave_one_out:
        _check_persons(faces.name, faces.labels)
    seen = infer(faces.images, network, options)
    labels = faces.labels.at(seen.rows)
    if leave_one_out:
        _check_persons(faces.name, labels)
    judges: dict[str, Callable[[Labels, Outputs], Scores]] = {
        "age": partial(score_age, leave_one_out=leave_one_out),
        "gender": score_gender,
        "attributes": score_attributes,
        "expression": score_expression,
        "identity": score_identity,
    }
    left = [kind for kind in planned.kinds if _is_known(labels, kind).any()]
    judged = [judges[kind](labels, seen.outputs) for kind in left]
    lost = tuple(f"{kind}: no image that has it can be read" for kind in planned.kinds if kind not in left)
    return Result(
        metrics={name: value for part in judged for name, value in part.metrics.items()},
        counts={"faces": len(seen.rows)} | {name: value for part in judged for name, value in part.counts.items()},
        data=_digest(seen, faces.labels, planned.kinds),
        hashed="names, decoded pixels and used labels of the faces",
        absent=planned.absent + lost + tuple(line for part in judged for line in part.absent),
        unreadable=seen.unreadable,
        details={name: value for part in judged for name, value in part.details.items()}
        | ({"groups": by_group(faces, seen.rows, seen.outputs, judges, left)} if groups else {}),
    )


def _check_persons(name: str, labels: Labels) -> None:
    identity = labels.identity
    if identity is None or len(np.unique(identity[identity != UNKNOWN])) < 2:
        raise InputError(f"{name} does not say of at least two persons who they are, so none can be left out")


def _is_known(labels: Labels, kind: str) -> NDArray[np.bool_]:
    """(n,) is this label known of each face."""
    (column,) = (values for name, values in labels.columns() if name == kind)
    known = ~np.isnan(column) if kind == "age" else column != UNKNOWN
    return np.asarray(known if known.ndim == 1 else known.any(1))


def _digest(seen: NetworkOutputs, labels: Labels, kinds: Sequence[str]) -> str:
    used = {*kinds, *(name for kind in kinds for name in USED_BESIDE.get(kind, ()))}
    found = hashlib.sha256(seen.digest.encode())
    for name, column in labels.columns():
        if name in used:
            found.update(f"{name} {column.dtype.str} {column.shape}".encode())
            found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()
