"""What holds of the packing of regions, whatever they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.config import Detect
from streamer.detect.packing import (
    AS_LARGE_AS_ALLOWED,
    CALL,
    GAP,
    MULTIPLE,
    Packing,
    Size,
    few_inputs,
    pack,
    whole_cost,
    whole_scale,
)
from streamer.values import Floats

CONFIG = Detect()
SQUARE = ((CONFIG.input_size, CONFIG.input_size),)
FEW = few_inputs(CONFIG.input_size)
Inputs = tuple[Size, ...] | None
SIZES = st.tuples(st.integers(1, 4000), st.integers(1, 3000))
SHARE = st.floats(0, 1, width=32)
REGION = st.tuples(SHARE, SHARE, SHARE, SHARE, st.one_of(st.floats(0.01, 8), st.just(AS_LARGE_AS_ALLOWED)))
FRAMES = st.lists(st.tuples(SIZES, st.lists(REGION, max_size=8)), min_size=1, max_size=6)
Frames = list[tuple[Size, list[tuple[float, float, float, float, float]]]]


def arrays(frames: Frames) -> tuple[list[Floats], list[Size], list[Floats]]:
    """Regions in pixels, sizes and scales of frames whose regions are shares of them: corner, side."""
    regions, scales = [], []
    for (width, height), rows in frames:
        table = np.array(rows, np.float64).reshape(-1, 5)
        side = table[:, 2:4] * (1 - table[:, :2])
        corners = np.concatenate([table[:, :2], table[:, :2] + side], axis=1)
        regions.append((corners * [width, height, width, height]).astype(np.float32))
        scales.append(table[:, 4].astype(np.float32))
    return regions, [size for size, _ in frames], scales


def packed(frames: Frames, inputs: Inputs = None) -> Packing:
    return pack(*arrays(frames), CONFIG, inputs)


@given(FRAMES, st.sampled_from([None, FEW, SQUARE]))
@settings(deadline=None)
def test_every_region_lies_in_its_canvas_and_overlaps_no_other(frames: Frames, inputs: Inputs) -> None:
    packing = packed(frames, inputs)
    sides = np.array(packing.canvases, np.int64).reshape(-1, 2)
    assert not (sides % MULTIPLE).any()
    assert (sides <= CONFIG.input_size).all()
    assert not inputs or set(packing.canvases) <= set(inputs)
    assert set(packing.canvas.tolist()) == set(range(len(sides)))  # none is empty
    assert (packing.tile[:, :2] >= 0).all()
    assert (packing.tile[:, 2:] <= sides[packing.canvas]).all()
    for row in range(len(packing.frame)):
        others = np.flatnonzero((packing.canvas == packing.canvas[row]) & (np.arange(len(packing.frame)) != row))
        apart = (packing.tile[row, :2] >= packing.tile[others, 2:] + GAP) | (
            packing.tile[row, 2:] + GAP <= packing.tile[others, :2]
        )
        assert apart.any(axis=1).all()


@given(FRAMES)
@settings(deadline=None)
def test_every_region_of_a_frame_is_packed_or_the_frame_is_looked_at_whole(frames: Frames) -> None:
    packing = packed(frames)
    regions, sizes, _ = arrays(frames)
    for number, (boxes, (width, height)) in enumerate(zip(regions, sizes, strict=True)):
        crop = packing.crop[packing.frame == number]
        assert len(crop) == (0 if packing.whole[number] else len(boxes))
        assert len(boxes) or not packing.whole[number]
        assert (crop[:, :2] >= 0).all()
        assert (crop[:, 2:] <= (width, height)).all()
        if len(crop):
            assert (crop[:, :2] <= boxes[:, :2]).all()
            assert (crop[:, 2:] >= boxes[:, 2:]).all()


@given(FRAMES)
@settings(deadline=None)
def test_no_region_is_shown_smaller_than_in_the_whole_frame(frames: Frames) -> None:
    packing = packed(frames)
    side = packing.tile[:, 2:] - packing.tile[:, :2]
    for row, number in enumerate(packing.frame):
        exact = (packing.crop[row, 2:] - packing.crop[row, :2]) * whole_scale(frames[number][0], CONFIG)
        assert (side[row] >= np.floor(exact)).all()
    upright = side > 1  # a region of a pixel or two is shown by one pixel at least
    assert (
        packing.scale[upright] <= CONFIG.max_upscale + 0.5 / (packing.crop[:, 2:] - packing.crop[:, :2])[upright]
    ).all()


@given(FRAMES, st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=5))
@settings(deadline=None)
def test_points_come_back_from_the_canvas(frames: Frames, shares: list[tuple[float, float]]) -> None:
    packing = packed(frames)
    rows = np.arange(len(packing.frame))
    corner, side = packing.crop[:, None, :2], packing.crop[:, None, 2:] - packing.crop[:, None, :2]
    points = (corner + np.array(shares) * side).astype(np.float32)
    there = packing.to_canvas(rows, points)
    assert (there >= packing.tile[:, None, :2] - 1e-3).all()
    assert (there <= packing.tile[:, None, 2:] + 1e-3).all()
    np.testing.assert_allclose(packing.to_frame(rows, there), points, atol=0.01)


@given(FRAMES)
@settings(deadline=None)
def test_a_packing_costs_less_than_the_whole_frames(frames: Frames) -> None:
    packing = packed(frames)
    cost = sum(width * height + CALL for width, height in packing.canvases)
    whole = sum(whole_cost(frames[number][0], CONFIG) for number in set(packing.frame.tolist()))
    assert cost < whole or not packing.canvases


def test_a_face_is_shown_at_the_scale_that_is_asked_for() -> None:
    region, wanted = np.array([[100, 100, 160, 160]], np.float32), np.array([1.25], np.float32)
    packing = pack([region], [(1280, 720)], [wanted], CONFIG)
    assert packing.tile.tolist() == [[0, 0, 75, 75]]
    assert packing.canvases == ((96, 96),)


def test_a_region_of_unknown_content_is_as_large_as_pays() -> None:
    free = np.array([AS_LARGE_AS_ALLOWED], np.float32)
    small = pack([np.array([[0, 0, 90, 90]], np.float32)], [(1280, 720)], [free], CONFIG)
    assert small.scale[0].tolist() == [1.5, 1.5]
    wide = pack([np.array([[0, 0, 450, 450]], np.float32)], [(1280, 720)], [free], CONFIG)
    assert 0.5 < wide.scale[0, 0] < 0.75
    assert wide.canvases[0][0] * wide.canvases[0][1] < 0.6 * 640 * 384


def test_many_small_faces_are_enlarged_as_far_as_a_part_of_the_cost_of_the_frame_allows() -> None:
    corners = np.array([(x, y) for x in range(0, 640, 90) for y in range(0, 270, 90)], np.float32)
    regions = np.concatenate([corners, corners + 50], axis=1)
    packing = pack([regions], [(640, 360)], [np.full(len(regions), 1.5, np.float32)], CONFIG)
    assert not packing.whole.any()
    assert ((packing.scale > 1) & (packing.scale < 1.2)).all()


def test_regions_that_cover_most_of_a_frame_are_the_whole_frame() -> None:
    most = np.array([[0, 0, 640, 300]], np.float32)
    part = np.array([[10, 10, 80, 80]], np.float32)
    packing = pack([most, part], [(640, 360)] * 2, [np.ones(1, np.float32)] * 2, CONFIG)
    assert packing.whole.tolist() == [True, False]
    assert packing.frame.tolist() == [1]


def test_a_detector_of_squares_gains_only_from_several_frames() -> None:
    part, wanted = np.array([[10, 10, 80, 80]], np.float32), np.ones(1, np.float32)
    alone = pack([part], [(640, 360)], [wanted], CONFIG, SQUARE)
    assert alone.whole.tolist() == [True]
    together = pack([part] * 4, [(640, 360)] * 4, [wanted] * 4, CONFIG, SQUARE)
    assert not together.whole.any()
    assert together.canvases == ((640, 640),)


def test_regions_that_do_not_fit_in_one_canvas_fill_several() -> None:
    part = np.array([[0, 0, 200, 200]], np.float32)
    packing = pack([part] * 20, [(640, 640)] * 20, [np.full(1, 1.5, np.float32)] * 20, CONFIG)
    assert len(packing.canvases) > 1
    assert np.bincount(packing.canvas).tolist()[0] == 4


@pytest.mark.parametrize("side", [64, 320, 640, 960])
def test_a_detector_compiled_for_each_size_gets_few_sizes(side: int) -> None:
    few = few_inputs(side)
    assert len(few) < 10
    assert few[-1] == (side, side)
    assert all(width % MULTIPLE == height % MULTIPLE == 0 and max(width, height) <= side for width, height in few)
    assert [width * height for width, height in few] == sorted({width * height for width, height in few})


def test_a_region_gets_the_smallest_of_few_sizes() -> None:
    packing = pack([np.array([[0, 0, 100, 100]], np.float32)], [(640, 360)], [np.ones(1, np.float32)], CONFIG, FEW)
    assert packing.canvases == ((128, 128),)


@pytest.mark.parametrize("inputs", [None, FEW, SQUARE])
def test_nothing_to_look_at_needs_no_canvas(inputs: Inputs) -> None:
    none = np.zeros((0, 4), np.float32)
    packing = pack([none, none], [(640, 360), (20, 20)], [np.zeros(0, np.float32)] * 2, CONFIG, inputs)
    assert not packing.whole.any()
    assert packing.canvases == ()
    assert len(packing.frame) == 0
