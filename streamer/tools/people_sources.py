"""What references of people are made of: image files, videos, folders and zip archives, read one after the other.

Archives are read here, on the side of whoever has them: a streamer is sent images and videos only.
"""

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from faceanalytics.archives import ARCHIVES, SUFFIX, Packed, Unreadable, is_archive, packed_files
from faceanalytics.errors import InputError
from faceanalytics.folders import Skipped, folders_in
from faceanalytics.names import printable
from faceanalytics.v1.gallery_pb2 import AddReferencesRequest as Request
from streamer.source.images import IMAGES, VIDEOS, find_files

MOST_BYTES = 64 << 20  # of an image, and of any file in an archive
PART_BYTES = 1 << 20  # of a file, sent at once
FILES_PER_CALL = 200  # so that one answer is not waited for too long
PICTURES = IMAGES | VIDEOS


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `read` yields its content in parts; raises Unreadable and OSError."""

    name: str
    read: Callable[[], Iterable[bytes]]


@dataclass(slots=True)
class Left:
    """What was not sent, and why."""

    refused: list[tuple[str, str]]  # name and reason
    others: int = 0  # files that are neither images nor videos


def sources_of(paths: Sequence[Path], left: Left) -> Iterator[Source]:
    """Yield files, those of folders, and those of archives. Raises InputError for a folder or an archive."""
    for path in find_files(paths, PICTURES):
        if is_archive(path):
            yield from _of_archive(path, left)
        else:
            yield _of_file(path)


def people_of(path: Path, left: Left) -> Iterator[tuple[str, Iterator[Source]]]:
    """Yield the people of a folder with a folder per person, or of a zip archive of one, with their files.

    The files of a person must be taken before the next one. Raises InputError.
    """
    if path.is_dir():
        skipped = Skipped()
        folders = folders_in(path, skipped)
        if not folders:
            raise InputError(f"{printable(path)}: no sub-folders; it takes one for each person")
        for folder in folders:
            files = find_files([path / folder], PICTURES)
            yield printable(folder), (_of_file(one) for one in files if one.is_file())
        skipped.report()
        return
    if not is_archive(path):
        if not path.exists():
            raise InputError(f"{printable(path)}: no such file or folder")
        raise InputError(f"{printable(path)}: neither a folder nor a {SUFFIX} archive with a folder per person")
    inner = _depth(path)
    placed = ((_person(source, inner), source) for source in _of_archive(path, left))
    for person, group in itertools.groupby(placed, lambda each: each[0]):
        if person:
            yield person, (source for _, source in group)
            continue
        left.refused += [(one.name, "is in no folder, which would say who it is") for _, one in group]


def calls(sources: Iterator[Source], first: Request, left: Left) -> Iterator[Iterator[Request]]:
    """Yield the messages of each call of AddReferences, which must be taken before the next one."""
    while (one := next(sources, None)) is not None:
        some = itertools.chain([one], itertools.islice(sources, FILES_PER_CALL - 1))
        messages = parts_of(some, first, left)
        begun = next(messages, None)
        if begun is not None:
            yield itertools.chain([begun], messages)


def parts_of(sources: Iterable[Source], first: Request, left: Left) -> Iterator[Request]:
    """Yield the messages that send files; `first` has what all of them have. Raises OSError in the middle of a file."""
    for source in sources:
        try:
            parts = iter(source.read())
            part = next(parts, b"")  # opens the file, or unpacks it
        except (OSError, Unreadable) as error:
            left.refused.append((source.name, getattr(error, "strerror", None) or str(error)))
            continue
        for following in parts:
            yield _part(first, source.name, part, more=True)
            part = following
        yield _part(first, source.name, part, more=False)


def _part(first: Request, name: str, data: bytes, more: bool) -> Request:
    request = Request()
    request.CopyFrom(first)
    request.file_name, request.data, request.more = name, data, more
    return request


def _of_file(path: Path) -> Source:
    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while part := file.read(PART_BYTES):
                yield part

    return Source(printable(path.name), read)


def _of_archive(path: Path, left: Left) -> Iterator[Source]:
    for packed in packed_files(path, MOST_BYTES):
        suffix = PurePosixPath(packed.name).suffix.lower()
        if suffix not in PICTURES | ARCHIVES:
            left.others += 1
            continue
        yield Source(packed.name, partial(_unpacked, packed))


def _unpacked(packed: Packed) -> Iterator[bytes]:
    data = packed.read()
    return (data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES))


def _depth(path: Path) -> int:
    """Return the number of folders around those of the people: 1 if all is in one folder, as some programs pack it."""
    paths = [PurePosixPath(one.name).parts for one in packed_files(path, MOST_BYTES)]
    pictures = [parts for parts in paths if PurePosixPath(parts[-1]).suffix.lower() in PICTURES]
    deep = all(len(parts) > 2 and parts[0] == pictures[0][0] for parts in pictures)
    return int(deep and bool(pictures))


def _person(source: Source, depth: int) -> str:
    """Return whose folder a file of an archive is in; empty: it is in none."""
    parts = PurePosixPath(source.name).parts
    if len(parts) < depth + 2 or ".." in parts or parts[0] == "/":
        return ""
    return unicodedata.normalize("NFC", parts[depth])
