"""Learns what the embeddings of crops without a face look like: those of images without content.

A network has to answer for every crop. What is no face gets an embedding near that of images that show nothing at all,
so their mean is what crops of hands, objects and the backs of heads are compared with (aggregate/described.py). It is
asked of the worker itself, which makes it right for any weights.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache

import cv2
import numpy as np

from streamer.values import CROP_SIZE, Bytes, FaceAnalysis, Floats, Model

IMAGES = 32


Analyse = Callable[[Sequence[Bytes]], Awaitable[list[FaceAnalysis | None]]]


async def learn_blanks(
    next_model: Callable[[], Awaitable[Model]], analyse: Analyse, use: Callable[[str, Floats], None]
) -> None:
    """Learn what each model of the workers makes of images without content, and use it, until cancelled."""
    known = set[str]()
    while True:
        model = await next_model()
        embedding = await blank_embedding(model, analyse) if model.id not in known else None
        if embedding is not None:
            known.add(model.id)
            use(model.id, embedding)


async def blank_embedding(model: Model, analyse: Analyse) -> Floats | None:
    """Return the embedding (512,) of images without content, of unit length; None if this model has no use for it.

    That is a model without identity, or whose card does not say how similar strangers are: it may be untrained.
    `analyse` is the dispatcher's. None also if a crop is not answered, or if another model answers.
    """
    if not model.identity or model.impostors is None:
        return None
    answers = await analyse(blank_crops())
    found = [one.embedding for one in answers if one is not None and one.model == model and one.embedding is not None]
    if len(found) < IMAGES:
        return None
    mean = np.stack(found).mean(axis=0)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float32) if length > 0 else None


@cache
def blank_crops() -> tuple[Bytes, ...]:
    """Return images (112, 112, 3) RGB of soft clouds of any colour and contrast, the same in every run."""
    dice = np.random.default_rng(1)
    crops = []
    for _ in range(IMAGES):
        colour = dice.uniform(30, 220, 3)
        clouds = cv2.GaussianBlur(dice.normal(0, 20, (CROP_SIZE, CROP_SIZE, 3)), (0, 0), dice.uniform(1, 25))
        crops.append(np.clip(colour + clouds * dice.uniform(1, 6), 0, 255).astype(np.uint8))
    return tuple(crops)
