"""Score outputs against the labels of the same faces, for each kind of label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.research.data.face_set import UNKNOWN, Labels
from workers.research.evaluate.draw_pairs import Pairs, draw_pairs
from workers.research.evaluate.identification import search
from workers.research.evaluate.metrics import (
    accuracy,
    attribute_accuracies,
    class_accuracies,
    confusion_matrix,
    cumulative_score,
    epsilon_error,
    lines_without_own_group,
    mean_absolute_error,
    mean_class_accuracy,
    mean_over_groups,
)
from workers.research.evaluate.result import percent
from workers.research.evaluate.verification import squared_distances, ten_fold, true_accepts, unit
from workers.swinface.labels import ATTRIBUTES, EMBEDDING, EXPRESSIONS

Floats = NDArray[np.float32]
Outputs = Mapping[str, Floats]  # (n, width) by slug, one row per label
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one kind of label, in the form of Result."""

    metrics: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def heads_of(kind: str) -> tuple[str, ...]:
    """Return the outputs that a kind of label is compared with."""
    if kind == "attributes":
        return tuple(task.slug for task in ATTRIBUTES)
    return (EMBEDDING,) if kind == "identity" else (kind,)


def score_age(labels: Labels, outputs: Outputs, leave_one_out: bool = False) -> Scores:
    """Return MAE and CS@5; with identities also the MAE over persons, with an age spread the epsilon-error.

    `leave_one_out`: also correct each person's ages by a line fitted on all others; the network is not retrained.
    """
    age = _column(labels.age)
    known = np.flatnonzero(~np.isnan(age))
    truth, answer = age[known], outputs["age"][known, 0].astype(np.float64)
    scores = Scores(_ages(truth, answer, ""), {"faces_with_age": len(known)})
    if labels.age_spread is not None:
        guessed = np.flatnonzero(~np.isnan(labels.age_spread[known]))
        if len(guessed):
            spread = labels.age_spread[known][guessed]
            scores.metrics["epsilon_error"] = epsilon_error(truth[guessed], spread, answer[guessed])
            scores.counts["faces_with_spread"] = len(guessed)
    if labels.identity is None:
        return scores
    persons, named = labels.identity[known], labels.identity[known] != UNKNOWN
    truth, answer, persons = truth[named], answer[named], persons[named]
    if len(persons):
        scores.metrics["mae_over_persons_years"] = mean_over_groups(np.abs(answer - truth), persons)
        scores.counts["persons_with_age"] = len(np.unique(persons))
    if leave_one_out:
        corrected = lines_without_own_group(truth, answer, persons).of(answer)
        scores.metrics.update(_ages(truth, corrected, "left_out_"))
        scores.metrics["left_out_mae_over_persons_years"] = mean_over_groups(np.abs(corrected - truth), persons)
    return scores


def score_gender(labels: Labels, outputs: Outputs) -> Scores:
    """Return the accuracy, and the mean of the accuracies of women and men."""
    truth, rows = _known(labels.gender)
    answer = outputs["gender"][rows].argmax(1)
    metrics = {
        "gender_accuracy_percent": percent(accuracy(truth, answer)),
        "gender_mean_class_percent": percent(mean_class_accuracy(truth, answer, 2)),
    }
    matrix = confusion_matrix(truth, answer, 2).tolist()
    return Scores(metrics, {"faces_with_gender": len(rows)}, {"gender_confusion": matrix})


def score_expression(labels: Labels, outputs: Outputs) -> Scores:
    """Return the overall accuracy, and the mean over the classes with faces."""
    truth, rows = _known(labels.expression)
    answer = outputs["expression"][rows].argmax(1)
    count = len(EXPRESSIONS)
    metrics = {
        "expression_accuracy_percent": percent(accuracy(truth, answer)),
        "expression_mean_class_percent": percent(mean_class_accuracy(truth, answer, count)),
    }
    by_class = class_accuracies(truth, answer, count)
    details = {
        "expression_class_percent": {
            name: percent(share) for name, share in zip(EXPRESSIONS, by_class, strict=True) if not np.isnan(share)
        },
        "expression_confusion": confusion_matrix(truth, answer, count).tolist(),
    }
    empty = [name for name, share in zip(EXPRESSIONS, by_class, strict=True) if np.isnan(share)]
    absent = (f"expression {', '.join(empty)}: no face of the set shows it",) if empty else ()
    return Scores(metrics, {"faces_with_expression": len(rows)}, details, absent)


def score_attributes(labels: Labels, outputs: Outputs) -> Scores:
    """Return the accuracy of every attribute with an output and a label, and their mean."""
    if labels.attributes is None:
        raise ValueError("the set has no such labels")
    columns = [(column, task.slug) for column, task in enumerate(ATTRIBUTES) if task.slug in outputs]
    truth = labels.attributes[:, [column for column, _ in columns]]
    answer = np.stack([outputs[slug].argmax(1) for _, slug in columns], 1)
    shares = attribute_accuracies(truth, answer, UNKNOWN)
    accuracies = {slug: float(share) for (_, slug), share in zip(columns, shares, strict=True) if not np.isnan(share)}
    unlabelled = [slug for _, slug in columns if slug not in accuracies]
    metrics = {"attributes_mean_percent": percent(float(np.mean(list(accuracies.values()))))} if accuracies else {}
    metrics |= {f"attribute_{slug}_percent": percent(share) for slug, share in accuracies.items()}
    absent = (f"attributes {', '.join(unlabelled)}: no face of the set has such a label",) if unlabelled else ()
    faces = int((truth != UNKNOWN).any(1).sum())
    return Scores(metrics, {"faces_with_attributes": faces, "attributes": len(accuracies)}, {}, absent)


def score_identity(labels: Labels, outputs: Outputs, seed: int = 0) -> Scores:
    """Return the ten-fold accuracy of drawn pairs, and rank-1 of all faces against the first face of each person."""
    identity = _column(labels.identity)
    embeddings = outputs[EMBEDDING]
    counts = {"persons": len(np.unique(identity[identity != UNKNOWN]))}
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}
    absent = []
    try:
        pairs = draw_pairs(identity, seed=seed)
    except ValueError as error:
        absent.append(f"verification: {error}")
    else:
        overall, folds = verification_metrics(embeddings, np.arange(len(identity)), pairs)
        metrics |= {f"verification_{name}": value for name, value in overall.items()}
        counts |= {"verification_pairs": len(pairs)}
        details |= {f"verification_{name}": value for name, value in folds.items()}
    try:
        rank1, probes = _one_reference(identity, embeddings)
    except ValueError as error:
        absent.append(f"rank-1: {error}")
    else:
        metrics["rank1_percent"] = percent(rank1)
        counts |= {"references": counts["persons"], "probes": probes}
    return Scores(metrics, counts, details, tuple(absent))


def verification_metrics(
    embeddings: NDArray[np.floating], rows: NDArray[np.int64], pairs: Pairs
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return the metrics of pairs, and those of each fold; `embeddings` (n, width) are those of ascending `rows`."""
    first, second = np.searchsorted(rows, pairs.first), np.searchsorted(rows, pairs.second)
    distances = squared_distances(embeddings, first, second)
    folds = ten_fold(distances, pairs.same, pairs.fold)
    accepts = true_accepts(distances, pairs.same, fold=pairs.fold)
    metrics = {
        "accuracy_percent": percent(folds.accuracy),
        "accuracy_deviation_percent": percent(folds.deviation),
        "val_at_far_1e-03_percent": percent(accepts.rate),
        "far_percent": percent(accepts.false_accepts),
    }
    return metrics, {
        "fold_accuracies_percent": [percent(value) for value in folds.accuracies],
        "fold_thresholds": folds.thresholds.tolist(),
    }


def _one_reference(identity: Integers, embeddings: Floats) -> tuple[float, int]:
    """Return rank-1 of all other faces against the first face of each person, and the number of these probes."""
    rows = np.flatnonzero(identity != UNKNOWN)
    persons, first = np.unique(identity[rows], return_index=True)
    probes = np.delete(rows, first)
    if not len(probes) or len(persons) < 2:
        raise ValueError("it needs at least two persons, one of them with two faces")
    vectors = unit(embeddings).astype(np.float32)
    result = search(vectors[rows[first]], persons, vectors[probes], identity[probes])
    return result.at_rank[1], len(probes)


def _ages(truth: NDArray[np.floating], answer: NDArray[np.floating], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}mae_years": mean_absolute_error(truth, answer),
        f"{prefix}cs5_percent": percent(cumulative_score(truth, answer, 5)),
    }


def _known(column: Integers | None) -> tuple[Integers, Integers]:
    """Return the known labels and their rows."""
    values = _column(column)
    rows = np.flatnonzero(values != UNKNOWN)
    return values[rows], rows


def _column(column: NDArray[Any] | None) -> NDArray[Any]:
    if column is None:
        raise ValueError("the set has no such labels")
    return column
