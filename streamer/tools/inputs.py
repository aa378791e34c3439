"""What `streamer analyze` reads: files, folders, patterns, standard input, and addresses and lists where allowed."""

import contextlib
import glob
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.names import printable
from streamer.kinds import local_path, redact, refuse_address, split_scheme
from streamer.recorded.filenames import ANNOTATED, TRACKS
from streamer.source.fetch import copy_address, copy_input, copy_list
from streamer.source.images import VIDEOS, find_files
from streamer.source.lists import name_of_list

STDIN = "-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Input:
    """One video to analyse."""

    name: str  # for messages; addresses are without user, password and query
    place: str  # path or address; `-`: standard input
    kind: Literal["file", "address", "stdin", "list"]
    folder: Path  # for its results


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    place: str
    kind: Literal["file", "address", "stdin", "list"]
    relative: Path  # its file name, below the folder that was searched
    searched: bool = False


def find_inputs(texts: Sequence[str], out: Path, allow_url: bool = False, allow_lists: bool = False) -> list[Input]:
    """Return the videos that the arguments mean, each with the folder for its results.

    Folders are searched for videos at any depth, and patterns such as `clips/*.mp4` are expanded. One video has its
    results in `out`; several, or those of folders and patterns, each have a folder in it. Raises ConfigError,
    InputError.
    """
    if texts.count(STDIN) > 1:
        raise ConfigError("standard input (-) can be analysed once only")
    found = _once([one for text in texts for one in _find(text, allow_url, allow_lists)])
    if len(found) == 1 and not found[0].searched:
        return [Input(found[0].name, found[0].place, found[0].kind, out)]
    return [
        Input(one.name, one.place, one.kind, out / folder) for one, folder in zip(found, _folders(found), strict=True)
    ]


def fetch(one: Input, spool: Path, stopped: Callable[[], bool]) -> Path:
    """Return the path of an input, which is a copy in the folder `spool` unless it is a file. Raises InputError."""
    if one.kind == "file":
        return Path(one.place)
    spool.mkdir(parents=True)
    copy = spool / _file_name(one.place)
    if one.kind != "stdin":
        log.info("fetching %s", one.name)
    if one.kind == "stdin":
        copy_input(sys.stdin.buffer, copy, stopped)
    elif one.kind == "address":
        copy_address(one.place, copy, stopped)
    else:
        copy_list(Path(one.place), copy, stopped)
    return copy


def _find(text: str, allow_url: bool, allow_lists: bool) -> list[_Found]:
    if text == STDIN:
        if sys.stdin.isatty():
            raise ConfigError("standard input is a terminal; send a video: cat clip.mp4 | streamer analyze - --out DIR")
        return [_Found("standard input", STDIN, "stdin", Path(_file_name(STDIN)))]
    scheme = split_scheme(text)[0].lower()
    if scheme in ("", "file", "rtsp", "rtsps"):
        refuse_address(text)
    elif not allow_url:
        raise ConfigError(f"{redact(text)} is an address; add --allow-url to fetch it")
    path = local_path(text)
    if path is None:
        return [_Found(redact(text), text, "address", Path(_file_name(text)))]
    if path.is_dir():
        return _search(path, path)
    if glob.escape(text) != text and not path.exists():
        return _expand(text)
    return [_Found(str(path), str(path), _kind(path, allow_lists), Path(path.name))]


def _once(found: Sequence[_Found]) -> list[_Found]:
    """Return each file once, where several arguments mean it."""
    files: dict[tuple[int, int] | int, _Found] = {}
    for number, one in enumerate(found):
        files.setdefault(_identity(one) or number, one)
    if len(files) < len(found):
        log.info("files named more than once are analysed once: %d", len(found) - len(files))
    return list(files.values())


def _identity(one: _Found) -> tuple[int, int] | None:
    if one.kind not in ("file", "list"):
        return None
    with contextlib.suppress(OSError, ValueError):  # reading it reports the error
        status = Path(one.place).stat()
        return status.st_dev, status.st_ino
    return None


def _is_result(path: Path) -> bool:
    """Return whether a video is the annotated one of an analysis in the same folder."""
    names = TRACKS, f"{TRACKS}.partial"
    return path.name.startswith(ANNOTATED) and any((path.parent / name).is_file() for name in names)


def _search(folder: Path, base: Path) -> list[_Found]:
    """Find the videos in and below a folder. Their results go into folders named relative to `base`."""
    videos = [path for path in find_files([folder]) if path.suffix.lower() in VIDEOS and path.is_file()]
    results = [path for path in videos if _is_result(path)]
    if results:
        log.info("%s: annotated videos of earlier analyses, skipped: %d", folder, len(results))
        videos = [path for path in videos if path not in results]
    if not videos:
        raise InputError(f"{folder}: no video in this folder")
    return [_Found(str(path), str(path), "file", path.relative_to(base), searched=True) for path in videos]


def _expand(pattern: str) -> list[_Found]:
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.escape(part) != part)
    base = Path(*parts[:fixed])
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207  # it may be absolute
    files = {path for path in paths if path.is_file()}
    found = [_Found(str(path), str(path), "file", path.relative_to(base), searched=True) for path in sorted(files)]
    for folder in paths:
        if folder.is_dir() and not any(other in folder.parents for other in paths):
            found += [one for one in _search(folder, base) if Path(one.place) not in files]
    if not found:
        raise InputError(f"{pattern}: no file matches this pattern")
    return found


def _kind(path: Path, allow_lists: bool) -> Literal["file", "list"]:
    try:
        return "list" if allow_lists and path.is_file() and name_of_list(path) else "file"
    except OSError:  # reading it reports the error
        return "file"


def _file_name(place: str) -> str:
    """Return the file name of an address or a path; results are named after it."""
    if place == STDIN:
        return "stdin"
    if not split_scheme(place)[0]:
        return Path(place).name
    name = PurePosixPath(unquote(split_scheme(redact(place))[1])).name
    return name.replace("\0", "_") or "video"


def _folders(found: Sequence[_Found]) -> list[Path]:
    """Return a folder for each video: its name without the suffix, or with it where that would not be unique.

    Files of one name in different folders have their results in these folders.
    """
    whole = [one.relative for one in found]
    below = _below_common(found)
    for folders in (*_named(whole), *_named(below)):
        if len(set(folders)) == len(folders):
            return folders
    whole = below
    twice = next(folder for folder in whole if whole.count(folder) > 1)
    raise ConfigError(
        f"several videos have the same name, {printable(str(twice))}, and would overwrite each other: "
        "analyse each with an --out of its own"
    )


def _named(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    return [path.with_suffix("") for path in paths], list(paths)


def _below_common(found: Sequence[_Found]) -> list[Path]:
    """Return the path of each file below the folder that all are in; others keep their names."""
    absolute = [Path(one.place).absolute() if one.kind in ("file", "list") else None for one in found]
    parents = [str(path.parent) for path in absolute if path is not None]
    common = os.path.commonpath(parents) if parents else ""
    return [
        one.relative if path is None else path.relative_to(common) for one, path in zip(found, absolute, strict=True)
    ]
