"""What the attention is asked, and what it answers."""

import enum
from dataclasses import dataclass

import numpy as np

from streamer.values import Floats, Outlook, Preview


class LookReason(enum.Enum):
    """Why a frame is looked at: the largest part of the expected gain."""

    NEW_CAMERA = "NEW_CAMERA"  # the first frame of a source
    NEW_VIEW = "NEW_VIEW"  # all of the picture has changed: a shot change, a turn of the camera, light switched on
    MOTION = "MOTION"  # something moves where no face is known
    UNCERTAIN = "UNCERTAIN"  # a face may no longer be where it is predicted
    CONFIRMING = "CONFIRMING"  # a new face needs more detections to be published
    LOSING = "LOSING"  # a face was not found the last time
    CROP = "CROP"  # a better crop of a face can be had
    FULL_LOOK = "FULL_LOOK"  # the whole frame was last looked at `full_look_s` ago
    EVERY_FRAME = "EVERY_FRAME"  # the settings choose all frames


class SkipReason(enum.Enum):
    """Why a frame is not looked at."""

    QUIET = "QUIET"  # nothing has moved, and no known face can have
    SETTLED = "SETTLED"  # the known faces are predicted well enough, and what moves was looked at a moment ago
    LIMIT = "LIMIT"  # it should be looked at, but `max_fps` allows no look yet
    BUDGET = "BUDGET"  # it should be looked at, but the detector has no time: overload


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """The newest frame of one camera."""

    preview: Preview
    outlook: Outlook  # of its tracks, at the time of the frame
    wanted: Floats  # (n,) 0..1 per track, how much a better crop would gain; 0: nothing is known
    cut: bool = False  # a new shot has begun since the last look


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Look at the whole frame, or at regions of it."""

    whole: bool
    regions: Floats  # (n, 4) x1 y1 x2 y2 frame pixels, inside the frame; (0, 4) if the look is whole
    reason: LookReason


@dataclass(frozen=True, slots=True)
class Skip:
    """Do not look at this frame."""

    reason: SkipReason


NOWHERE = np.zeros((0, 4), np.float32)


def whole(reason: LookReason) -> Look:
    """Look at the whole frame."""
    return Look(True, NOWHERE, reason)
