"""How much boxes overlap, by hand."""

import numpy as np
import pytest

from streamer.boxes import areas, covered, iou, iou_of_pairs

FIRST = np.array([[0, 0, 10, 10], [20, 0, 30, 20]], np.float32)
SECOND = np.array([[5, 0, 15, 10], [20, 10, 30, 30], [0, 0, 100, 100]], np.float32)


def test_tables_hold_the_overlap_of_each_pair() -> None:
    np.testing.assert_allclose(areas(FIRST), [100, 200])
    np.testing.assert_allclose(iou(FIRST, SECOND), [[50 / 150, 0, 0.01], [0, 100 / 300, 0.02]], rtol=1e-6)
    np.testing.assert_allclose(covered(FIRST, SECOND), [[0.5, 0, 1], [0, 0.5, 1]])


def test_pairs_are_those_of_the_table() -> None:
    pairs = iou_of_pairs(FIRST.T, SECOND[:2].T)
    np.testing.assert_array_equal(pairs, iou(FIRST, SECOND[:2]).diagonal())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_boxes_without_area_overlap_nothing_and_the_kind_of_number_stays(kind: type[np.floating]) -> None:
    none = np.zeros((1, 4), kind)
    for table in (iou(none, none), covered(none, none)):
        assert table.dtype == kind
        assert table.tolist() == [[0]]
    assert iou(none[:0], none).shape == (0, 1)
    assert covered(none, none[:0]).shape == (1, 0)
