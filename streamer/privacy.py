"""Privacy modes: how much of the people in view is published and stored. The strictest setting wins."""

import enum
from typing import Annotated

from pydantic import Field

from streamer.section import Section


class Mode(enum.StrEnum):
    """A privacy mode, from the most open to the strictest."""

    IDENTITY = "identity"
    PSEUDONYMOUS = "pseudonymous"
    AGGREGATE_ONLY = "aggregate_only"

    @property
    def strictness(self) -> int:
        """The place of the mode in the order of strictness, from 0."""
        return list(Mode).index(self)


def strictest(*modes: Mode) -> Mode:
    """Return the strictest of these modes."""
    return max(modes, key=lambda mode: mode.strictness)


class Privacy(Section):
    """How much of the people in view is published and stored. See docs/privacy.md."""

    mode: Mode = Mode.IDENTITY
    """identity: tracks, with names of people who are enrolled. pseudonymous: tracks without names, embeddings and
    pictures of faces; people have pseudonyms that change. aggregate_only: no tracks, only counts per camera and
    interval; embeddings do not leave the workers. A stream can have a stricter mode of its own."""
    rotation_hours: Annotated[float, Field(ge=0.1, le=24 * 31)] = 24.0
    """pseudonymous: give people other pseudonyms after this many hours, counted from midnight by the clock of this
    machine. The key of the old ones is destroyed, so that nothing links the two."""
    aggregate_s: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """aggregate_only: length of the intervals that are counted, in seconds."""
    min_tracks: Annotated[int, Field(ge=1)] = 5
    """aggregate_only: state age, expression and dwell of an interval only if at least this many tracks are behind them,
    because those of one or two tracks would describe a person."""


class Modes:
    """The mode of each camera. `of` may be called from any thread."""

    def __init__(self, settings: Privacy) -> None:
        self.general = settings.mode
        self._own: dict[str, Mode] = {}
        self._removed: set[str] = set()

    def learn(self, camera: str, own: Mode | None) -> None:
        """Note the mode that a camera has of its own; None: that of the streamer."""
        self._own[camera] = strictest(self.general, own or self.general)
        self._removed.discard(camera)

    def leave(self, camera: str) -> None:
        """Note that a camera was removed. Its mode is kept for what still comes of it."""
        self._removed.add(camera)

    def of(self, camera: str) -> Mode:
        """Return the mode that holds for a camera."""
        return self._own.get(camera, self.general)

    @property
    def counted(self) -> list[str]:
        """The cameras of which only counts are published."""
        of_mode = (camera for camera, mode in self._own.copy().items() if mode is Mode.AGGREGATE_ONLY)
        return sorted(camera for camera in of_mode if camera not in self._removed)

    @property
    def withheld(self) -> set[str]:
        """The cameras of which no faces may be stored."""
        return {camera for camera, mode in self._own.copy().items() if mode is not Mode.IDENTITY}
