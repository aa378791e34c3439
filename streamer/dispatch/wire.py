"""Converts the messages of workers to values, and back for those that stand in for a worker."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faceanalytics.internal.v1 import faces_pb2
from streamer.labels import ATTRIBUTES
from streamer.values import FaceAnalysis, ImpostorScores, Model

PROTOCOL = 5
MIN_AGE, MAX_AGE = -50.0, 200.0  # years; the network has no bound, so this leaves room for its errors
TOLERANCE = 0.01  # of numbers that were rounded, such as scores of half-precision networks


def to_model(ready: faces_pb2.Ready) -> Model:
    """Return the model that a READY message announces. Raises ValueError if its outputs are invalid."""
    outputs = ready.outputs
    attributes = tuple(value - 1 for value in outputs.attributes)
    if list(attributes) != sorted(set(attributes) & set(range(len(ATTRIBUTES)))):
        raise ValueError(f"{ready.worker} announces invalid attributes: {list(outputs.attributes)}")
    if not (attributes or outputs.age or outputs.expression or outputs.identity):
        raise ValueError(f"{ready.worker} announces weights without outputs")
    impostors = _to_impostors(ready.impostor_scores) if ready.HasField("impostor_scores") else None
    return Model(
        ready.model_id, outputs.age, outputs.expression, attributes, outputs.identity, ready.licence, impostors
    )


def _to_impostors(scores: faces_pb2.ImpostorScores) -> ImpostorScores:
    """Return the table of a message. Raises ValueError if it is malformed."""
    shares, cosines = np.array(scores.shares, np.float64), np.array(scores.cosines, np.float64)
    return ImpostorScores(scores.pairs, scores.people, shares, cosines, scores.source)


def to_analysis(face: faces_pb2.FaceAnalysis, model: Model, with_embedding: bool = True) -> FaceAnalysis:
    """Return the analysis of a message; not `with_embedding`: by the model without identity.

    Raises ValueError for outputs that `model` does not have, wrong sizes, numbers that cannot be, and an embedding that
    should not have left the worker.
    """
    if not with_embedding:
        if face.embedding or face.HasField("embedding_norm"):
            raise ValueError("the worker has sent embeddings, although it was asked not to: install the same version")
        model = replace(model, identity=False)
    analysis = FaceAnalysis(
        model=model,
        age=face.age_years if face.HasField("age_years") else None,
        expression=np.array(face.expression, np.float32) if face.expression else None,
        attributes=np.array(face.attributes, np.float32),
        embedding=np.frombuffer(face.embedding, "<f4") if face.embedding else None,
        embedding_norm=face.embedding_norm if face.HasField("embedding_norm") else None,
    )
    parts = (analysis.age, analysis.expression, analysis.attributes, analysis.embedding, analysis.embedding_norm)
    if not all(np.isfinite(part).all() for part in parts if part is not None):
        raise ValueError("the analysis has numbers that are not finite")
    _check_possible(analysis)
    return analysis


def ready_of(model: Model, worker: str, max_batch: int) -> bytes:
    """Return READY of a worker that has a model, from which `to_model` makes the same model."""
    scores = model.impostors
    impostors = None
    if scores is not None:
        tail = {"shares": scores.shares.tolist(), "cosines": scores.cosines.tolist()}
        impostors = faces_pb2.ImpostorScores(pairs=scores.pairs, people=scores.people, source=scores.source, **tail)
    outputs = faces_pb2.Outputs(
        age=model.age,
        expression=model.expression,
        attributes=[place + 1 for place in model.attributes],
        identity=model.identity,
    )
    ready = faces_pb2.Ready(
        protocol=PROTOCOL,
        worker=worker,
        model_id=model.id,
        max_batch=max_batch,
        device="the workers of a streamer",
        outputs=outputs,
        licence=model.licence,
        impostor_scores=impostors,
    )
    return ready.SerializeToString()


def answer_of(
    batch: faces_pb2.Batch, model: Model, analyses: Sequence[FaceAnalysis], inference_s: float
) -> faces_pb2.Answer:
    """Return the answer to a batch, from which `to_analysis` makes the same analyses, bit for bit."""
    answer = faces_pb2.Answer(batch_id=batch.batch_id, model_id=model.id, inference_s=inference_s)
    for crop_id, one in zip(batch.crop_ids, analyses, strict=True):
        face = answer.analyses.add(crop_id=crop_id, attributes=one.attributes.tolist())
        if one.age is not None:
            face.age_years = one.age
        if one.expression is not None:
            face.expression.extend(one.expression.tolist())
        if one.embedding is not None:
            face.embedding = one.embedding.astype("<f4").tobytes()
        if one.embedding_norm is not None:
            face.embedding_norm = one.embedding_norm
    return answer


def _check_possible(analysis: FaceAnalysis) -> None:
    """Raise ValueError for numbers that no network of ours gives."""
    if analysis.age is not None and not MIN_AGE <= analysis.age <= MAX_AGE:
        raise ValueError(f"the analysis has an age of {analysis.age:g} years")
    for name, scores in (("expression", analysis.expression), ("attributes", analysis.attributes)):
        if scores is not None and scores.size and not (scores.min() >= -TOLERANCE and scores.max() <= 1 + TOLERANCE):
            raise ValueError(f"the analysis has scores of {name} outside 0..1")
    if analysis.expression is not None and abs(float(analysis.expression.sum()) - 1) > TOLERANCE:
        raise ValueError(f"the scores of expression add up to {float(analysis.expression.sum()):g}, not 1")
    if analysis.embedding is not None and analysis.embedding_norm is not None:
        length = float(np.linalg.norm(analysis.embedding))
        if abs(length - 1) > TOLERANCE or analysis.embedding_norm <= 0:
            raise ValueError(f"the embedding has length {length:g}, and {analysis.embedding_norm:g} before it was 1")
