"""What the weights make of images without content is asked of the worker."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from streamer.identity.blank import IMAGES, blank_crops, blank_embedding
from streamer.values import Bytes, FaceAnalysis, ImpostorScores, Model
from tests.support.builders import analysis, model

MEASURED = replace(model(), impostors=ImpostorScores(100, 10, np.array([0.1, 1]), np.array([0.4, -1]), "test"))


def asked(model: Model, answers: Sequence[FaceAnalysis | None] | None = None) -> tuple[list[float] | None, int]:
    """The first parts of the embedding, and how many crops the worker had to answer."""
    crops: list[Bytes] = []

    async def analyse(some: Sequence[Bytes]) -> list[FaceAnalysis | None]:
        crops.extend(some)
        return list(answers) if answers is not None else [analysis()] * len(some)

    found = asyncio.run(blank_embedding(model, analyse))
    return (None if found is None else found[:2].tolist()), len(crops)


def test_it_is_the_mean_embedding_of_the_answers() -> None:
    assert asked(MEASURED) == ([1.0, 0.0], IMAGES)


def test_weights_that_may_be_untrained_or_know_no_identity_are_not_asked() -> None:
    assert asked(model()) == (None, 0)
    assert asked(replace(MEASURED, identity=False)) == (None, 0)


@pytest.mark.parametrize("missing", [None, replace(analysis(), model=model("another"))])
def test_it_is_unknown_if_an_answer_is_missing_or_of_other_weights(missing: FaceAnalysis | None) -> None:
    assert asked(MEASURED, [missing, *[analysis()] * (IMAGES - 1)]) == (None, IMAGES)


def test_the_images_are_the_same_each_time_and_show_nothing() -> None:
    crops = blank_crops()
    assert len(crops) == IMAGES
    assert all(crop.shape == (112, 112, 3) and crop.dtype == np.uint8 for crop in crops)
    blank_crops.cache_clear()
    assert all(np.array_equal(one, other) for one, other in zip(crops, blank_crops(), strict=True))
