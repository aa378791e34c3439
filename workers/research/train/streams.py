"""Open the configured sets as streams of faces, and find out which outputs can be learnt from them."""

import logging
from dataclasses import dataclass

import numpy as np

from faceanalytics.errors import ConfigError, InputError
from workers.research.data.face_set import UNKNOWN, FaceSet, impossible
from workers.research.data.sets import open_set
from workers.research.train.config import StreamConfig, TrainConfig
from workers.research.train.loader import Stream, teacher_width
from workers.research.train.losses import DISTILLATION, EXPRESSION_DISTILLATION
from workers.research.train.sampling import Mix, checked_shares
from workers.swinface.labels import ATTRIBUTES, EMBEDDING, OUTPUTS
from workers.swinface.model import SwinFaceConfig

SHOWN = 10  # problems in one error message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TaskPlan:
    """The outputs that a training learns, and the faces that it learns them from."""

    streams: tuple[Stream, ...]
    outputs: tuple[str, ...]  # slugs to learn, in the order of labels.OUTPUTS
    people: tuple[str, ...]  # `set/name` of each person whose identity is learnt
    mean_age: float  # years, over the faces of known age; 0 without any
    distilled: tuple[str, ...] = ()  # slugs of the losses against teachers

    @property
    def tasks(self) -> tuple[str, ...]:
        """Slugs of the losses with one target per face."""
        return (*(slug for slug in self.outputs if slug != EMBEDDING), *self.distilled)

    @property
    def losses(self) -> tuple[str, ...]:
        """Slugs of all losses; embeddings are learnt from persons, from a teacher, or from both."""
        return (*self.tasks, *([EMBEDDING] * bool(self.people)))

    @property
    def faces(self) -> int:
        """Number of faces of one process in one step."""
        return sum(stream.batch for stream in self.streams)

    @property
    def sets(self) -> dict[str, int]:
        """Number of faces by set."""
        return {faces.name: len(faces) for stream in self.streams for faces in stream.sets}


def open_plan(config: TrainConfig) -> TaskPlan:
    """Open the sets and log clearly what is left out. Raises InputError, ConfigError."""
    opened: list[Stream] = []
    persons = 0
    for number, (name, stream) in enumerate(config.streams.items()):
        built = _open_stream(name, stream, config, number, persons)
        if built is None:
            log.warning("stream %s is LEFT OUT: none of its sets exists", name)
            continue
        opened.append(built[0])
        persons = built[1]
    if not opened:
        raise InputError("nothing to learn from: none of the sets exists")
    by_stream = [_learnable_outputs(stream, config) for stream in opened]
    outputs = tuple(slug for slug in OUTPUTS if slug in set().union(*by_stream))
    if not outputs:
        raise ConfigError("leave_out: nothing is left to learn")
    if absent := [slug for slug in OUTPUTS if slug not in outputs]:
        log.warning(
            "%d of %d outputs are NOT trained and will not be in the weights: %s",
            len(absent), len(OUTPUTS), ", ".join(absent),
        )  # fmt: skip
    streams = tuple(candidate for candidate, slugs in zip(opened, by_stream, strict=True) if slugs)
    for left_out in (candidate for candidate in opened if candidate not in streams):
        log.warning("stream %s is LEFT OUT: all outputs that it has labels for are in `leave_out`", left_out.name)
    if sum(stream.batch for stream in streams) < 2:
        raise ConfigError("streams: the batch norms need at least two faces per step; raise `batch`")
    width = teacher_width(streams)
    check_width("teacher", width)
    people = _people(streams) if EMBEDDING in outputs else ()
    has_scores = any(faces.labels.expression_scores is not None for stream in streams for faces in stream.sets)
    uses_teacher = {
        DISTILLATION: EMBEDDING in outputs and bool(width),
        EXPRESSION_DISTILLATION: "expression" in outputs and has_scores,
    }
    distilled = tuple(slug for slug, used in uses_teacher.items() if used)
    return TaskPlan(streams, outputs, people, _mean_age(streams), distilled)


def check_width(where: str, width: int) -> None:
    """Raise ConfigError if a teacher's embeddings of this width are wider than ours."""
    if width > (ours := SwinFaceConfig().embedding):
        raise ConfigError(f"{where}: embeddings of {width} numbers do not fit into our {ours}")


def open_checked(name: str, config: TrainConfig) -> FaceSet:
    """Open one of the sets. Raises InputError if it is empty or has impossible labels, which would be learnt."""
    faces = open_set(name, config.sets[name])
    if problems := impossible(faces):
        shown = "".join(f"\n  {line}" for _, line in problems[:SHOWN])
        raise InputError(
            f"{len(problems)} labels of the set {name} cannot be true:{shown}\n"
            "`swinface data check` lists all of them, and writes a file for the set's option `exclude`"
        )
    if not len(faces):
        raise InputError(f"the set {name} has no faces")
    return faces


def _open_stream(
    name: str, stream: StreamConfig, config: TrainConfig, number: int, persons: int
) -> tuple[Stream, int] | None:
    """Return the stream and the number of persons up to and including it; None if none of its sets exists."""
    sets: list[FaceSet] = []
    first_person: list[int] = []
    sizes, shares = [], []
    for part in stream.mix:
        opened = [open_checked(set_name, config) for set_name in part.sets if _exists(set_name, config)]
        if not opened:
            continue
        for faces in opened:
            kept = _with_learnt_labels(faces, stream, name)
            learns_persons = "identity" in stream.learns and kept.labels.identity is not None
            first_person.append(persons if learns_persons else UNKNOWN)
            persons += len(kept.identities) if learns_persons else 0
            sets.append(kept)
        sizes.append(sum(len(faces) for faces in opened))
        shares.append(part.share)
    if not sets:
        return None
    mix = Mix(tuple(sizes), checked_shares(shares), (config.seed, number))
    described = ", ".join(f"{faces.name} ({len(faces):,})" for faces in sets)
    log.info("stream %s: %d faces per step from %s", name, stream.batch, described)
    return Stream(name, stream.batch, tuple(sets), mix, stream.augment, tuple(first_person)), persons


def _with_learnt_labels(faces: FaceSet, stream: StreamConfig, name: str) -> FaceSet:
    """Return the set with only the labels to learn. Raises ConfigError without any, or without some identities."""
    labels = faces.labels.only(stream.learns)
    if not any(labels.count().values()):
        raise ConfigError(f"streams.{name}: the set {faces.name} has no labels of {', '.join(stream.learns)}")
    if labels.identity is not None and (labels.identity == UNKNOWN).any():
        raise ConfigError(f"streams.{name}: some faces of the set {faces.name} have no identity; leave them out")
    return FaceSet(faces.name, faces.images, labels, faces.identities, faces.label_file, faces.lines)


def _exists(name: str, config: TrainConfig) -> bool:
    """Return whether the set's path exists. Raises InputError if a missing set stops the training."""
    path = config.sets[name].path
    if path.exists():
        return True
    if config.missing_sets == "stop":
        raise InputError(
            f"sets.{name}: there is nothing at {path}. Correct the path, or set `missing_sets: leave_out` "
            "to train without this set"
        )
    log.warning("set %s is LEFT OUT: there is nothing at %s", name, path)
    return False


def _learnable_outputs(stream: Stream, config: TrainConfig) -> set[str]:
    """Return the outputs that at least one face of the stream has a label for, without those to leave out."""
    attributes = {task.slug for task in ATTRIBUTES}
    has_embeddings = any(faces.labels.embedding is not None for faces in stream.sets)
    outputs = {EMBEDDING} if stream.recognition or has_embeddings else set()
    for faces in stream.sets:
        labels = faces.labels
        outputs |= {"expression"} if labels.expression_scores is not None else set()
        outputs |= {name for name, count in labels.count().items() if count} & {"age", "expression", "gender"}
        if labels.attributes is not None:
            known = (labels.attributes != UNKNOWN).any(0)
            outputs |= {task.slug for task, is_known in zip(ATTRIBUTES, known, strict=True) if is_known}
    return outputs - set(config.leave_out) - (attributes if "attributes" in config.leave_out else set())


def _people(streams: tuple[Stream, ...]) -> tuple[str, ...]:
    """Return the people's names in the order of their numbers."""
    return tuple(
        f"{faces.name}/{person}"
        for stream in streams
        for faces, first in zip(stream.sets, stream.persons, strict=True)
        if first != UNKNOWN
        for person in faces.identities
    )


def _mean_age(streams: tuple[Stream, ...]) -> float:
    """Return the mean age in years, 0 if no age is known."""
    ages = [faces.labels.age for stream in streams for faces in stream.sets if faces.labels.age is not None]
    known = np.concatenate([column[~np.isnan(column)] for column in ages]) if ages else np.empty(0, np.float32)
    return float(known.mean(dtype=np.float64)) if len(known) else 0.0
