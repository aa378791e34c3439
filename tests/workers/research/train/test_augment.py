"""How training images are changed."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from workers.research.data.face_set import Bytes, fitted
from workers.research.train.augment import PUBLISHED, RAND_AUGMENT, augmentation, seeding

# as the published code calls it, colour jitter included
AS_PUBLISHED: dict[str, Any] = {**PUBLISHED, "color_jitter": 0.4}


def face(seed: int = 0, side: int = 112) -> Bytes:
    """Soft blobs, which operations change more than noise."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return np.array(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def seeded(key: Sequence[int]) -> None:
    """Seed the global generators as `seeding` does."""
    seeds = np.random.SeedSequence(list(key)).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    torch.manual_seed(int(seeds[2]))


def test_the_published_augmentation_is_that_of_timm() -> None:
    theirs, ours = create_transform(**AS_PUBLISHED), augmentation("published")
    for operation in theirs.transforms[RAND_AUGMENT].ops:
        if operation.name == "PosterizeIncreasing":
            operation.prob = 0.0  # differs on purpose
    ours_operations = ours._transform.transforms[RAND_AUGMENT].ops  # type: ignore[attr-defined]
    (posterize,) = (one for one in ours_operations if one.name == "PosterizeIncreasing")
    posterize.prob = 0.0
    changed = 0
    for number in range(60):
        image = face(number)
        found = ours(image, [number])
        with seeding([number]):
            expected = theirs(Image.fromarray(image))
        torch.testing.assert_close(found / 127.5 - 1, expected.permute(1, 2, 0), rtol=0, atol=1e-6)
        changed += bool((found - torch.from_numpy(image)).abs().max() > 2)
    assert changed > 50


def test_a_image_is_posterized_to_one_bit_at_least() -> None:
    (ours,) = (
        one
        for one in augmentation("published")._transform.transforms[RAND_AUGMENT].ops  # type: ignore[attr-defined]
        if one.name == "PosterizeIncreasing"
    )
    (theirs,) = (
        one for one in create_transform(**PUBLISHED).transforms[RAND_AUGMENT].ops if one.name == "PosterizeIncreasing"
    )
    for level in (0, 2, 5, 7.4, 9, 10):
        assert ours.level_fn(level, None) == (max(1, theirs.level_fn(level, None)[0]),)
    assert theirs.level_fn(10, None) == (0,)


def test_colour_jitter_was_never_done() -> None:
    names = [type(one).__name__ for one in create_transform(**AS_PUBLISHED).transforms]
    assert names == [type(one).__name__ for one in create_transform(**PUBLISHED).transforms]
    assert "ColorJitter" not in names


def test_a_flip_mirrors_about_half() -> None:
    flip, image = augmentation("flip"), face()
    mirrored = 0
    for number in range(200):
        found = flip(image, [number]).numpy()
        if np.array_equal(found, image[:, ::-1]):
            mirrored += 1
        else:
            assert np.array_equal(found, image)
    assert 70 < mirrored < 130


@pytest.mark.parametrize("kind", ["published", "flip", "none"])
def test_every_image_comes_as_the_network_takes_it(kind: Any) -> None:
    found = augmentation(kind)(face(side=48), [1])
    assert found.shape == (112, 112, 3)
    assert found.dtype == (torch.float32 if kind == "published" else torch.uint8)
    assert 60 < float(found.float().mean()) < 195


def test_without_augmentation_an_image_stays_as_it_is() -> None:
    image = face()
    assert np.array_equal(augmentation("none")(image, [1]).numpy(), image)


def test_what_is_drawn_for_an_image_leaves_the_other_generators_alone() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    seeded([9])
    expected = drawn()
    seeded([9])
    with seeding([1, 2]):
        inside = drawn()
    assert drawn() == expected
    with seeding([1, 2]):
        assert drawn() == inside
    with seeding([1, 3]):
        assert drawn() != inside
    seeded([9])
    with pytest.raises(ZeroDivisionError), seeding([1]):
        _ = 1 // int(drawn()[0])
    assert drawn() == expected


def test_a_camera_gives_faces_that_depend_on_the_seed_alone() -> None:
    image, by_camera = face(1, side=48), augmentation("camera")
    found = [[by_camera(image, [seed, number]) for number in range(40)] for seed in (1, 2, 1)]
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[2], strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(found[0], found[1], strict=True))
    assert {(one.shape, one.dtype) for one in found[0]} == {(torch.Size((112, 112, 3)), torch.uint8)}
    plain = torch.from_numpy(fitted(image)).float()
    changed = [min((one.float() - way).abs().mean().item() for way in (plain, plain.flip(1))) for one in found[0]]
    assert min(changed) == 0  # some are left as they are, but for the mirror
    assert np.median(changed) > 3
