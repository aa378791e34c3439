"""Decode and encode the worker's messages of internal/v1/faces.proto."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from faceanalytics.internal.v1 import faces_pb2
from workers.runtime.engine import CROP_SHAPE, Analyses, Bytes
from workers.swinface.labels import ATTRIBUTES, EMBEDDING

PROTOCOL = 5
CROP_BYTES = int(np.prod(CROP_SHAPE))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    id: int  # given by the streamer
    crop_ids: tuple[int, ...]
    pixels: Bytes  # (n, 112, 112, 3) RGB
    traceparent: str = ""  # W3C trace context; empty: it is not traced
    without_embeddings: bool = False  # they must not leave this process


class MalformedMessage(Exception):
    """A message that is not a valid batch. `batch_id` is None if it could not be read."""

    def __init__(self, message: str, batch_id: int | None = None) -> None:
        super().__init__(message)
        self.batch_id = batch_id


def read_refusal(frames: Sequence[bytes]) -> str | None:
    """Return why the streamer gives this worker no work; None if this is another message. Raises MalformedMessage."""
    if len(frames) != 2 or frames[0] != b"REFUSED":
        return None
    try:
        return str(faces_pb2.Refusal.FromString(frames[1]).reason)
    except DecodeError as error:
        raise MalformedMessage(f"refusal that cannot be decoded: {error}") from error


def read_batch(frames: Sequence[bytes], max_batch: int) -> Batch:
    """Decode a message of the streamer. Raises MalformedMessage."""
    if len(frames) < 2 or frames[0] != b"BATCH":
        kind = bytes(frames[0][:20]) if frames else b""
        raise MalformedMessage(f"unknown message {kind!r} of {len(frames)} frames")
    try:
        header = faces_pb2.Batch.FromString(frames[1])
    except DecodeError as error:
        raise MalformedMessage(f"batch that cannot be decoded: {error}") from error
    problem = _problem(len(header.crop_ids), [len(frame) for frame in frames[2:]], max_batch)
    if problem:
        raise MalformedMessage(problem, header.batch_id)
    pixels = np.frombuffer(frames[2], np.uint8).reshape(-1, *CROP_SHAPE)
    return Batch(header.batch_id, tuple(header.crop_ids), pixels, header.traceparent, header.without_embeddings)


def _problem(crops: int, frame_sizes: list[int], max_batch: int) -> str:
    if len(frame_sizes) != 1:
        return f"{len(frame_sizes)} frames of pixels instead of 1"
    if crops == 0:
        return "batch without crops"
    if crops > max_batch:
        return f"batch of {crops} crops, this worker takes at most {max_batch}"
    if frame_sizes[0] != crops * CROP_BYTES:
        return f"{frame_sizes[0]} bytes of pixels for {crops} crops instead of {crops * CROP_BYTES}"
    return ""


def ready(
    worker: str,
    model_id: str,
    heads: Collection[str],
    licence: str,
    device: str,
    max_batch: int,
    impostor_scores: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode READY. `heads`: slugs of labels.OUTPUTS that the weights have; `impostor_scores`: from their card."""
    outputs = faces_pb2.Outputs(
        age="age" in heads,
        expression="expression" in heads,
        attributes=[value for value, task in enumerate(ATTRIBUTES, start=1) if task.slug in heads],
        identity=EMBEDDING in heads,
    )
    message = faces_pb2.Ready(
        protocol=PROTOCOL,
        worker=worker,
        model_id=model_id,
        max_batch=max_batch,
        device=device,
        outputs=outputs,
        licence=licence,
        impostor_scores=faces_pb2.ImpostorScores(**impostor_scores) if impostor_scores else None,
    )
    return message.SerializeToString()


def answer(batch: Batch, analyses: Analyses, model_id: str, inference_s: float, first: int = 0) -> bytes:
    """Encode the answer to a batch, whose rows in the analyses begin at `first`, without embeddings if it says so."""
    embeds = analyses.embeddings is not None and not batch.without_embeddings
    message = faces_pb2.Answer(batch_id=batch.id, model_id=model_id, inference_s=inference_s)
    for row, crop_id in enumerate(batch.crop_ids, first):
        face = message.analyses.add(crop_id=crop_id, attributes=analyses.attributes[row].tolist())
        if analyses.age is not None:
            face.age_years = float(analyses.age[row])
        if analyses.expression is not None:
            face.expression.extend(analyses.expression[row].tolist())
        if embeds and analyses.embeddings is not None and analyses.norms is not None:
            face.embedding = analyses.embeddings[row].astype("<f4").tobytes()
            face.embedding_norm = float(analyses.norms[row])
    return message.SerializeToString()


def refusal(batch_id: int, model_id: str, error: str) -> bytes:
    """Encode an answer that gives an error instead of analyses."""
    return faces_pb2.Answer(batch_id=batch_id, model_id=model_id, error=error).SerializeToString()
