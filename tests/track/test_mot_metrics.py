"""The measures of trackers, by hand and against py-motmetrics, and SORT, which trackers are compared with."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.mot_data import DROPS, read
from tests.benchmarks.mot_metrics import ALPHAS, Labelled, score
from tests.benchmarks.trackers import ours, sort
from tests.support.mot_score import Boxes
from tests.support.mot_score import score as score_by_py_motmetrics


def labelled(*rows: tuple[int, float]) -> Labelled:
    """Boxes of 10 x 10 pixels: id and left edge."""
    boxes = np.array([(left, 0, left + 10, 10) for _, left in rows], float).reshape(-1, 4)
    return Labelled(np.array([number for number, _ in rows], int), boxes)


def as_boxes(frames: list[Labelled]) -> Boxes:
    return {index + 1: list(zip(frame.ids.tolist(), frame.boxes, strict=True)) for index, frame in enumerate(frames)}


def test_what_is_followed_without_fault_has_full_marks() -> None:
    truth = [labelled((1, 0), (2, 100)), labelled((1, 5), (2, 95))]
    have = score(truth, [labelled((8, 0), (9, 100)), labelled((8, 5), (9, 95))])
    assert (have.hota, have.association, have.idf1, have.mota, have.switches) == (1, 1, 1, 1, 0)


def test_a_face_that_changes_its_id_half_way() -> None:
    """Both tracks share 2 of the face's 4 frames: each match has the association 2 / 4, all is detected."""
    have = score([labelled((1, 0))] * 4, [labelled((5, 0))] * 2 + [labelled((6, 0))] * 2)
    assert have.association == pytest.approx(0.5)
    assert have.hota == pytest.approx(0.5**0.5)
    assert have.idf1 == pytest.approx(2 * 2 / 8)
    assert (have.mota, have.switches) == (0.75, 1)


def test_a_box_that_is_off_counts_up_to_its_overlap() -> None:
    """Shifted by 2.5 of 10 pixels the IoU is 7.5 / 12.5 = 0.6: found and followed at 12 of the 19 thresholds."""
    have = score([labelled((1, 0))] * 3, [labelled((1, 2.5))] * 3)
    assert have.hota == pytest.approx(12 / len(ALPHAS))
    assert (have.idf1, have.mota) == (1, 1)


def test_one_of_two_faces_missed_and_one_invented() -> None:
    """Detection 1 / 3, the one match of each frame always the same pair: HOTA is the root of a third."""
    have = score([labelled((1, 0), (2, 100))] * 5, [labelled((1, 0), (3, 300))] * 5)
    assert have.hota == pytest.approx((1 / 3) ** 0.5)
    assert (have.association, have.idf1, have.mota, have.switches) == (1, 0.5, 0, 0)


def test_a_track_is_pure_as_far_as_it_stays_on_one_face() -> None:
    """Of five boxes on faces three are on the face that their track is on most; one on nobody does not count."""
    truth = [labelled((1, 0), (2, 100))] * 5
    have = score(truth, [*[labelled((5, 0))] * 3, *[labelled((5, 100))] * 2])
    assert have.purity == pytest.approx(3 / 5)
    assert score(truth, [labelled((5, 0), (6, 300))] * 5).purity == 1


@pytest.mark.parametrize("seed", range(4))
def test_idf1_mota_and_switches_are_those_of_motmetrics(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, tracks = [], []
    for _ in range(30):
        places = np.sort(random.choice(30, 4, replace=False)) * 8.0
        ids = random.permutation(4) if random.random() < 0.3 else np.arange(4)
        kept = random.random(4) < 0.8
        truth.append(labelled(*zip(range(4), places, strict=True)))
        found = zip(ids[kept].tolist(), places[kept] + random.normal(0, 1.5, kept.sum()), strict=True)
        tracks.append(labelled(*found, (9, 500.0)))
    have = score(truth, tracks)
    mota, idf1, switches = score_by_py_motmetrics(as_boxes(truth), as_boxes(tracks))
    assert have.mota == pytest.approx(mota)
    assert have.idf1 == pytest.approx(idf1)
    assert have.switches == switches


def test_bursts_take_about_half_of_the_frames_and_always_the_same() -> None:
    kept = DROPS["bursts"](6000)
    assert 0.4 < len(kept) / 6000 < 0.6
    assert 4 < len(kept) / (1 + (np.diff(kept) > 1).sum()) < 8  # frames in a row
    np.testing.assert_array_equal(kept, DROPS["bursts"](6000))


@pytest.mark.shared
@pytest.mark.parametrize(("name", "mota", "idf1"), [("TUD-Campus", 62.7, 60.7), ("TUD-Stadtmitte", 71.7, 73.5)])
def test_sort_has_the_figures_that_it_was_published_with(shared: Path, name: str, mota: float, idf1: float) -> None:
    sequence = read(shared / "data" / "tracking" / "tud" / name, 25, name)
    have = score(sequence.truth, sort(sequence))
    assert 100 * have.mota == pytest.approx(mota, abs=0.06)
    assert 100 * have.idf1 == pytest.approx(idf1, abs=0.11)


@pytest.mark.shared
def test_ours_follows_faces_better_than_sort_if_frames_are_missing(shared: Path) -> None:
    sequence = read(shared / "data" / "tracking" / "ltft" / "sidewalk", 24, "ltft/sidewalk")
    thinned = sequence.only(DROPS["1/3"](len(sequence.times)))
    ids = [score(thinned.truth, follow(thinned)).idf1 for follow in (ours, sort)]
    assert ids[0] > ids[1] + 0.2
