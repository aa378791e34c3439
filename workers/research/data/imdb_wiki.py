"""Read IMDB-WIKI from its MATLAB files.

Layout: https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/: a struct `imdb` or `wiki` of arrays with one column per
image: dob (birth, MATLAB serial date), photo_taken (year), full_path, gender (0 female, 1 male, nan), face_score
(-inf without a face), second_face_score (nan without a second face), and in imdb celeb_id.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from faceanalytics.errors import InputError
from workers.research.data.assemble import Face, assemble
from workers.research.data.face_set import UNKNOWN, FaceSet, Integers
from workers.research.data.label_names import report_left_out
from workers.research.data.options import Kind, SetOptions

UNIX_EPOCH = 719_529  # MATLAB's serial date of 1970-01-01, which counts from day 1 = 0000-01-01


class ImdbWiki(SetOptions):
    """IMDB-WIKI; `path` is imdb.mat or wiki.mat, with the images in the same folder or in `images`."""

    format: Literal["imdb_wiki"]
    min_face_score: float = 1.0
    """Smallest face_score of the set's detector; images below are left out. -.inf keeps all, also those without a
    face, which score -inf."""
    single_face: bool = True
    """Leave out images in which a second face was detected, as it is not certain whose age is given."""
    ages: Annotated[tuple[float, float], Field()] | None = None
    """Youngest and oldest age in years; others are left out. Default: all stay, and `data check` lists impossible
    ages."""


def open_imdb_wiki(name: str, config: ImdbWiki) -> FaceSet:
    """Open the set with ages by `age_at`, and log how many images each option left out. imdb also has identities."""
    columns = _read(config.path)
    score, second = columns["face_score"], columns["second_face_score"]
    age = age_at(columns["dob"], columns["photo_taken"])
    weak = ~(score >= config.min_face_score)
    several = ~weak & ~np.isnan(second) if config.single_face else np.zeros(len(age), bool)
    outside = np.zeros(len(age), bool)
    if config.ages is not None:
        outside = ~weak & ~several & ((age < config.ages[0]) | (age > config.ages[1]))
    reasons = {
        f"with a face score below {config.min_face_score:g}": int(weak.sum()),
        "with a second face": int(several.sum()),
        "with an age outside `ages`": int(outside.sum()),
    }
    report_left_out(name, reasons, len(age))
    gender = np.where(np.isnan(columns["gender"]), UNKNOWN, columns["gender"]).astype(np.int64)
    people = columns.get("celeb_id")
    faces = [
        Face(
            str(columns["full_path"][row]),
            identity=None if people is None else f"{int(people[row]):05d}",
            age=float(age[row]),
            gender=int(gender[row]),
        )
        for row in np.flatnonzero(~(weak | several | outside))
    ]
    kinds: list[Kind] = ["age", "gender"] if people is None else ["identity", "age", "gender"]
    return assemble(name, config, config.path.parent, faces, kinds)


def age_at(born: NDArray[Any], year: NDArray[Any]) -> Integers:
    """Return the age in whole years on 1 July of the year of the photo.

    This is the set's own datevec(datenum(photo_taken, 7, 1) - dob), by the calendar instead of mean years.
    """
    days = np.floor(born).astype(np.int64) - UNIX_EPOCH
    date = days.astype("datetime64[D]")
    birth_year = date.astype("datetime64[Y]")
    since_july = (date - (birth_year.astype("datetime64[M]") + 6).astype("datetime64[D]")).astype(np.int64)
    return np.asarray(year.astype(np.int64) - (birth_year.astype(np.int64) + 1970) - (since_july > 0), np.int64)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns that are used, (n,) each."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(str(path.resolve(strict=True)), appendmat=False, squeeze_me=True, struct_as_record=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (MatReadError, NotImplementedError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a MATLAB file of version 5: {error}") from error
    struct = next((found[key] for key in ("imdb", "wiki") if key in found), None)
    if struct is None or struct.dtype.names is None:
        raise InputError(f"{path}: has neither a struct `imdb` nor `wiki`")
    needed = ("dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score")
    if missing := [column for column in needed if column not in struct.dtype.names]:
        raise InputError(f"{path}: the struct has no field {', '.join(missing)}")
    names = (*needed, *({"celeb_id"} & set(struct.dtype.names)))
    columns = {column: np.atleast_1d(struct[column].item()) for column in names}
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"{path}: the fields differ in length: {lengths}")
    return {
        column: values if column == "full_path" else values.astype(np.float64) for column, values in columns.items()
    }
