"""Read sets whose labels are in the names of their images: FG-NET, UTKFace, AgeDB and MORPH without its table."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Literal

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import FaceSet
from workers.research.data.images import find_files
from workers.research.data.label_names import GENDERS
from workers.research.data.options import Kind, SetOptions

FGNET = re.compile(r"(?P<person>\d{3})A(?P<age>\d{2})[a-z]?\.jpg", re.IGNORECASE)
UTKFACE = re.compile(r"(?P<age>\d+)_(?P<gender>\d+)_\d+_\d+\.jpg(\.chip\.jpg)?", re.IGNORECASE)
AGEDB = re.compile(r"\d+_(?P<person>.+)_(?P<age>\d+)_(?P<gender>[mf])\.jpg", re.IGNORECASE)
MORPH = re.compile(r"(?P<person>\d+)_\w+?(?P<gender>[MF])(?P<age>\d{2,3})\.jpg", re.IGNORECASE)


class FgNet(SetOptions):
    """FG-NET; `path` is the folder of images such as 001A02.JPG: person 001 at the age of 2.

    Layout: https://yanweifu.github.io/FG_NET_data/ (a letter after the age distinguishes images of the same age)
    """

    format: Literal["fgnet"]


class UtkFace(SetOptions):
    """UTKFace; `path` is a folder of images named age_gender_race_date.jpg, also .jpg.chip.jpg.

    Layout: https://susanqq.github.io/UTKFace/ (there 0 is male and 1 female, the reverse of ours)
    """

    format: Literal["utkface"]


class AgeDb(SetOptions):
    """AgeDB; `path` is the folder of images such as 0_MariaCallas_35_f.jpg: number, person, age, gender.

    Layout: https://ibug.doc.ic.ac.uk/resources/agedb/
    """

    format: Literal["agedb"]


def open_fgnet(name: str, config: FgNet) -> FaceSet:
    def face(image: str, match: re.Match[str]) -> Face:
        return Face(image, identity=match["person"], age=float(match["age"]))

    return open_named(name, config, FGNET, "001A02.JPG", face, ["identity", "age"])


def open_utkface(name: str, config: UtkFace) -> FaceSet:
    """Open the set. Raises InputError that lists the few images of the official archive whose names lack a field."""

    def face(image: str, match: re.Match[str]) -> Face:
        number = int(match["gender"])
        return Face(image, age=float(match["age"]), gender={0: 1, 1: 0}.get(number, number))

    return open_named(name, config, UTKFACE, "age_gender_race_date.jpg", face, ["age", "gender"])


def open_agedb(name: str, config: AgeDb) -> FaceSet:
    return open_named(name, config, AGEDB, "0_MariaCallas_35_f.jpg", face_of_person, ["identity", "age", "gender"])


def face_of_person(image: str, match: re.Match[str]) -> Face:
    """Return a face whose name has the person, the age and the gender as a letter."""
    gender = GENDERS[match["gender"].lower()]
    return Face(image, identity=match["person"], age=float(match["age"]), gender=gender)


def open_named(
    name: str,
    config: SetOptions,
    pattern: re.Pattern[str],
    example: str,
    face: Callable[[str, re.Match[str]], Face],
    kinds: list[Kind],
) -> FaceSet:
    """Open the images below `path`, labelled by their names. Raises InputError that lists all other names."""
    folder = config.images or config.path
    excluded = config.excluded()
    faces, wrong = [], []
    for image in find_files(folder):
        match = pattern.fullmatch(PurePosixPath(image).name)
        if match:
            faces.append(face(image, match))
        elif image in excluded:
            faces.append(Face(image))  # removed later with all excluded images
        else:
            wrong.append(image)
    if wrong:
        listed = "\n".join(f"  {image}" for image in wrong)
        raise InputError(
            f"{name}: {len(wrong)} images in {folder} are not named like {example}: rename them, or list them in "
            f"`exclude`\n{listed}"
        )
    return assemble(name, config, folder, faces, kinds)
