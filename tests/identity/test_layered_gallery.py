"""A gallery with changes beside it answers as one that is made of all people at once."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.identity import face_index, gallery
from streamer.identity.gallery import EmbeddedReference, Gallery
from streamer.identity.layered_gallery import LayeredGallery


def images(person: str, seed: int, count: int) -> list[EmbeddedReference]:
    dice = np.random.default_rng([seed, *person.encode()])
    near = dice.standard_normal(512)
    return [
        EmbeddedReference(person, f"{person}{at}", np.asarray(near + dice.standard_normal(512), np.float32), 0.5)
        for at in range(count)
    ]


PEOPLE = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 7), max_size=8)


@settings(max_examples=30, deadline=None)
@given(PEOPLE, PEOPLE, st.sets(st.sampled_from("ABCDEFGH")), st.integers(1, 5), st.booleans())
def test_it_answers_as_a_gallery_of_all_people(
    before: dict[str, int], new: dict[str, int], gone: set[str], count: int, indexed: bool
) -> None:
    least = 1 if indexed else 1_000_000
    old = {name: images(name, 1, number) for name, number in before.items()}
    changed = {name: images(name, 2, number) for name, number in new.items()}
    turned = np.eye(512, dtype=np.float32)
    with (
        patch.object(gallery, "COARSE_FROM", least),
        patch.object(face_index, "COARSE_FROM", least),
        patch.object(face_index, "rotation_of", return_value=turned),
    ):
        base = Gallery(old, "m")
        layered = LayeredGallery(base, (gone | {*new}) & {*before}, Gallery(changed, "m"))
        for name in gone & {*before}:
            base.wipe(name)
        left = {name: one for name, one in old.items() if name not in gone}
        whole = Gallery({**left, **changed}, "m")
        assert (len(layered), layered.names) == (len(whole), whole.names)
        assert layered.images.tolist() == whole.images.tolist()
        for seed in range(3):
            probe = np.random.default_rng(seed).standard_normal(512).astype(np.float32)
            probe /= np.linalg.norm(probe)
            mine, theirs = layered.search(probe, count, {"A"}), whole.search(probe, count, {"A"})
            assert [one.person for one in mine] == [one.person for one in theirs]
            assert [one.similarity for one in mine] == pytest.approx([one.similarity for one in theirs], abs=1e-6)
            assert layered.scores(probe[None]) == pytest.approx(whole.scores(probe[None]), abs=1e-6)
            for name in "ABC":
                one, other = layered.scores_of(name, probe[None]), whole.scores_of(name, probe[None])
                assert (one is None) == (other is None) == (name not in layered)
                assert one is None or one == pytest.approx(other, abs=1e-6)
