"""IJB-B and IJB-C: templates of several images, compared one to one and searched for among many."""

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
    places,
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
    """What the files of meta/ say; None and empty: the task was not asked for."""

    faces: Faces
    pairs: TemplatePairs | None
    galleries: tuple[Subjects, ...]
    probes: Subjects | None


@dataclass(slots=True, eq=False)
class _Measuring:
    """Templates that have a feature, those that have none because of unreadable images, and what is found."""

    templates: Integers  # ascending
    features: Floats  # (templates, width) of unit length
    lost: Integers
    counts: dict[str, int]
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def evaluate_ijb(
    folder: IjbFolder, network: Network, tasks: Sequence[str] = TASKS, options: InferenceOptions | None = None
) -> Result:
    """TAR@FAR of 1:1, and rank-1, rank-5 and TPIR@FPIR of 1:N as the mean of the two galleries. Raises InputError.

    Templates none of whose images can be read are left out, if that is allowed, and counted.
    """
    options = replace(options or InferenceOptions(), readers=READERS)
    folder.check(tasks)
    lists = _read(folder, tasks)  # all of them before the first image: what is wrong must not be found hours later
    read_report = ReadReport()
    templates, features = _features(IjbImages(folder, lists.faces), network, options, read_report)
    lost = np.setdiff1d(lists.faces.template, templates)
    counts = {"faces": len(lists.faces.names) - len(read_report.unreadable), "templates": len(templates)}
    measuring = _Measuring(templates, features, lost, counts | _left_out("templates", len(lost)))
    if lists.pairs is not None:
        _one_to_one(folder, lists.pairs, measuring)
    if lists.probes is not None:
        _one_to_many(folder, lists.galleries, lists.probes, measuring)
    return Result(
        metrics=measuring.metrics,
        counts=measuring.counts,
        data=_digest(folder.lists(tasks), read_report),
        hashed="the files of meta/ that the tasks need; names and pixels of the aligned faces",
        absent=tuple(f"task {task}: not asked for" for task in TASKS if task not in tasks),
        unreadable=tuple(read_report.unreadable),
        details=measuring.details,
    )


def _read(folder: IjbFolder, tasks: Sequence[str]) -> _Lists:
    faces = read_faces(folder)
    known = np.unique(faces.template)
    pairs, galleries, probes = None, [], None
    if "1:1" in tasks:
        pairs = read_template_pairs(folder.pairs)
        for column in (pairs.first, pairs.second):
            places(folder.pairs, known, column)
        if pairs.same.all() or not pairs.same.any():
            raise InputError(f"{folder.pairs}: a curve needs pairs of one person and pairs of two")
    if "1:N" in tasks:
        probes = read_subjects(folder.probes)
        galleries = [read_subjects(path) for path in folder.galleries]
        for path, subjects in zip((folder.probes, *folder.galleries), (probes, *galleries), strict=True):
            places(path, known, subjects.template)
    return _Lists(faces, pairs, tuple(galleries), probes)


def _features(
    images: IjbImages, network: Network, options: InferenceOptions, read_report: ReadReport
) -> tuple[Integers, Floats]:
    """The templates, ascending, and their features of unit length."""
    faces = images.faces
    sums: Templates | None = None
    for rows, crops in batches(images, options, read_report):
        found = embeddings(network, crops) * faces.score[rows, None]
        sums = sums or Templates(faces.template, faces.medium, found.shape[1])
        sums.add(rows, found)
    read_report.close(options, len(images))
    if sums is None:
        raise InputError(f"{images.folder.path}: there are no images to look at")
    return sums.features()


def _one_to_one(folder: IjbFolder, pairs: TemplatePairs, measuring: _Measuring) -> None:
    usable = ~(np.isin(pairs.first, measuring.lost) | np.isin(pairs.second, measuring.lost))
    first, second = (
        places(folder.pairs, measuring.templates, column[usable]) for column in (pairs.first, pairs.second)
    )
    same = pairs.same[usable]
    if same.all() or not same.any():
        raise InputError(f"{folder.pairs}: the pairs that are left are all of one kind")
    for far, rate in zip(FARS, tar_at_far(pair_scores(measuring.features, first, second), same), strict=True):
        measuring.metrics[f"tar_at_far_{far:.0e}_percent"] = percent(rate)
    measuring.counts |= {"pairs": len(same), "pairs_of_one_person": int(same.sum())}
    measuring.counts |= _left_out("pairs", int((~usable).sum()))


def _one_to_many(folder: IjbFolder, galleries: Sequence[Subjects], probes: Subjects, measuring: _Measuring) -> None:
    probes, probe_features = _present(folder.probes, probes, measuring, "probes")
    found: list[Search] = []
    for path, subjects in zip(folder.galleries, galleries, strict=True):
        gallery, features = _present(path, subjects, measuring, "gallery_templates")
        try:
            found.append(search(features, gallery.subject, probe_features, probes.subject))
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
    parts = [_search_metrics(one) for one in found]
    measuring.metrics |= {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    measuring.details["galleries"] = [
        {"file": path.name, "mated_probes": one.mated, "other_probes": one.others, **part}
        for path, one, part in zip(folder.galleries, found, parts, strict=True)
    ]


def _search_metrics(one: Search) -> dict[str, float]:
    ranks = {f"rank{rank}_percent": percent(share) for rank, share in one.at_rank.items()}
    return ranks | {f"tpir_at_fpir_{fpir:g}_percent": percent(share) for fpir, share in one.tpir.items()}


def _present(path: Path, subjects: Subjects, measuring: _Measuring, what: str) -> tuple[Subjects, Floats]:
    """Those whose templates have a feature, and the features."""
    usable = ~np.isin(subjects.template, measuring.lost)
    measuring.counts[what] = measuring.counts.get(what, 0) + int(usable.sum())
    kept = Subjects(subjects.template[usable], subjects.subject[usable])
    return kept, measuring.features[places(path, measuring.templates, kept.template)]


def _left_out(what: str, count: int) -> dict[str, int]:
    return {f"{what}_left_out": count} if count else {}


def _digest(files: Sequence[Path], read_report: ReadReport) -> str:
    found = hashlib.sha256(read_report.hash.hexdigest().encode())
    for path in files:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
