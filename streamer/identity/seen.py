"""The people of a video: when each is seen, and the pictures that show them best."""

from dataclasses import dataclass

from streamer.values import Bytes, Floats


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """One analysed picture of a person in a video."""

    frame: int  # of the video, from 0
    media_time: float  # s
    box: tuple[float, float, float, float]  # x1 y1 x2 y2, pixels of the frame
    score: float  # 0..1, of the detector
    quality: float  # 0..1
    pixels: Bytes  # (112, 112, 3) RGB, aligned
    embedding: Floats  # (512,) unit length


@dataclass(frozen=True, slots=True, eq=False)
class SeenPerson:
    """One person of a video."""

    number: int  # from 1, in the order of appearance
    first_seen: float  # s, media time
    last_seen: float  # s
    certain: bool  # False: the pictures are too few or too poor to compare
    conflicting: bool  # the pictures resemble each other so little that they may show several people
    template: Floats | None  # (512,) unit length; None: no picture was analysed
    samples: int  # analyses
    faces: tuple[SeenFace, ...]  # that resemble the person, by time

    @property
    def best(self) -> SeenFace | None:
        """The picture of the highest quality, the earliest of equals."""
        return max(self.faces, key=lambda one: (one.quality, -one.media_time), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class SeenPeople:
    """What a video shows."""

    people: tuple[SeenPerson, ...]
    frames: int  # that were looked at
    problem: str  # why the end is missing; empty: it is not
