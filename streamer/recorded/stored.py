"""The results of a video with its shots, and whose face each track id is: what other formats are made of."""

import json
from collections.abc import Callable
from pathlib import Path

from faceanalytics.errors import InputError
from faceanalytics.files import hash_file, never
from streamer.recorded.filenames import PEOPLE, TRACKS
from streamer.recorded.recording import Recording, complaining
from streamer.recorded.records import Record


class Stored(Recording):
    """Raises InputError like Recording, also for tracks of people that are not there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with complaining(folder / PEOPLE):
            named = {track_id for person in self.people for track_id in person["track_ids"]}
        missing = named - {track["track_id"] for track in self.tracks}
        if missing:
            raise InputError(f"{folder}: {PEOPLE} names tracks that {TRACKS} lacks: {', '.join(sorted(missing))}")

    def parts(self) -> dict[str, Record]:
        """Return the track that each track id belongs to: its own, or that of a track that was joined to it."""
        return {one["track_id"]: track for track in self.tracks for one in (*track["intervals"], track)}

    def persons(self) -> dict[str, Record]:
        """Return the person that each track id belongs to, also of tracks that were joined to another."""
        by_track = {track_id: person for person in self.people for track_id in person["track_ids"]}
        parts = {part: by_track.get(track["track_id"]) for part, track in self.parts().items()}
        return by_track | {part: person for part, person in parts.items() if person is not None}

    def check_video(self, video: Path, stopped: Callable[[], bool] = never) -> None:
        """Check that `video` is the one that was analysed. Raises InputError."""
        source = self.header["source"]
        if source["sha256"] != hash_file(video, stopped):
            raise InputError(
                f"{self.folder}: the results are those of {source['name']}, a different video than {video}"
            )


def read_source(folder: Path) -> Record:
    """Return what the header of the results in a folder says about the video. Raises InputError."""
    path = folder / TRACKS
    with complaining(path), path.open(encoding="utf-8") as file:
        source: Record = json.loads(file.readline())["source"]
    return source
