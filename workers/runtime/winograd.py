"""Compute 3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308).

A tile of 4x4 outputs needs 36 products instead of 144. For a 7x7 map the transforms around the products are linear
and fixed, so two small matrices do them: `scatter` maps the input to the factors of the transformed weights,
`gather` maps the products to the output. Letters: m = 4 rows of a tile, n = m + 2 points, P = n*n products, K = tiles.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

POINTS = (0, 1, -1, Fraction(1, 2), -2)  # and infinity; these give the smallest rounding errors
TILE = len(POINTS) - 1  # m
PRODUCTS = (TILE + 2) ** 2  # P


def tiles(side: int) -> int:
    """Return K, the number of tiles that cover a map."""
    return int((-(-side // TILE)) ** 2)


def transform_weights(weight: NDArray[Any]) -> NDArray[Any]:
    """Transform weights (O, C, 3, 3) to (P, C, O), in their own precision."""
    along = _matrices()[1]
    both = np.kron(along, along).astype(weight.dtype)  # (P, 9)
    transformed: NDArray[Any] = both @ weight.transpose(2, 3, 1, 0).reshape(9, -1)
    return transformed.reshape(PRODUCTS, weight.shape[1], weight.shape[0])


def scatter(side: int) -> Doubles:
    """Return the matrix (P*K, side*side) from a zero-padded map, row by row, to the input of the products."""
    inputs = _matrices()[2]
    count = -(-side // TILE)
    along = np.zeros((TILE + 2, count, side))
    for tile in range(count):
        for point in range(TILE + 2):
            position = tile * TILE + point - 1  # inputs reach one beyond the outputs on each side
            if 0 <= position < side:
                along[:, tile, position] += inputs[:, point]
    both: Doubles = np.einsum("pty,qux->pqtuyx", along, along)
    return both.reshape(PRODUCTS * count**2, side**2)


def gather(side: int) -> Doubles:
    """Return the matrix (side*side, P*K) from the products to the map, row by row."""
    outputs = _matrices()[0]
    count = -(-side // TILE)
    along = np.zeros((side, TILE + 2, count))
    for position in range(side):
        along[position, :, position // TILE] = outputs[position % TILE]
    both: Doubles = np.einsum("ypt,xqu->yxpqtu", along, along)
    return both.reshape(side**2, PRODUCTS * count**2)


def _matrices() -> tuple[Doubles, Doubles, Doubles]:
    """Return Toom and Cook's A^T (m, n), G (n, 3) and B^T (n, n): y = A^T [(G g) * (B^T d)]."""
    points = [Fraction(point) for point in POINTS]
    others = [[other for other in points if other != point] for point in points]
    outputs = [[point**row for point in points] + [Fraction(row == TILE - 1)] for row in range(TILE)]
    kernel = [
        [point**power / prod(point - other for other in rest) for power in range(3)]
        for point, rest in zip(points, others, strict=True)
    ]
    inputs = [[*_coefficients(rest), Fraction(0)] for rest in others]
    return _floats(outputs), _floats([*kernel, [0, 0, 1]]), _floats([*inputs, _coefficients(points)])


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients of the polynomial with these roots, constant term first."""
    coefficients = [Fraction(1)]
    for root in roots:
        higher, lower = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [a - root * b for a, b in zip(higher, lower, strict=True)]
    return coefficients


def _floats(rows: Sequence[Sequence[Fraction | int]]) -> Doubles:
    return np.array([[float(value) for value in row] for row in rows])
