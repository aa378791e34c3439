"""Every format of images becomes upright BGR pixels, or is refused with the reason."""

import contextlib
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from faceanalytics.errors import InputError
from streamer.source.decode_image import decode_image, is_still
from streamer.values import Bytes

pillow_heif.register_heif_opener()
WIDTH, HEIGHT = 80, 60
GREY = 127
EXACT: dict[str, dict[str, Any]] = {
    "PNG": {}, "BMP": {}, "TIFF": {}, "TIFF lzw": {"compression": "tiff_lzw"}, "WEBP": {"lossless": True},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"}, "JPEG2000": {}, "PPM": {},
}  # fmt: skip
LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 95},
    "HEIF": {"quality": 95},
    "MPO": {},
}
FORMATS = {**EXACT, **LOSSY}
TURNED = ("JPEG", "PNG", "WEBP", "TIFF", "TIFF lzw", "AVIF", "HEIF")  # formats that say how they are turned


def picture() -> Image.Image:
    """80x60 RGB, different in each corner, without sharp edges."""
    corners = np.array([[(200, 30, 60), (40, 200, 80)], [(60, 40, 210), (220, 210, 60)]], np.uint8)
    return Image.fromarray(cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).astype(np.uint8))


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, name.split()[0], **{**FORMATS.get(name, {}), **options})
    return file.getvalue()


def rgb(data: bytes) -> Bytes:
    pixels = decode_image(data, "it")
    assert pixels.flags.c_contiguous
    assert pixels.dtype == np.uint8
    return pixels[:, :, ::-1]


def off(data: bytes, expected: Any) -> float:
    """The mean difference from the expected RGB pixels."""
    found = rgb(data)
    assert found.shape == np.asarray(expected).shape
    return float(np.abs(found.astype(int) - np.asarray(expected, int)).mean())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_pixels(name: str) -> None:
    assert off(encoded(picture(), name), picture()) <= (0 if name in EXACT else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", TURNED)
def test_every_format_is_turned_as_it_says(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = ImageOps.exif_transpose(Image.open(BytesIO(encoded(picture(), "PNG", exif=exif))))
    image = picture()
    if name == "HEIF":  # its encoder writes irot and imir by the EXIF that the image has
        image.info["exif"] = exif.tobytes()
        data = encoded(image, name)
    else:
        data = encoded(image, name, exif=exif)
    assert off(data, upright) <= 3


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("PPM", "MPO")] + ["GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.97])
def test_what_was_cut_off_is_refused(name: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    data = encoded(noise, name)
    with pytest.raises(InputError, match=r"^it: .*(damaged|cut off)"):
        decode_image(data[: int(share * len(data))], "it")


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF"])
def test_what_is_transparent_is_not_seen(name: str) -> None:
    image = picture()
    alpha = np.repeat(np.arange(WIDTH)[None] < WIDTH // 2, HEIGHT, axis=0).astype(np.uint8) * 255
    image.putalpha(Image.fromarray(alpha))
    expected = np.array(picture())
    expected[:, WIDTH // 2 :] = GREY
    assert off(encoded(image, name), expected) <= (0 if name in EXACT else 3)


def test_half_transparent_pixels_are_mixed_with_grey() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 127, 128))
    np.testing.assert_allclose(rgb(encoded(image, "PNG"))[0, 0], (191, 63, 127), atol=1)


def test_transparency_of_palettes_of_grey_and_of_one_colour_counts() -> None:
    palette = picture().quantize(16)
    opaque = np.array(palette.convert("RGB"))
    clear = np.asarray(palette) == 3
    opaque[clear] = GREY
    assert clear.any()
    assert off(encoded(palette, "PNG", transparency=3), opaque) == 0
    assert off(encoded(palette, "GIF", transparency=3), opaque) == 0
    grey = picture().convert("L")
    grey.putalpha(Image.new("L", grey.size, 0))
    assert off(encoded(grey, "PNG"), np.full((HEIGHT, WIDTH, 3), GREY)) == 0
    flat = Image.new("RGB", (3, 3), (9, 8, 7))
    assert off(encoded(flat, "PNG", transparency=(9, 8, 7)), np.full((3, 3, 3), GREY)) == 0


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("L", "PNG TIFF BMP JPEG"),
        ("1", "PNG TIFF BMP"),
        ("P", "PNG TIFF BMP"),
        ("CMYK", "TIFF JPEG"),
        ("YCbCr", "TIFF JPEG"),
    ],
)
def test_every_kind_of_pixels_becomes_rgb(mode: str, names: str) -> None:
    image = picture().convert(mode)
    for name in names.split():
        assert off(encoded(image, name), image.convert("RGB")) <= (3 if name == "JPEG" else 0.5)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_sixteen_bits_the_upper_eight_stay(suffix: str, channels: int) -> None:
    pixels = np.array(picture())[:, :, ::-1]
    pixels[0, 0] = 255  # white stays white
    deep = pixels.astype(np.uint16) * 257
    expected = pixels[:, :, ::-1]
    if channels == 1:
        deep, expected = deep[:, :, 1], np.repeat(pixels[:, :, 1:2], 3, axis=2)
    elif channels == 4:
        deep = np.dstack([deep, np.full((HEIGHT, WIDTH), 65535, np.uint16)])
    assert off(cv2.imencode(suffix, deep)[1].tobytes(), expected) <= (0 if suffix != ".jp2" else 0.1)


def test_numbers_of_unknown_white_are_refused() -> None:
    for kind in (np.float32, np.int32):
        image = Image.fromarray(np.full((4, 4), 7, kind))
        with pytest.raises(InputError, match="it: its pixels are numbers of 32 bits"):
            decode_image(encoded(image, "TIFF"), "it")


def test_a_cmyk_jpeg_is_read_as_it_was_written() -> None:
    """Adobe's programs write 255 for no ink, and say so in a segment; without it 255 is full ink."""
    data = encoded(picture().convert("CMYK"), "JPEG", quality=95)
    assert off(data, picture()) <= 3
    place = data.index(b"\xff\xee")
    plain = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4]) :]
    inverted = Image.frombytes(
        "CMYK", (WIDTH, HEIGHT), bytes(255 - byte for byte in picture().convert("CMYK").tobytes())
    )
    assert off(plain, inverted.convert("RGB")) <= 3


def test_of_several_images_it_is_the_first() -> None:
    other = picture().rotate(180)
    for name in ("TIFF", "MPO", "WEBP", "PNG"):
        data = encoded(picture(), name, save_all=True, append_images=[other])
        assert off(data, picture()) <= 3
    photo = encoded(picture(), "MPO", save_all=True, append_images=[other])
    assert off(photo[:-300], picture()) <= 3, "the end of the second image is not needed"


def png(width: int, height: int) -> bytes:
    """A small file that claims to be large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_file_that_claims_to_be_huge_is_refused_before_it_fills_the_memory() -> None:
    jpeg = bytearray(encoded(picture(), "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\xff\xff\xff\xff"
    for data in (png(60_000, 60_000), png(17_000, 17_000), bytes(jpeg)):
        with pytest.raises(InputError, match="more than 250 megapixels: scale the image down"):
            decode_image(data, "it")
    with pytest.raises(InputError, match="damaged or cut off"):
        decode_image(png(3000, 3000), "it")


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "TIFF lzw", "BMP", "GIF", "JPEG2000", "AVIF", "HEIF", "JPEG"])
def test_damage_is_an_input_error_or_an_image_and_nothing_else(name: str) -> None:
    data = encoded(picture(), name)
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            broken[place] = rng.integers(0, 256)
        with contextlib.suppress(InputError):  # nothing else may come out, also no warning
            assert decode_image(bytes(broken[: rng.integers(1, len(data) + 1)]), "it").ndim == 3


def test_heic_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.source.decode_image.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"it: HEIC images need pillow-heif.*pip install 'faceanalytics\[images\]'"):
        decode_image(encoded(picture(), "HEIF"), "it")
    assert off(encoded(picture(), "AVIF"), picture()) <= 3


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_is_known_by_its_first_bytes(name: str) -> None:
    assert is_still(encoded(picture(), name)[:256])


def test_videos_and_texts_are_not_images() -> None:
    starts = [encoded(picture(), "GIF"), b"hello", b"", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"]
    assert not any(map(is_still, starts))


@pytest.mark.shared
def test_real_files_of_users(shared: Path) -> None:
    folder = shared / "data" / "faults" / "images"
    sizes = {"33-exif3.avif": (900, 720, 3), "36-exif6.tif": (450, 360, 3), "right-person-erased.png": (528, 900, 3)}
    for name, size in sizes.items():
        assert decode_image((folder / name).read_bytes(), name).shape == size
    erased = decode_image((folder / "right-person-erased.png").read_bytes(), "it")
    assert (erased[:, 600:] == GREY).all()
    for name in ("cut-off-20.jpg", "zero-filled-25.jpg"):
        with pytest.raises(InputError, match=name):
            decode_image((folder / name).read_bytes(), name)
