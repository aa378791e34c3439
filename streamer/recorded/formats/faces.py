"""Write the best picture of each person as a JPEG file."""

from collections.abc import Mapping
from pathlib import Path

import cv2

from faceanalytics.files import replacing, writing
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored
from streamer.values import Bytes

FACES = "faces"  # folder
QUALITY = 92  # of JPEG
LONGEST = 60  # characters of a name in the name of a file


def write_faces(results: Stored, pictures: Mapping[int, Bytes], folder: Path) -> list[Path]:
    """Write faces/person-001-NAME.jpg for each person into `folder` and return the paths. Raises ConfigError.

    `pictures`: of each person, by its number, (n, n, 3) BGR. Pictures of an earlier export are removed.
    """
    with writing(folder / FACES):
        (folder / FACES).mkdir(parents=True, exist_ok=True)
        for path in (folder / FACES).glob("person-*.jpg"):
            path.unlink()
    written = []
    for person in results.people:
        if person["number"] in pictures:
            path = folder / FACES / file_name(person)
            write_jpeg(path, pictures[person["number"]])
            written.append(path)
    return written


def file_name(person: Record) -> str:
    """Return person-001.jpg, or person-001-Anna_B.jpg: of a name, letters, digits and - stay, the rest becomes _."""
    name = "".join(one if one.isalnum() or one == "-" else "_" for one in person["name"] or "")[:LONGEST]
    return f"person-{person['number']:03}-{name}.jpg" if name else f"person-{person['number']:03}.jpg"


def write_jpeg(path: Path, pixels: Bytes) -> None:
    """Write a picture (h, w, 3) BGR. Raises ConfigError."""
    whole, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    assert whole  # it fails for wrong shapes only
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())
