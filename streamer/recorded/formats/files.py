"""Makes the files of the formats that are wanted of the results of a video, reading results and video once each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faceanalytics.errors import ConfigError
from faceanalytics.names import original
from streamer.recorded.formats.contact_sheet import PICTURES, Shown, write_contact_sheet
from streamer.recorded.formats.elan import write_eaf
from streamer.recorded.formats.faces import write_faces
from streamer.recorded.formats.mot import write_mot
from streamer.recorded.formats.stays import clock_of, find_stays
from streamer.recorded.formats.webvtt import write_webvtt
from streamer.recorded.stored import Stored
from streamer.recorded.thumbnails import Moment, choose_moments, thumbnails
from streamer.values import Bytes

FORMATS = ("mot", "webvtt", "eaf", "faces", "contact-sheet")
OF_THE_VIDEO = frozenset({"faces", "contact-sheet"})  # made of its pixels
LARGEST = 512  # px, side of a picture of a face


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats that are wanted."""

    names: tuple[str, ...] = ()  # of FORMATS
    mot_people: bool = False  # ids of MOT are people, not tracks

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def needs_video(self) -> bool:
        """Whether one of them is made of the video's pixels."""
        return bool(OF_THE_VIDEO & set(self.names))


def ordered_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of formats in one order, each once. Raises ConfigError for an unknown one."""
    if unknown := set(names) - set(FORMATS):
        raise ConfigError(f"formats: {', '.join(sorted(map(repr, unknown)))}: choose from {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in names)


def write_formats(folder: Path, wanted: Formats, video: Path | None, temporary: bool = False) -> list[Path]:
    """Write the files of the results in `folder` beside them and return their paths.

    `video`: the one that was analysed; None: it is not at hand. `temporary`: it will not stay where it is, so no file
    leads to it. Raises InputError, also if the video is another one, and ConfigError.
    """
    results = Stored(folder)
    clock = clock_of(results)
    seen = find_stays(results, clock)
    written: list[Path] = []
    if "mot" in wanted.names:
        files = write_mot(results, clock, folder, wanted.mot_people)
        written += [files.tracks, files.sequence]
    if "webvtt" in wanted.names:
        written += write_webvtt(results, seen, folder)
    if "eaf" in wanted.names:
        written.append(write_eaf(results, clock, seen, folder, _way_to(video, temporary, folder, results)))
    if wanted.needs_video:
        if video is None:
            raise ConfigError(f"{' and '.join(sorted(OF_THE_VIDEO & set(wanted.names)))}: give the video too")
        results.check_video(video)
        best, over_time = _pictures(results, video, PICTURES if "contact-sheet" in wanted.names else 0)
        if "faces" in wanted.names:
            written += write_faces(results, best, folder)
        if "contact-sheet" in wanted.names:
            written += write_contact_sheet(results, seen, over_time, folder)
    return written


def _way_to(video: Path | None, temporary: bool, folder: Path, results: Stored) -> str:
    """Return the path from the folder to the video; its name alone if it is not at hand."""
    if video is None or temporary:
        return original(results.header["source"]["name"])
    return os.path.relpath(video, folder)


def _pictures(results: Stored, video: Path, most: int) -> tuple[dict[int, Bytes], dict[int, list[Shown]]]:
    """Cut out the best picture of each person, and up to `most` pictures of each over time, by its number."""
    chosen = choose_moments(results, most)
    wanted: dict[tuple[int, int], Moment] = {(number, 0): moment for number, moment in chosen.people.items()}
    if most:
        for number, moments in chosen.over_time.items():
            wanted |= {(number, place): moment for place, moment in enumerate(moments, 1)}
    found = thumbnails(video, results, wanted, LARGEST)
    over_time: dict[int, list[Shown]] = {}
    for (number, place), pixels in found.items():
        if place:
            over_time.setdefault(number, []).append(Shown(wanted[number, place].media_time_s, pixels))
    return {number: pixels for (number, place), pixels in found.items() if not place}, over_time
