"""People that the patch detectors find and a worker of a few lines recognises by the colours of eyes, nose and mouth.

Images and videos are real files, the worker speaks the real protocol over a real socket; only the network is not one.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
import zmq
import zmq.asyncio
from numpy.typing import NDArray

from faceanalytics.internal.v1 import faces_pb2
from streamer.dispatch.wire import PROTOCOL
from streamer.select.align import TEMPLATE
from tests.support.patch_detector import FACE, POINTS, paint

Person = tuple[tuple[int, int, int], ...]  # BGR of eyes, nose and mouth
PART = (0, 0, 1, 2, 2)  # of each landmark
REACH = 40  # pixels that people in a video walk to and fro
# The detector knows places to 8 pixels, and crops that are off by 4 mix the colours: people are where it is exact.
PLACES, MIDDLE = 8, 4


def person(seed: int) -> Person:
    """Somebody; a seed is always the same one."""
    colours = np.random.default_rng(seed).choice([30, 225], (3, 3))
    return tuple((int(b), int(g), int(r)) for b, g, r in colours)


def paint_person(frame: NDArray[np.uint8], who: Person, left: int, top: int) -> None:
    """Draw a face of 64 pixels."""
    paint(frame, left, top)
    for part, (x, y) in zip(PART, POINTS.astype(int), strict=True):
        frame[top + y - 4 : top + y + 4, left + x - 4 : left + x + 4] = who[part]


def write_image(path: Path, faces: Sequence[Person]) -> None:
    """640x480, the faces side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.full((480, 640, 3), 90, np.uint8)
    for place, who in enumerate(faces):
        paint_person(frame, who, 100 + 152 * place, 200 + MIDDLE)
    assert cv2.imwrite(str(path), frame)


def write_video(path: Path, there: Mapping[Person, Sequence[tuple[float, float]]], seconds: float) -> None:
    """MP4, 640x480 H.264 at 5 frames/s: each person has a row, and is there between the given times (s)."""
    rows = tuple((who, tuple(times)) for who, times in there.items())
    path.write_bytes(_encoded(rows, seconds))


@lru_cache(maxsize=32)
def _encoded(rows: tuple[tuple[Person, tuple[tuple[float, float], ...]], ...], seconds: float) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=5, options={"preset": "ultrafast", "crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index in range(round(seconds * 5)):
            frame = np.full((480, 640, 3), 90, np.uint8)
            walked = (REACH - abs(index % (2 * REACH) - REACH)) // PLACES * PLACES
            for row, (who, times) in enumerate(rows):
                if any(begin <= index / 5 < end for begin, end in times):
                    paint_person(frame, who, 200 + walked + MIDDLE, 40 + row * 2 * FACE + MIDDLE)
            image = av.VideoFrame.from_ndarray(frame, format="bgr24")
            image.pts, image.time_base = index, Fraction(1, 5)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return made.getvalue()


@asynccontextmanager
async def painted_worker(
    endpoint: str,
    model_id: str = "colours",
    impostors: faces_pb2.ImpostorScores | None = None,
    made: list[bytes] | None = None,
    disobeys: bool = False,
    fails: bool = False,
) -> AsyncIterator[None]:
    """A worker that answers until the end of the block; `made` receives the embeddings that it has computed.

    `disobeys`: it sends embeddings although it is asked not to. `fails`: it says that it could not analyse anything.
    """
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    outputs = faces_pb2.Outputs(age=True, expression=True, attributes=range(1, 41), identity=True)
    ready = faces_pb2.Ready(
        protocol=PROTOCOL,
        worker="painted",
        model_id=model_id,
        max_batch=16,
        device="cpu",
        outputs=outputs,
        impostor_scores=impostors,
    ).SerializeToString()

    async def answer() -> None:
        while True:
            await socket.send_multipart([b"READY", ready])
            if await socket.poll(500):
                _, header, pixels = await socket.recv_multipart()
                batch = faces_pb2.Batch.FromString(header)
                found = _answer(batch, pixels, model_id)
                if fails:
                    found = faces_pb2.Answer(batch_id=batch.batch_id, model_id=model_id, error="out of memory")
                if made is not None:
                    made.extend(one.embedding for one in found.analyses)
                if batch.without_embeddings and not disobeys:
                    for one in found.analyses:
                        one.ClearField("embedding")
                        one.ClearField("embedding_norm")
                await socket.send_multipart([b"ANSWER", found.SerializeToString()])

    answering = asyncio.create_task(answer())
    try:
        yield
    finally:
        answering.cancel()
        await asyncio.wait([answering])
        context.destroy(linger=0)
        if not answering.cancelled():
            answering.result()  # what went wrong


def _answer(batch: faces_pb2.Batch, pixels: bytes, model_id: str) -> faces_pb2.Answer:
    crops = np.frombuffer(pixels, np.uint8).reshape(-1, 112, 112, 3)
    found = faces_pb2.Answer(batch_id=batch.batch_id, model_id=model_id)
    for crop_id, crop in zip(batch.crop_ids, crops, strict=True):
        embedding = np.zeros(512, "<f4")
        for part, (x, y) in zip(PART, TEMPLATE.round().astype(int), strict=True):
            around = crop[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
            embedding[3 * part : 3 * part + 3] += around.mean(axis=0) - 127
        length = float(np.linalg.norm(embedding))
        found.analyses.add(
            crop_id=crop_id,
            age_years=30,
            expression=[1 / 7] * 7,
            attributes=[0.5] * 40,
            embedding=(embedding / length).astype("<f4").tobytes(),
            embedding_norm=length,
        )
    return found
