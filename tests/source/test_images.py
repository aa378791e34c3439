"""Every command that reads image files sees the same pixels in them, or refuses them with the same words."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.images import to_bgr
from streamer.evaluate.detector import _read
from streamer.evaluate.labels import LabelledImage
from streamer.evaluate.score import Truth
from streamer.identity import references
from streamer.source.images import IMAGES, decode_image, find_files, read_image, read_images
from streamer.values import Bytes
from workers import infer
from workers.research.data import images
from workers.research.detector import library
from workers.research.detector.config import Source
from workers.research.detector.labels import Labelled, encoded_images

SIDE = 112  # px, so that `swinface infer` need not resize it
REFUSED = (InputError, ConfigError, references.Unusable)


def labelled(path: Path) -> Bytes:
    """The image as the training of the detector reads it."""
    [(where, encoded)] = encoded_images(Source(path=path))
    decode_image(encoded, where)  # to label it
    none = np.zeros((0, 4), np.float32)
    return Labelled(encoded, none, np.zeros((0, 5, 2), np.float32), none).decoded()


def labelled_for_evaluation(path: Path) -> Bytes:
    """The image as `streamer evaluate-detector` reads it."""
    truth = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.bool_), np.zeros((0, 5, 2), np.float32))
    [(_, pixels)] = _read([LabelledImage(path, None, None, truth)])
    return pixels


READERS: dict[str, Callable[[Path], Bytes]] = {  # BGR
    "streamer detect": lambda path: next(pixels for _, pixels in read_images(path)),
    "streamer evaluate-detector": labelled_for_evaluation,
    "Python API": lambda path: to_bgr(path, "BGR"),
    "gallery": references._read,
    "swinface infer": lambda path: infer.read_face(path)[:, :, ::-1],
    "swinface data": lambda path: images.read(path)[:, :, ::-1],
    "records of sets": lambda path: images.decode(path.read_bytes(), str(path))[:, :, ::-1],
    "train-detector: sources": labelled,
    "train-detector: backgrounds": lambda path: library._backgrounds([path])[0],
}


def painted() -> Bytes:
    """BGR (112, 112, 3) that differs in its four corners."""
    image = np.full((SIDE, SIDE, 3), (40, 90, 200), np.uint8)
    image[: SIDE // 2, : SIDE // 2] = (220, 60, 30)
    image[SIDE // 2 :, SIDE // 2 :] = (70, 200, 70)
    return image


def write(path: Path, pixels: np.ndarray) -> None:
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if path.suffix == ".webp" else []  # above 100: without loss
    assert cv2.imwrite(str(path), pixels, options)


def write_turned(path: Path, pixels: Bytes) -> None:
    """As a phone does that is held upright: the rows lie, and EXIF says how to turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.rot90(pixels[:, :, ::-1], 1)
    Image.fromarray(np.ascontiguousarray(lying)).save(path, quality=95, subsampling=0, exif=exif)


def grey() -> Bytes:
    return np.arange(SIDE * SIDE, dtype=np.uint32).astype(np.uint8).reshape(SIDE, SIDE)


def half() -> Bytes:
    """An alpha channel (112, 112): the left half is opaque, the right half transparent."""
    return np.repeat(np.arange(SIDE)[None] < SIDE // 2, SIDE, axis=0).astype(np.uint8) * 255


def on_grey() -> Bytes:
    image = painted()
    image[:, SIDE // 2 :] = 127
    return image


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("name", "written", "expected", "tolerance"),
    [
        ("turned.jpg", painted(), painted(), 25),
        ("grey.png", grey(), np.repeat(grey()[:, :, None], 3, axis=2), 0),
        ("transparent.png", np.dstack([painted(), half()]), on_grey(), 0),
        ("deep.png", painted().astype(np.uint16) * 257, painted(), 0),
        ("plain.bmp", painted(), painted(), 0),
        ("plain.tif", painted(), painted(), 0),
        ("plain.webp", painted(), painted(), 0),
        ("plain.avif", painted(), painted(), 25),
    ],
)
def test_every_command_sees_the_same_pixels(
    reader: str, name: str, written: np.ndarray, expected: Bytes, tolerance: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    (write_turned if name == "turned.jpg" else write)(path, written)
    pixels = READERS[reader](path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    off = np.abs(pixels.astype(int) - expected)
    assert np.percentile(off, 95) <= tolerance  # lossy formats blur the edges
    np.testing.assert_array_equal(pixels, READERS["streamer detect"](path))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the image is empty (0 bytes)"),
        (b"hello, I am text\n", "not an image, or of an unknown or damaged format (17 bytes)"),
        (3000, "the JPEG is cut off: its end marker is missing after 3000 bytes"),
        (-3000, "the JPEG is damaged: from byte 3000 its compressed data is filled with zeros"),
    ],
    ids=["empty", "text", "cut off", "filled with zeros"],
)
def test_every_command_refuses_the_same_files_with_the_same_words(
    reader: str, content: bytes | int, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.jpg"
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1].tobytes()
    if isinstance(content, int):  # the bytes that are left; below 0: the rest is zeros
        content = whole[: abs(content)] + (bytes(len(whole) + content) if content < 0 else b"")
    path.write_bytes(content)
    with pytest.raises(REFUSED) as refusal:
        READERS[reader](path)
    assert str(refusal.value).endswith(reason)
    if reader != "gallery":  # which puts the name before
        assert str(path) in str(refusal.value)


@pytest.mark.parametrize("reader", sorted(set(READERS) - {"records of sets", "train-detector: sources"}))
def test_a_file_that_is_not_there_is_named(reader: str, tmp_path: Path) -> None:
    with pytest.raises(REFUSED, match="No such file"):
        READERS[reader](tmp_path / "nowhere.jpg")


def test_folders_are_searched_for_the_same_kinds_of_images(tmp_path: Path) -> None:
    for suffix in IMAGES | {".txt"}:
        (tmp_path / f"a{suffix.upper()}").write_bytes(b"x")
    wanted = sorted(f"a{suffix.upper()}" for suffix in IMAGES)
    assert [path.name for path in find_files([tmp_path])] == wanted
    assert [path.name for path in infer.find_images([tmp_path])] == wanted
    assert list(images.find_files(tmp_path)) == wanted


def test_every_command_walks_a_folder_alike(tmp_path: Path) -> None:
    hidden = (".a/1.jpg", "__MACOSX/1.jpg", "@eaDir/1.jpg", "ada/.ipynb_checkpoints/1.jpg", "ada/._1.jpg", "Thumbs.db")
    for name in ("ada/2.png", "ada/1.jpg", "b.jpg/3.png", *hidden):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "any.png", painted())
        (tmp_path / "any.png").replace(tmp_path / name)
    (tmp_path / "ada" / "again").symlink_to(tmp_path)
    wanted = ["ada/1.jpg", "ada/2.png", "b.jpg/3.png"]
    for found in (
        find_files([tmp_path]),
        infer.find_images([tmp_path]),
        [tmp_path / name for name in images.find_files(tmp_path)],
        [Path(where) for where, _ in encoded_images(Source(path=tmp_path))],
    ):
        assert [path.relative_to(tmp_path).as_posix() for path in found] == wanted
    assert len(library._backgrounds([tmp_path])) == 3


def test_the_content_decides_where_the_suffix_does_not(tmp_path: Path) -> None:
    write(tmp_path / "plain.png", painted())
    renamed = (tmp_path / "plain.png").rename(tmp_path / "plain")
    [(time, pixels)] = read_images(renamed)
    assert time is None
    np.testing.assert_array_equal(pixels, painted())


@pytest.mark.parametrize("address", ["rtsp://user:secret@host/x", "https://user:secret@host/x.jpg?token=secret"])
@pytest.mark.parametrize("read", [read_image, lambda path: list(read_images(path))])
def test_an_address_is_refused_without_its_password(address: str, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"//?[*]{3}@host/x.*: this is an address") as caught:
        read(Path(address))
    assert "secret" not in str(caught.value)


def test_the_error_of_a_cut_off_gif_begins_with_its_path(tmp_path: Path) -> None:
    whole = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, "GIF")
    path = tmp_path / "face.gif"
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(InputError, match=re.escape(str(path))):
        list(read_images(path))


@pytest.mark.parametrize("name", ["face.ppm", "face.pgm", "face.j2k"])
def test_a_folder_is_searched_for_every_format_that_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(path)
    assert find_files([tmp_path]) == [path]
    assert read_image(path).shape == (8, 8, 3)
