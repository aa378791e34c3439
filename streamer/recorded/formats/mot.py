"""Write the faces of a recording in the text form of MOTChallenge, in the folders that TrackEval expects."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from faceanalytics.errors import ConfigError
from faceanalytics.files import replacing, writing
from streamer.recorded.formats.stays import Clock
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored

MOT = "mot"  # folder

log = logging.getLogger(__name__)


class MotFiles(NamedTuple):
    """What was written, and what was left out."""

    tracks: Path  # NAME.txt
    sequence: Path  # NAME/seqinfo.ini
    lines: int
    without_person: int  # faces that belong to no person; only with ids of people
    doubled: int  # faces of an id that another face of the same frame has, which is more certain


def write_mot(results: Stored, clock: Clock, folder: Path, people: bool = False) -> MotFiles:
    """Write mot/NAME.txt and mot/NAME/seqinfo.ini into `folder`; NAME is that of the video. Raises ConfigError.

    A line is `frame,id,left,top,width,height,conf,-1,-1,-1`: frames that were analysed count from 1, places are px of
    the frame, ids are numbers of tracks, or of people if `people`. An id is in a frame at most once.
    """
    name = sequence_name(results.header)
    ids = _ids(results, people)
    lines = without = doubled = 0
    path, sequence = folder / MOT / f"{name}.txt", folder / MOT / name / "seqinfo.ini"
    with writing(sequence.parent):
        sequence.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for frame, faces in results.frames():
            chosen: dict[int, Record] = {}
            for face in sorted(faces, key=lambda one: -float(one["detection_score"])):
                number = ids.get(face["track_id"])
                if number is None:
                    without += 1
                elif chosen.setdefault(number, face) is not face:
                    doubled += 1
            file.writelines(f"{_line(frame['frame'] + 1, number, chosen[number])}\n" for number in sorted(chosen))
            lines += len(chosen)
    with replacing(sequence) as partial:
        partial.write_text(_sequence(results.header, clock), encoding="utf-8", newline="\n")
    if without:
        log.info("%s: left out %d faces that belong to no person", path, without)
    if doubled:
        log.warning("%s: left out %d faces of a person who has another face in the same frame", path, doubled)
    return MotFiles(path, sequence, lines, without, doubled)


def sequence_name(header: Record) -> str:
    """Return the name of the video without its ending, with what TrackEval cannot have in a name replaced by _."""
    stem = Path(header["source"]["name"]).stem
    return "".join(one if one.isalnum() or one in "-_." else "_" for one in stem) or "video"


def _ids(results: Stored, people: bool) -> Mapping[str, int]:
    found = results.persons() if people else results.parts()
    return {track_id: int(record["number"]) for track_id, record in found.items()}


def _line(frame: int, number: int, face: Record) -> str:
    box = face["box"]
    place = ",".join(f"{box[side]:g}" for side in ("x", "y", "width", "height"))
    return f"{frame},{number},{place},{face['detection_score']:g},-1,-1,-1"


def _sequence(header: Record, clock: Clock) -> str:
    """Return seqinfo.ini. Its frame rate is a whole number, as programs expect that read it."""
    if not len(clock):
        raise ConfigError("MOT: no frame was analysed")
    source = header["source"]
    values = {
        "name": sequence_name(header),
        "imDir": "img1",
        "frameRate": max(1, round(1 / clock.step_s)),
        "seqLength": len(clock),
        "imWidth": source["width"],
        "imHeight": source["height"],
        "imExt": ".jpg",
    }
    return "\n".join(["[Sequence]", *(f"{key}={value}" for key, value in values.items()), ""])
