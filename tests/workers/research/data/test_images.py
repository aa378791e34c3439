"""Images of all sets: what is decoded, and what is refused."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.face_set import Bytes
from workers.research.data.images import Files, Names, decode, find_files, read


def noise(height: int = 40, width: int = 60) -> Bytes:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def encoded(suffix: str, image: NDArray[Any]) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def with_thumbnail_and_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with EXIF that turns it, and with a whole JPEG as thumbnail behind that."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    exif += encoded(".jpg", np.zeros((8, 8, 3), np.uint8))
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_images_are_rgb() -> None:
    image = noise()
    np.testing.assert_array_equal(decode(encoded(".png", image), "x"), image[:, :, ::-1])


def test_grey_opaque_and_deep_images_become_three_channels_of_eight_bits() -> None:
    for image in (
        np.full((5, 7), 77, np.uint8),
        np.full((5, 7, 4), (77, 77, 77, 255), np.uint8),
        np.full((5, 7), 77 * 257, np.uint16),
    ):
        np.testing.assert_array_equal(decode(encoded(".png", image), "x"), np.full((5, 7, 3), 77))


def test_a_image_is_turned_as_its_exif_says() -> None:
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 200  # left, which orientation 6 brings to the top
    turned = decode(with_thumbnail_and_orientation(encoded(".jpg", image), 6), "x")
    assert turned.shape == (32, 16, 3)
    assert turned[:12].min() > 150
    assert turned[20:].max() < 50


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_image_that_was_cut_off_is_refused(suffix: str, part: float) -> None:
    data = encoded(suffix, noise())
    with pytest.raises(InputError, match=r"^a\.rec: record 7"):
        decode(data[: int(part * len(data))], "a.rec: record 7")


def test_a_cut_off_jpeg_is_known_by_its_end_marker_even_with_a_thumbnail() -> None:
    data = with_thumbnail_and_orientation(encoded(".jpg", noise()), 1)
    assert decode(data, "x").shape == (40, 60, 3)
    for length in (len(data) - 1, len(data) - 2, len(data) // 2):
        with pytest.raises(InputError, match=f"x: the JPEG is cut off: its end marker is missing after {length} bytes"):
            decode(data[:length], "x")


def test_bytes_behind_a_jpeg_do_no_harm() -> None:
    data = encoded(".jpg", noise())
    np.testing.assert_array_equal(decode(data + b"\0" * 100, "x"), decode(data, "x"))


def test_a_png_whose_bytes_were_changed_is_refused() -> None:
    data = bytearray(encoded(".png", noise()))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(InputError, match="damaged"):
        decode(bytes(data), "x.png")


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"no image", "not an image")])
def test_what_is_no_image_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"a.jpg: .*{reason}"):
        read(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none/a\.jpg: No such file"):
        Files(tmp_path, ["none/a.jpg"]).read(0)


def test_a_name_without_suffix_is_that_of_a_jpg_file(tmp_path: Path) -> None:
    (tmp_path / "12.jpg").write_bytes(encoded(".jpg", noise()))
    files = Files(tmp_path, ["12"])
    assert files.name(0) == "12"
    assert files.read(0).shape == (40, 60, 3)


def test_names_are_a_sequence_of_any_letters() -> None:
    texts = ["a/b.jpg", "", "Ünïcode/日本.png", "z"]
    packed = Names(texts)
    assert list(packed) == texts
    assert (packed[-1], packed[1:3], len(packed)) == ("z", texts[1:3], 4)
    with pytest.raises(IndexError):
        packed[4]


def test_images_are_found_in_the_order_of_folders_and_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.JPG", "a.jpeg", "c.txt", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert list(find_files(tmp_path)) == ["a.jpeg", "b/10.JPG", "b/2.png"]
    with pytest.raises(InputError, match="none: No such file"):
        list(find_files(tmp_path / "none"))
