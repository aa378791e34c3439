"""Writes the report of one or several recordings into one file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file, never, replacing
from streamer.recorded.filenames import ANNOTATED
from streamer.recorded.report.across import read_across
from streamer.recorded.report.page import Chapter, page
from streamer.recorded.report.pictures import MOST_FACES, MOST_SHOTS, cut_pictures, moments
from streamer.recorded.report.reading import Recording, read_recording
from streamer.recorded.report.rows import MOST_STRETCHES, rows


def write_report(
    folders: Sequence[Path],
    out: Path,
    videos: Sequence[Path] = (),
    *,
    pictures: bool = True,
    link: bool = True,
    across: Sequence[Path] = (),
    stopped: Callable[[], bool] = never,
) -> list[InputError]:
    """Write the report of the results in `folders` to `out`; return why some of them are not in it.

    `videos`: files and folders to look for the videos in, besides those that lie beside the results. `pictures`: show
    faces and frames. `link`: jump into a video of `videos` wherever it is. `across`: folders that may hold the list of
    people of several recordings, besides that of `out`.

    Raises InputError if no results can be read, and soon after `stopped` becomes true; ConfigError if `out` cannot be
    written.
    """
    chapters: list[Chapter] = []
    failures: list[InputError] = []
    for number, folder in enumerate(folders, 1):
        share = len(folders)
        try:
            recording = read_recording(folder)
        except InputError as error:
            failures.append(error)
            continue
        made = rows(recording, f"f{number}", MOST_STRETCHES // share)
        video = find_video(recording, videos, stopped if pictures else never)
        address, drawn = _address(recording, video, out, link=link and bool(videos))
        found: dict[str, str] = {}
        why = "the video is not beside the results" if pictures else "it was made without them"
        if pictures and video is not None:
            wanted = moments(recording, made, max(40, MOST_FACES // share), max(10, MOST_SHOTS // share))
            found = cut_pictures(video, recording.header["source"]["video_stream"], wanted, stopped)
            why = ""
        chapters.append(Chapter(f"f{number}", recording, made, address, drawn, found, why))
    if not chapters:
        raise failures[0]
    people = read_across([*across, out.absolute().parent]) if len(folders) > 1 else []
    with replacing(out) as partial:
        partial.write_text(page(chapters, people), encoding="utf-8", newline="\n")
    return failures


def find_video(recording: Recording, places: Sequence[Path], stopped: Callable[[], bool] = never) -> Path | None:
    """Return the video that was analysed: of its name and content, in `places`, beside the results or one folder up.

    Raises InputError if a file among `places` is another video.
    """
    name, expected = recording.name, recording.header["source"]["sha256"]
    for place in places:
        if place.is_file() and len(places) == 1 and hash_file(place, stopped) != expected:
            raise InputError(f"{place} is not the video of the results in {recording.folder}, {name}")
    candidates = [place for place in places if place.is_file()]
    candidates += [found for place in places if place.is_dir() for found in sorted(place.rglob(name))]
    candidates += [recording.folder / name, recording.folder.absolute().parent / name]
    for candidate in candidates:
        if candidate.is_file() and hash_file(candidate, stopped) == expected:
            return candidate
    return None


def _address(recording: Recording, video: Path | None, out: Path, link: bool) -> tuple[str | None, bool]:
    """Return the address of the annotated video, else of the video, relative to the report; and which it is.

    A video somewhere else is linked only with `link`, because the page then depends on where it is.
    """
    drawn = recording.folder / ANNOTATED
    if drawn.is_file():
        return _relative(drawn, out), True
    if video is None:
        return None, False
    near = (recording.folder.absolute(), recording.folder.absolute().parent)
    return (_relative(video, out), False) if link or video.absolute().parent in near else (None, False)


def _relative(video: Path, out: Path) -> str:
    path = os.path.relpath(video.absolute(), out.absolute().parent)
    return quote(path.encode("utf-8", "surrogateescape"))
