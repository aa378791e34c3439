"""Who is in front of the cameras now, by the events of their tracks."""

from collections import defaultdict
from collections.abc import Sequence

from streamer.sinks.delivery import SinkEvent
from streamer.store.values import ENDS, LogKind


class Present:
    """The tracks that have begun and not ended, per camera.

    It begins empty: the tracks of an earlier run of the streamer have all ended, and their ends are events of the log.
    """

    def __init__(self) -> None:
        self._tracks: defaultdict[str, dict[str, str]] = defaultdict(dict)  # camera -> track -> person, empty: unknown

    def add(self, events: Sequence[SinkEvent]) -> set[str]:
        """Take in events, the same ones also twice, and return the cameras in front of which something changed."""
        changed = set[str]()
        for event in events:
            if not event.track_id:
                continue
            tracks = self._tracks[event.camera]
            before = tracks.get(event.track_id)
            if event.kind in ENDS:
                tracks.pop(event.track_id, None)
            elif event.kind is LogKind.NEW or event.track_id in tracks:
                tracks[event.track_id] = event.body.get("decision", {}).get("person", "")
            if tracks.get(event.track_id) != before:
                changed.add(event.camera)
        return changed

    def forget(self, camera: str) -> None:
        """Drop what is known of a camera that was removed."""
        self._tracks.pop(camera, None)

    def faces(self, camera: str) -> int:
        """Return the number of tracks in front of a camera."""
        return len(self._tracks.get(camera, ()))

    def people(self, camera: str) -> list[str]:
        """Return the names of the known people in front of a camera, sorted."""
        return sorted({person for person in self._tracks.get(camera, {}).values() if person})
