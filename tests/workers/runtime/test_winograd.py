"""Convolutions by Winograd are convolutions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from workers.runtime import winograd
from workers.runtime.on_cpu import pooling


@pytest.mark.parametrize("side", [4, 7, 8, 9])
def test_scatter_multiply_gather_is_a_convolution_with_zeros_around(side: int) -> None:
    generator = np.random.default_rng(side)
    image, weight = generator.normal(size=(5, side, side)), generator.normal(size=(6, 5, 3, 3))
    products = winograd.scatter(side) @ image.reshape(5, -1).T
    products = products.reshape(winograd.PRODUCTS, winograd.tiles(side), 5) @ winograd.transform_weights(weight)
    found = winograd.gather(side) @ products.reshape(-1, 6)
    expected = F.conv2d(torch.from_numpy(image)[None], torch.from_numpy(weight), padding=1)[0]
    np.testing.assert_allclose(found.T.reshape(6, side, side), expected.numpy(), atol=1e-12)


def test_a_map_of_seven_takes_a_third_of_the_multiplications() -> None:
    assert winograd.PRODUCTS * winograd.tiles(7) / (49 * 9) == pytest.approx(0.327, abs=0.001)


@pytest.mark.parametrize("side", [7, 14, 28])
def test_pooling_takes_the_mean_of_squares(side: int) -> None:
    image = torch.randn(3, side, side, generator=torch.Generator().manual_seed(side), dtype=torch.float64)
    found = pooling(side, 7) @ image.flatten(1).numpy().T
    np.testing.assert_allclose(found.T, F.avg_pool2d(image, side // 7).flatten(1).numpy(), atol=1e-12)
