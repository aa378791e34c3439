"""Evaluate on IJB-B and IJB-C: 1:1 verification and 1:N identification of templates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.evaluate.identification import Search, Templates, pair_scores, search
from workers.research.evaluate.ijb_files import (
    Faces,
    IjbFolder,
    Subjects,
    TemplatePairs,
    positions_of,
    read_faces,
    read_subjects,
    read_template_pairs,
)
from workers.research.evaluate.ijb_images import IjbImages
from workers.research.evaluate.inference import READERS, InferenceOptions, Network, ReadReport, batches, embeddings
from workers.research.evaluate.result import Result, percent
from workers.research.evaluate.verification import FARS, tar_at_far
from workers.swinface.labels import EMBEDDING

HEADS = (EMBEDDING,)
TASKS = ("1:1", "1:N")
Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """The content of the files in meta/; None or empty for tasks that were not requested."""

    faces: Faces
    pairs: TemplatePairs | None
    galleries: tuple[Subjects, ...]
    probes: Subjects | None


@dataclass(slots=True, eq=False)
class _Measurement:
    """The features of templates, and the metrics computed from them so far."""

    templates: Integers  # templates with a feature, ascending
    features: Floats  # (templates, width) of unit length
    lost: Integers  # templates without a feature because of unreadable images
    counts: dict[str, int]
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def evaluate_ijb(
    folder: IjbFolder, network: Network, tasks: Sequence[str] = TASKS, options: InferenceOptions | None = None
) -> Result:
    """Measure TAR@FAR of 1:1, and rank-1, rank-5 and TPIR@FPIR of 1:N as the mean of the two galleries.

    Templates without a readable image are left out and counted, if the options allow it. Raises InputError.
    """
    options = replace(options or InferenceOptions(), readers=READERS)
    folder.check(tasks)
    lists = _read(folder, tasks)  # before the first image, so that errors are not found hours later
    read_report = ReadReport()
    templates, features = _features(IjbImages(folder, lists.faces), network, options, read_report)
    lost = np.setdiff1d(lists.faces.template, templates)
    counts = {"faces": len(lists.faces.names) - len(read_report.unreadable), "templates": len(templates)}
    measurement = _Measurement(templates, features, lost, counts | _left_out("templates", len(lost)))
    if lists.pairs is not None:
        _one_to_one(folder, lists.pairs, measurement)
    if lists.probes is not None:
        _one_to_many(folder, lists.galleries, lists.probes, measurement)
    return Result(
        metrics=measurement.metrics,
        counts=measurement.counts,
        data=_digest(folder.lists(tasks), read_report),
        hashed="the files of meta/ that the tasks need; names and pixels of the aligned faces",
        absent=tuple(f"task {task}: not requested" for task in TASKS if task not in tasks),
        unreadable=tuple(read_report.unreadable),
        details=measurement.details,
    )


def _read(folder: IjbFolder, tasks: Sequence[str]) -> _Lists:
    faces = read_faces(folder)
    known = np.unique(faces.template)
    pairs, galleries, probes = None, [], None
    if "1:1" in tasks:
        pairs = read_template_pairs(folder.pairs)
        for column in (pairs.first, pairs.second):
            positions_of(folder.pairs, known, column)
        if pairs.same.all() or not pairs.same.any():
            raise InputError(f"{folder.pairs}: expected both pairs of one person and pairs of two persons")
    if "1:N" in tasks:
        probes = read_subjects(folder.probes)
        galleries = [read_subjects(path) for path in folder.galleries]
        for path, subjects in zip((folder.probes, *folder.galleries), (probes, *galleries), strict=True):
            positions_of(path, known, subjects.template)
    return _Lists(faces, pairs, tuple(galleries), probes)


def _features(
    images: IjbImages, network: Network, options: InferenceOptions, read_report: ReadReport
) -> tuple[Integers, Floats]:
    """Return the templates, ascending, and their features of unit length."""
    faces = images.faces
    sums: Templates | None = None
    for rows, crops in batches(images, options, read_report):
        features = embeddings(network, crops) * faces.score[rows, None]
        sums = sums or Templates(faces.template, faces.medium, features.shape[1])
        sums.add(rows, features)
    read_report.close(options, len(images))
    if sums is None:
        raise InputError(f"{images.folder.path}: there are no images")
    return sums.features()


def _one_to_one(folder: IjbFolder, pairs: TemplatePairs, measurement: _Measurement) -> None:
    usable = ~(np.isin(pairs.first, measurement.lost) | np.isin(pairs.second, measurement.lost))
    first, second = (
        positions_of(folder.pairs, measurement.templates, column[usable]) for column in (pairs.first, pairs.second)
    )
    same = pairs.same[usable]
    if same.all() or not same.any():
        raise InputError(f"{folder.pairs}: the readable pairs are all of one person, or all of two")
    for far, rate in zip(FARS, tar_at_far(pair_scores(measurement.features, first, second), same), strict=True):
        measurement.metrics[f"tar_at_far_{far:.0e}_percent"] = percent(rate)
    measurement.counts |= {"pairs": len(same), "pairs_of_one_person": int(same.sum())}
    measurement.counts |= _left_out("pairs", int((~usable).sum()))


def _one_to_many(folder: IjbFolder, galleries: Sequence[Subjects], probes: Subjects, measurement: _Measurement) -> None:
    probes, probe_features = _present(folder.probes, probes, measurement, "probes")
    searches: list[Search] = []
    for path, subjects in zip(folder.galleries, galleries, strict=True):
        gallery, features = _present(path, subjects, measurement, "gallery_templates")
        try:
            searches.append(search(features, gallery.subject, probe_features, probes.subject))
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
    parts = [_search_metrics(result) for result in searches]
    measurement.metrics |= {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    measurement.details["galleries"] = [
        {"file": path.name, "mated_probes": result.mated, "other_probes": result.others, **part}
        for path, result, part in zip(folder.galleries, searches, parts, strict=True)
    ]


def _search_metrics(result: Search) -> dict[str, float]:
    ranks = {f"rank{rank}_percent": percent(share) for rank, share in result.at_rank.items()}
    return ranks | {f"tpir_at_fpir_{fpir:g}_percent": percent(share) for fpir, share in result.tpir.items()}


def _present(path: Path, subjects: Subjects, measurement: _Measurement, name: str) -> tuple[Subjects, Floats]:
    """Return the subjects whose templates have a feature, and the features; count them as `name`."""
    usable = ~np.isin(subjects.template, measurement.lost)
    measurement.counts[name] = measurement.counts.get(name, 0) + int(usable.sum())
    kept = Subjects(subjects.template[usable], subjects.subject[usable])
    return kept, measurement.features[positions_of(path, measurement.templates, kept.template)]


def _left_out(name: str, count: int) -> dict[str, int]:
    return {f"{name}_left_out": count} if count else {}


def _digest(files: Sequence[Path], read_report: ReadReport) -> str:
    digest = hashlib.sha256(read_report.hash.hexdigest().encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
