"""List all layouts of sets, and open a set with the reader of its layout."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, assert_never

from pydantic import Field, TypeAdapter, ValidationError

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml
from workers.research.data.adience import Adience, open_adience
from workers.research.data.affectnet import AffectNet, AffectNetFolders, open_affectnet, open_affectnet_folders
from workers.research.data.celeba import CelebA, open_celeba
from workers.research.data.face_set import FaceSet
from workers.research.data.fer2013 import Fer2013, open_fer2013
from workers.research.data.folders import ExpressionFolders, PeopleFolders, open_expressions, open_people
from workers.research.data.imdb_wiki import ImdbWiki, open_imdb_wiki
from workers.research.data.insightface import RecordSet, open_recordio
from workers.research.data.lap import Lap, open_lap
from workers.research.data.morph import Morph, open_morph
from workers.research.data.named import AgeDb, FgNet, UtkFace, open_agedb, open_fgnet, open_utkface
from workers.research.data.parquet import Parquet, open_parquet
from workers.research.data.published import Published, open_published
from workers.research.data.rafdb import RafDb, open_rafdb
from workers.research.data.selection import select
from workers.research.data.teacher import with_teacher

SetConfig = Annotated[
    Adience
    | AffectNet
    | AffectNetFolders
    | AgeDb
    | CelebA
    | ExpressionFolders
    | Fer2013
    | FgNet
    | ImdbWiki
    | Lap
    | Morph
    | Parquet
    | PeopleFolders
    | Published
    | RafDb
    | RecordSet
    | UtkFace,
    Field(discriminator="format"),
]
SET_CONFIG: TypeAdapter[SetConfig] = TypeAdapter(SetConfig)
NAME = re.compile(r"[A-Za-z0-9_-]+")


def open_set(name: str, config: SetConfig) -> FaceSet:
    """Open a set as configured. Raises InputError, ConfigError."""
    return with_teacher(select(_open(name, config), config), config.teacher)


def _open(name: str, config: SetConfig) -> FaceSet:
    match config:
        case Adience():
            return open_adience(name, config)
        case AffectNet():
            return open_affectnet(name, config)
        case AffectNetFolders():
            return open_affectnet_folders(name, config)
        case AgeDb():
            return open_agedb(name, config)
        case CelebA():
            return open_celeba(name, config)
        case ExpressionFolders():
            return open_expressions(name, config)
        case Fer2013():
            return open_fer2013(name, config)
        case FgNet():
            return open_fgnet(name, config)
        case ImdbWiki():
            return open_imdb_wiki(name, config)
        case Lap():
            return open_lap(name, config)
        case Morph():
            return open_morph(name, config)
        case Parquet():
            return open_parquet(name, config)
        case PeopleFolders():
            return open_people(name, config)
        case Published():
            return open_published(name, config)
        case RafDb():
            return open_rafdb(name, config)
        case RecordSet():
            return open_recordio(name, config)
        case UtkFace():
            return open_utkface(name, config)
        case _:
            assert_never(config)


def load_sets(path: Path) -> dict[str, SetConfig]:
    """Read the section `sets` of a YAML file, by name of the set; other sections are ignored. Raises ConfigError."""
    return parse_sets(read_yaml(path), path)


def parse_sets(settings: Mapping[str, Any], path: Path) -> dict[str, SetConfig]:
    """Read the section `sets` of settings, which are those of the YAML file `path`.

    Relative paths are resolved against the current directory, ~ and ${VARIABLE} are expanded. Raises ConfigError with
    the path of each wrong field.
    """
    sets = settings.get("sets")
    if not isinstance(sets, dict) or not sets:
        raise ConfigError(f"{path}: expected a section `sets:` with one section per set of faces")
    found: dict[str, SetConfig] = {}
    problems: list[str] = []
    for name, data in expand_environment(sets, str(path)).items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"  sets.{name}: the name of a set may only have letters, digits, _ and -")
            continue
        tag = str(data.get("format")) if isinstance(data, dict) else ""
        try:
            found[name] = SET_CONFIG.validate_python(data)
        except ValidationError as error:
            problems += explain(error, within=("sets", name), unnamed=(tag,), model=SetConfig)
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n" + "\n".join(problems))
    return found
