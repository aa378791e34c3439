"""From the configured sets to streams of faces, and what can be learnt from them."""

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
    """All that a training learns, and from what."""

    streams: tuple[Stream, ...]
    outputs: tuple[str, ...]  # slugs that are learnt, in the order of labels.OUTPUTS
    people: tuple[str, ...]  # `set/name` of each person whose identity is learnt, over all sets of that stream
    mean_age: float  # years, of the faces whose age is known; 0 without any
    distilled: tuple[str, ...] = ()  # slugs of the losses against teachers

    @property
    def tasks(self) -> tuple[str, ...]:
        """Slugs of the losses that have a target for each face."""
        return (*(slug for slug in self.outputs if slug != EMBEDDING), *self.distilled)

    @property
    def losses(self) -> tuple[str, ...]:
        """Slugs of all losses; identity is learnt from persons, from a teacher, or from both."""
        return (*self.tasks, *([EMBEDDING] * bool(self.people)))

    @property
    def faces(self) -> int:
        """In one step of one process."""
        return sum(stream.batch for stream in self.streams)

    @property
    def sets(self) -> dict[str, int]:
        """Number of faces by set."""
        return {faces.name: len(faces) for stream in self.streams for faces in stream.sets}


def open_plan(config: TrainConfig) -> TaskPlan:
    """Open the sets that are there. Raises InputError and ConfigError; says loudly what is left out."""
    opened: list[Stream] = []
    persons = 0
    for number, (name, stream) in enumerate(config.streams.items()):
        built = _open_stream(name, stream, config, number, persons)
        if built is None:
            log.warning("stream %s is LEFT OUT: none of its sets is there", name)
            continue
        opened.append(built[0])
        persons = built[1]
    if not opened:
        raise InputError("nothing to learn from: none of the sets is there")
    taught = [_taught(one, config) for one in opened]
    outputs = tuple(slug for slug in OUTPUTS if slug in set().union(*taught))
    if not outputs:
        raise ConfigError("leave_out: nothing is left to learn")
    if absent := [slug for slug in OUTPUTS if slug not in outputs]:
        log.warning(
            "%d of %d outputs are NOT trained, and will not be in the weights: %s",
            len(absent), len(OUTPUTS), ", ".join(absent),
        )  # fmt: skip
    streams = tuple(one for one, slugs in zip(opened, taught, strict=True) if slugs)
    for one in opened:
        if one not in streams:
            log.warning("stream %s is LEFT OUT: of what it teaches nothing is to be learnt", one.name)
    if sum(one.batch for one in streams) < 2:
        raise ConfigError("streams: a step needs two faces at least, for its batch norms")
    width = teacher_width(streams)
    check_width("teacher", width)
    people = _people(streams) if EMBEDDING in outputs else ()
    distilled = {DISTILLATION: EMBEDDING in outputs and bool(width)}
    scores = any(faces.labels.expression_scores is not None for stream in streams for faces in stream.sets)
    distilled[EXPRESSION_DISTILLATION] = "expression" in outputs and scores
    found = tuple(slug for slug, is_taught in distilled.items() if is_taught)
    return TaskPlan(streams, outputs, people, _mean_age(streams), found)


def check_width(where: str, width: int) -> None:
    """Raise ConfigError if a teacher's embeddings of so many numbers do not fit into ours."""
    if width > (ours := SwinFaceConfig().embedding):
        raise ConfigError(f"{where}: embeddings of {width} numbers do not fit into the {ours} of ours")


def checked(name: str, config: TrainConfig) -> FaceSet:
    """One of the sets. Raises InputError if it has labels that cannot be true: they would be learnt."""
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
    """The stream and the number of persons with those before it; None if no set of it is there."""
    sets: list[FaceSet] = []
    first_person: list[int] = []
    sizes, shares = [], []
    for part in stream.mix:
        there = [set_name for set_name in part.sets if _is_there(set_name, config)]
        opened = [checked(set_name, config) for set_name in there]
        if not opened:
            continue
        for faces in opened:
            kept = _only(faces, stream, name)
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
    log.info("stream %s: %d faces a step from %s", name, stream.batch, described)
    return Stream(name, stream.batch, tuple(sets), mix, stream.augment, tuple(first_person)), persons


def _only(faces: FaceSet, stream: StreamConfig, name: str) -> FaceSet:
    """The set with the labels that the stream learns. Raises ConfigError if it has none, or faces of nobody."""
    labels = faces.labels.only(stream.learns)
    if not any(labels.count().values()):
        raise ConfigError(f"streams.{name}: the set {faces.name} has no labels of {', '.join(stream.learns)}")
    if labels.identity is not None and (labels.identity == UNKNOWN).any():
        raise ConfigError(f"streams.{name}: some faces of the set {faces.name} have no identity; leave them out")
    return FaceSet(faces.name, faces.images, labels, faces.identities, faces.label_file, faces.lines)


def _is_there(name: str, config: TrainConfig) -> bool:
    """Raises InputError if a missing set is to stop the training."""
    path = config.sets[name].path
    if path.exists():
        return True
    if config.missing_sets == "stop":
        raise InputError(
            f"sets.{name}: there is nothing at {path}. Correct the path, or say `missing_sets: leave_out` "
            "to train without what only this set teaches"
        )
    log.warning("set %s is LEFT OUT: there is nothing at %s", name, path)
    return False


def _taught(stream: Stream, config: TrainConfig) -> set[str]:
    """The outputs that at least one face of the stream has a label for, without those to be left out."""
    attributes = {task.slug for task in ATTRIBUTES}
    taught_embedding = any(faces.labels.embedding is not None for faces in stream.sets)
    found = {EMBEDDING} if stream.recognition or taught_embedding else set()
    for faces in stream.sets:
        labels = faces.labels
        found |= {"expression"} if labels.expression_scores is not None else set()
        found |= {name for name, count in labels.count().items() if count} & {"age", "expression", "gender"}
        if labels.attributes is not None:
            some = (labels.attributes != UNKNOWN).any(0)
            found |= {task.slug for task, is_known in zip(ATTRIBUTES, some, strict=True) if is_known}
    return found - set(config.leave_out) - (attributes if "attributes" in config.leave_out else set())


def _people(streams: tuple[Stream, ...]) -> tuple[str, ...]:
    """Names in the order of their numbers."""
    return tuple(
        f"{faces.name}/{person}"
        for stream in streams
        for faces, first in zip(stream.sets, stream.persons, strict=True)
        if first != UNKNOWN
        for person in faces.identities
    )


def _mean_age(streams: tuple[Stream, ...]) -> float:
    """Years; 0 if no age is known."""
    ages = [faces.labels.age for stream in streams for faces in stream.sets if faces.labels.age is not None]
    known = np.concatenate([column[~np.isnan(column)] for column in ages]) if ages else np.empty(0, np.float32)
    return float(known.mean(dtype=np.float64)) if len(known) else 0.0
