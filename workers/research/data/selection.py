"""The part of a set that its configuration asks for."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import ConfigError, InputError
from workers.research.data.face_set import UNKNOWN, FaceSet
from workers.research.data.label_names import report_left_out
from workers.research.data.options import SetOptions, Split

Mask = NDArray[np.bool_]  # (n,)


def select(faces: FaceSet, config: SetOptions) -> FaceSet:
    """The set without the excluded images, the part to keep of it, with the kinds of labels to use.

    The identities that are left are numbered from 0 without gaps, in the order that they had. Raises ConfigError if
    the configuration names what is not there, InputError if nothing is left.
    """
    if config.labels is not None:
        _check_kinds(faces, config.labels)
    used = ~_excluded(faces, config)
    if config.split is not None:
        used &= in_split(faces, config.split)
    if config.min_images is not None:
        used &= _of_enough(faces, used, config.min_images)
    if not used.any():
        raise InputError(f"{faces.name}: no face is left after `exclude`, `split` and `min_images`")
    if not used.all():
        faces = _renumbered(faces.at(np.flatnonzero(used)))
    if config.labels is not None:
        faces = replace(faces, labels=faces.labels.only(config.labels))
        if faces.labels.identity is None:
            faces = replace(faces, identities=())
    return faces


def _check_kinds(faces: FaceSet, wanted: tuple[str, ...]) -> None:
    known = [name for name, _ in faces.labels.columns()]
    if missing := [kind for kind in wanted if kind not in known]:
        raise ConfigError(f"{faces.name}: labels: the set has none of {', '.join(missing)}; it has {', '.join(known)}")


def _excluded(faces: FaceSet, config: SetOptions) -> Mask:
    """Which faces `exclude` names."""
    named = config.excluded()
    if not named:
        return np.zeros(len(faces), bool)
    names = [faces.images.name(index) for index in range(len(faces))]
    if unknown := sorted(named.keys() - set(names), key=lambda name: named[name]):
        listed = "\n".join(f"  {config.exclude}:{named[name]}: {name}" for name in unknown)
        raise ConfigError(f"{faces.name}: exclude: {len(unknown)} names are not in the set\n{listed}")
    return np.array([name in named for name in names], bool)


def in_split(faces: FaceSet, split: Split) -> Mask:
    """Which faces belong to the part: decided by a hash of the person's name, or of the image's.

    A face of nobody known goes by its image. Raises ConfigError for people in a set that knows none.
    """
    identity = faces.labels.identity
    if split.by == "person" and identity is None:
        raise ConfigError(f"{faces.name}: split.by: this set does not know who is who; use `by: image`")
    held_out = np.zeros(len(faces), bool)
    by_image = np.ones(len(faces), bool)
    if identity is not None and split.by != "image":
        people = np.array([_is_held_out(name, split) for name in faces.identities], bool)
        by_image = identity == UNKNOWN
        held_out[~by_image] = people[identity[~by_image]]
    for index in np.flatnonzero(by_image):
        held_out[index] = _is_held_out(faces.images.name(int(index)), split)
    return held_out if split.part == "validation" else ~held_out


def _of_enough(faces: FaceSet, used: Mask, least: int) -> Mask:
    """Which faces are of people of whom at least so many are used; those of nobody known are not.

    Raises ConfigError for a set that does not know who is who.
    """
    identity = faces.labels.identity
    if identity is None:
        raise ConfigError(f"{faces.name}: min_images: this set does not know who is who")
    known = identity != UNKNOWN
    counts = np.bincount(identity[used & known], minlength=len(faces.identities))
    enough: Mask = known & (counts >= least)[identity]
    people = int(((counts > 0) & (counts < least)).sum())
    left = int((used & ~enough).sum())
    report_left_out(faces.name, {f"faces of {people} people with fewer than {least} images": left}, int(used.sum()))
    return enough


def _is_held_out(name: str, split: Split) -> bool:
    digest = hashlib.sha256(f"{split.seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < split.share * 2**64


def _renumbered(faces: FaceSet) -> FaceSet:
    """The same faces with identities 0..n-1 of those that occur."""
    identity = faces.labels.identity
    if identity is None:
        return faces
    left = np.unique(identity[identity != UNKNOWN])
    numbers = np.full(len(faces.identities), UNKNOWN, np.int64)
    numbers[left] = np.arange(len(left))
    renumbered = np.where(identity == UNKNOWN, UNKNOWN, numbers[identity])
    names = tuple(faces.identities[int(place)] for place in left)
    return replace(faces, labels=replace(faces.labels, identity=renumbered), identities=names)
