"""Regions of moving cells and of tracks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamer.attention.regions import MIN_SIDE, joined, moving_regions, share, track_regions
from streamer.values import Floats
from tests.support.scenes import SIZE

BOXES = st.lists(
    st.tuples(st.floats(-50, 700), st.floats(-50, 400), st.floats(1, 400), st.floats(1, 400)).map(
        lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
    ),
    max_size=12,
)


def test_moving_cells_that_touch_are_one_region_with_a_margin_and_a_single_cell_is_none() -> None:
    moving = np.zeros((22, 40), bool)
    moving[3:6, 4:8] = True
    moving[15:17, 30:32] = True
    moving[10, 20] = True
    cell = np.array([640 / 40, 360 / 22] * 2)
    regions = moving_regions(moving, SIZE)
    wanted = np.array([[3, 2, 9, 7], [29, 14, 33, 18]]) * cell
    assert np.allclose(sorted(regions.tolist()), sorted(wanted.tolist()), atol=1e-3)


def test_the_region_of_a_track_is_three_faces_wide_and_wider_if_its_place_is_uncertain() -> None:
    box = np.array([[100, 100, 140, 140]], np.float32)
    sure, unsure = (track_regions(box, np.array([drift], np.float32))[0] for drift in (0.0, 0.3))
    assert (sure == [60, 60, 180, 180]).all()
    assert unsure[0] < sure[0]
    assert unsure[3] > sure[3]


@given(BOXES)
def test_joined_regions_contain_all_boxes_inside_the_frame_and_are_not_small(
    boxes: list[tuple[float, float, float, float]],
) -> None:
    table: Floats = np.array(boxes, np.float32).reshape(-1, 4)
    regions = joined(table, SIZE)
    assert len(regions) <= len(boxes)
    limits = np.array([*SIZE, *SIZE])
    assert ((regions >= 0) & (regions <= limits)).all()
    assert (regions[:, 2:] - regions[:, :2] >= MIN_SIDE * max(SIZE) - 0.01).all()
    for box in table.clip(0, limits):
        inside = (regions[:, :2] <= box[:2] + 0.01) & (regions[:, 2:] >= box[2:] - 0.01)
        assert inside.all(axis=1).any()


def test_near_regions_are_joined_and_distant_ones_are_not() -> None:
    near = np.array([[0, 0, 100, 100], [90, 0, 200, 100]], np.float32)
    far = np.array([[0, 0, 100, 100], [400, 0, 500, 100]], np.float32)
    assert len(joined(near, SIZE)) == 1
    assert len(joined(far, SIZE)) == 2
    assert share(joined(far, SIZE), SIZE) == np.float32(2 * 100 * 100 / (640 * 360))
