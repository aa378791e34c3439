"""The search finds what a plain comparison with all vectors finds, whatever was added and removed before."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.identity import face_index, gallery
from streamer.identity.face_index import BLOCK, SIZE, FaceIndex, rotation_of
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.int8_product import GROUP, LIMIT, ZERO, Int8Product, model
from streamer.values import Floats


def units(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def faces(count: int, dimensions: int = 128, seed: int = 0) -> Floats:
    """Unit vectors of people with five pictures each, in a subspace."""
    dice = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(99).standard_normal((SIZE, dimensions)))[0]
    people = np.repeat(dice.standard_normal((count // 5 + 1, dimensions)), 5, axis=0)[:count]
    return units((people + 0.6 * dice.standard_normal((count, dimensions))) @ basis.T)


def plainly(vectors: Floats, ids: np.ndarray, probes: Floats, count: int) -> np.ndarray:
    cosines = probes.astype(np.float64) @ vectors.astype(np.float64).T
    return np.stack([ids[np.lexsort((ids, -row))[:count]] for row in cosines])


@pytest.fixture
def coarse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the coarse copies from the first vector on."""
    monkeypatch.setattr(face_index, "COARSE_FROM", 1)


MANY, FEW = BLOCK + 777, GROUP + 6  # few: there are fewer groups than the best that are wanted


@pytest.mark.parametrize(
    ("number", "dimensions", "count"),
    [(MANY, 20, 70), (MANY, 128, 1), (MANY, 128, 70), (MANY, 512, 3), (FEW, 128, 60), (FEW, 512, 100), (1, 128, 2)],
)
@pytest.mark.usefixtures("coarse_at_once")
def test_the_best_are_those_of_a_comparison_with_all(number: int, dimensions: int, count: int) -> None:
    vectors = faces(number, dimensions)
    ids = np.random.default_rng(1).permutation(10 * len(vectors))[: len(vectors)]
    index = FaceIndex()
    index.add(ids, vectors)
    probes = np.concatenate([units(vectors[::2000] + 0.02), faces(40, dimensions, seed=5), -vectors[:2]])
    found, cosines = index.search(probes, count)
    assert found.tolist() == plainly(vectors, ids, probes, count).tolist()
    place = {one: row for row, one in enumerate(ids.tolist())}
    rows = [[place[one] for one in each] for each in found.tolist()]
    assert cosines == pytest.approx(np.einsum("md,mkd->mk", probes, vectors[rows]), abs=1e-6)
    assert (np.diff(cosines) <= 0).all()


def test_few_vectors_are_compared_by_floats_with_the_same_answer() -> None:
    vectors = faces(300)
    index = FaceIndex()
    index.add(np.arange(300), vectors)
    probes = faces(50, seed=3)
    assert index.search(probes, 4)[0].tolist() == plainly(vectors, np.arange(300), probes, 4).tolist()


@pytest.mark.usefixtures("coarse_at_once")
def test_equal_vectors_come_in_the_order_of_their_ids() -> None:
    vectors = np.concatenate([faces(500), np.repeat(faces(1, seed=8), 200, axis=0)])
    ids = np.arange(len(vectors))[::-1].copy()
    index = FaceIndex()
    index.add(ids, vectors)
    found, cosines = index.search(vectors[-1:], 10)
    assert found[0].tolist() == list(range(10))
    assert cosines[0] == pytest.approx(1)


@pytest.mark.usefixtures("coarse_at_once")
def test_vectors_unlike_those_learnt_from_are_found() -> None:
    """They are longer outside of the kept dimensions and beyond the largest coarse value."""
    index = FaceIndex()
    known = faces(3000, 32)
    index.add(np.arange(3000), known)
    index.search(known[:1], 1)  # learns
    strange = np.concatenate([faces(500, 512, seed=4), np.eye(SIZE, dtype=np.float32)[:300]])
    index.add(np.arange(3000, 3800), strange)
    both = np.concatenate([known, strange])
    probes = np.concatenate([strange[::50], known[::300]])
    assert index.search(probes, 5)[0].tolist() == plainly(both, np.arange(3800), probes, 5).tolist()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_after_any_additions_and_removals_the_answer_is_that_of_what_is_left(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(face_index, "COARSE_FROM", 50)
        patched.setattr(face_index, "BLOCK", GROUP)
        everything = faces(1200, data.draw(st.sampled_from([40, 512])), seed=data.draw(st.integers(0, 3)))
        index, present = FaceIndex(), set[int]()
        for _ in range(data.draw(st.integers(1, 6))):
            absent = sorted(set(range(1200)) - present)
            added = data.draw(st.integers(0, min(300, len(absent))))
            index.add(np.array(absent[:added], np.int64), everything[absent[:added]])
            present |= set(absent[:added])
            gone = data.draw(st.sets(st.integers(0, 1199), max_size=200))
            assert index.remove(np.array(sorted(gone), np.int64)) == len(gone & present)
            present -= gone
            ids = np.array(sorted(present), np.int64)
            assert len(index) == len(ids)
            found, _ = index.search(everything[:40], 3)
            assert found.tolist() == plainly(everything[ids], ids, everything[:40], 3).tolist()


@pytest.mark.usefixtures("coarse_at_once")
def test_a_large_gallery_names_those_that_a_small_one_names(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(2)
    vectors = faces(3000)
    people = {
        f"p{number:04d}": [
            EmbeddedReference("", "", vectors[row], float(dice.uniform()))
            for row in range(5 * number, 5 * number + int(dice.integers(1, 6)))
        ]
        for number in range(600)
    }
    plain = Gallery(people, "m")
    monkeypatch.setattr(gallery, "COARSE_FROM", 1)
    large = Gallery(people, "m")
    for probe in [*units(vectors[::100] + 0.03), *faces(20, seed=9)]:
        found, expected = large.search(probe, 4), plain.search(probe, 4)
        assert [one.person for one in found] == [one.person for one in expected]
        assert [one.similarity for one in found] == pytest.approx([one.similarity for one in expected], abs=1e-6)


def test_vectors_of_several_blocks_are_removed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_index, "BLOCK", GROUP)
    vectors = faces(3 * GROUP)
    index = FaceIndex()
    index.add(np.arange(3 * GROUP), vectors)
    gone = np.array([0, 1, GROUP + 5, 3 * GROUP - 2, 3 * GROUP - 1])
    assert index.remove(gone) == len(gone)
    kept = np.setdiff1d(np.arange(3 * GROUP), gone)
    assert len(index) == len(kept)
    assert index.search(vectors[:20], 3)[0].tolist() == plainly(vectors[kept], kept, vectors[:20], 3).tolist()


def test_a_removed_vector_is_wiped() -> None:
    index = FaceIndex()
    vectors = faces(10)
    index.add(np.arange(10), vectors)
    index.remove(np.array([3, 9]))
    left = np.concatenate([block.vectors for block in index._blocks])
    assert np.count_nonzero(left.any(axis=1)) == 8
    assert not (left == vectors[3]).all(axis=1).any()


def test_an_empty_index_finds_nothing() -> None:
    ids, cosines = FaceIndex().search(faces(3), 5)
    assert ids.shape == cosines.shape == (3, 0)


@pytest.mark.parametrize("wrong", [np.ones((1, SIZE), np.float32), np.full((1, SIZE), np.nan, np.float32)])
def test_what_is_no_unit_vector_is_refused(wrong: Floats) -> None:
    with pytest.raises(ValueError, match="length 1"):
        FaceIndex().add(np.array([1]), wrong)


def test_an_id_may_be_used_once() -> None:
    index = FaceIndex()
    index.add(np.array([1]), faces(1))
    with pytest.raises(ValueError, match="twice"):
        index.add(np.array([2, 1]), faces(2))
    assert len(index) == 1


@pytest.mark.parametrize("dimensions", [30, 100, 512])
def test_the_rotation_keeps_the_length_in_few_dimensions(dimensions: int) -> None:
    vectors = faces(2000, dimensions)
    rotation = rotation_of(vectors)
    assert rotation.shape == (SIZE, -(-dimensions // 32) * 32)
    assert rotation.T @ rotation == pytest.approx(np.eye(rotation.shape[1]), abs=1e-5)
    assert np.linalg.norm(vectors @ rotation, axis=1) == pytest.approx(1, abs=1e-3)


def test_products_of_integers_are_exact_at_their_limits() -> None:
    onnx.checker.check_model(onnx.load_from_string(model()))
    dice = np.random.default_rng(0)
    rows = dice.choice(np.array([0, 1, ZERO, 255], np.uint8), (2 * GROUP, SIZE))
    queries = dice.choice(np.array([-LIMIT, LIMIT], np.int8), (SIZE, 5))
    products, maxima = Int8Product()(rows, queries)
    expected = (rows.astype(np.int64) - ZERO) @ queries.astype(np.int64)
    assert (products == expected).all()
    assert (maxima == expected.reshape(2, GROUP, 5).max(axis=1)).all()
