"""JPEG: whole images give the pixels that OpenCV gives, damaged ones are refused, and harmless oddities are not."""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from streamer.source.jpeg import JpegError, decode_jpeg, read_header
from streamer.values import Bytes

WIDTH, HEIGHT = 400, 300
KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "fine": {"quality": 97, "subsampling": "4:4:4"}, "coarse": {"quality": 30},
    "optimised": {"optimize": True}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1},
    "halved": {"subsampling": "4:2:2"},
}  # fmt: skip


def photo() -> Image.Image:
    """Like a photograph: soft shapes and some grain."""
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image | None = None, **options: Any) -> bytes:
    file = BytesIO()
    (image or photo()).save(file, "JPEG", **options)
    return file.getvalue()


def decode(data: bytes) -> Bytes:
    return decode_jpeg(data, read_header(data))


def by_opencv(data: bytes) -> Bytes:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags), np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_whole_images_have_the_pixels_that_opencv_gives(kind: str, mode: str) -> None:
    data = encoded(photo().convert(mode), **KINDS[kind])
    np.testing.assert_array_equal(decode(data), by_opencv(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("begin", "end"), [(0.5, 1.0), (0.25, 0.5), (0.1, 0.2), (0.8, 1.0)])
@pytest.mark.parametrize("ends", [True, False], ids=["with its end", "to the end"])
def test_zeros_in_the_compressed_data_are_refused(kind: str, begin: float, end: float, ends: bool) -> None:
    data = encoded(**KINDS[kind])
    start = read_header(data).end
    length = len(data) - 2 - start
    broken = bytearray(data)
    broken[start + int(begin * length) : start + int(end * length)] = bytes(int(end * length) - int(begin * length))
    if not ends:
        broken[-2:] = b"\0\0"
    with pytest.raises(JpegError, match=r"damaged|cut off"):
        decode(bytes(broken))


@pytest.mark.parametrize("kind", ["plain", "fine", "coarse", "restarts", "halved"])
def test_a_hole_of_a_few_hundred_bytes_is_found_where_the_decoder_goes_on(kind: str) -> None:
    data = encoded(**KINDS[kind])
    middle = (read_header(data).end + len(data)) // 2
    with pytest.raises(JpegError, match="damaged"):
        decode(data[:middle] + bytes(300) + data[middle + 300 :])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_a_cut_off_image_is_refused_also_with_an_end_put_behind(kind: str, share: float) -> None:
    data = encoded(**KINDS[kind])
    cut = data[: int(share * len(data))]
    for broken in (cut, *([cut + b"\xff\xd9"] if 0.1 < share < 0.9 else [])):
        with pytest.raises(JpegError, match=r"damaged|cut off"):
            decode(broken)


@pytest.mark.parametrize("optimize", [False, True])
def test_flat_images_are_no_holes(optimize: bool) -> None:
    for image in (Image.new("RGB", (2000, 2000)), Image.new("L", (2000, 2000), 128)):
        assert decode(encoded(image, optimize=optimize)).shape == (2000, 2000, 3)


def test_what_is_behind_the_image_does_no_harm() -> None:
    data = encoded()
    for behind in (bytes(4096), data[:1000], b"MotionPhoto" + bytes(500)):
        np.testing.assert_array_equal(decode(data + behind), decode(data))


def test_oddities_of_whole_images_are_accepted() -> None:
    """Stray bytes before the end and in the header, filling, and a scan that gives no range, as cameras write them."""
    data = encoded()
    scan = data.index(b"\xff\xda")
    no_range = bytearray(data)
    no_range[read_header(data).end - 2] = 0  # the end of the range
    for odd in (
        data[:-2] + bytes(4) + data[-2:],
        data[:-2] + bytes(15) + data[-2:],
        data[:-2] + b"\xff" * 8 + data[-2:],
        data[:scan] + b"\xff\xff" + data[scan:],
        bytes(no_range),
    ):
        np.testing.assert_array_equal(decode(odd), decode(data))


def unusually_sampled() -> bytes:
    """16x16, grey, whose second component has other factors than the third: seven blocks, of a grey image's scan."""
    grey = encoded(Image.new("L", (56, 8), 128))
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    size = b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03" + b"\x01\x22\x00" + b"\x02\x21\x00" + b"\x03\x11\x00"
    begin = b"\xff\xda\x00\x0c\x03" + b"\x01\x00" + b"\x02\x00" + b"\x03\x00" + b"\x00\x3f\x00"
    return grey[:frame] + size + grey[frame + 13 : scan] + begin + grey[scan + 10 :]


def test_colours_sampled_in_an_unusual_way_are_read_as_opencv_does() -> None:
    data = unusually_sampled()
    np.testing.assert_array_equal(decode(data), by_opencv(data))
    np.testing.assert_array_equal(decode(data), np.full((16, 16, 3), 128))
    with pytest.raises(JpegError, match=r"damaged|cut off"):
        decode(data[:-2])


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\xff\xd8\xff\xe0 no image", b"\xff\xd8\xff\xd9", b"\xff\xd8" * 50])
def test_what_only_begins_like_a_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(JpegError, match="before its compressed data"):
        read_header(data)


@pytest.mark.shared
def test_no_real_image_is_refused(shared: Path) -> None:
    from pyarrow import parquet

    folder = shared / "data" / "train"
    images = [path.read_bytes() for path in sorted((folder / "crowds").glob("*.jpg"))]
    for name in ("utkface_aligned", "lfw_grey_aligned", "fer2013", "congress_portraits"):
        column = parquet.ParquetFile(folder / f"{name}.parquet").read(columns=["image"]).column("image")
        images += [column[row].as_py() for row in range(0, len(column), 50)]
    jpegs = [data for data in images if data.startswith(b"\xff\xd8")]
    assert len(jpegs) > 1000
    for data in jpegs:
        np.testing.assert_array_equal(decode(data), by_opencv(data))
