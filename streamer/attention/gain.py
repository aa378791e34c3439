"""Predict what a look of the detector would gain.

The unit is the gain for which a frame is looked at, so 1 is enough. Each formula is the chance that something has
changed that only a look can show, over the chance that is accepted. `effort` makes time pass this many times faster: a
look comes sooner by that. A frame gains as much as the most promising of its moving places, or as all its faces
together: the root of the sum of the squares of their gains. Their mean would hide the one that is not well predicted,
and their plain sum would make crowds cost too much.
"""

import numpy as np

from streamer.values import Floats, Outlook

# A predicted box that is off by d face sizes along one side has an IoU of (1 - d) / (1 + d) with the true one: 0.6 for
# 0.25, 0.5 for 0.33.
MAX_OFF = 0.25  # face sizes
ACCEPTED_OFF = 0.4  # chance that a box is off by more, at which it is looked for
STILL_DRIFT = 0.02  # face sizes, standard deviation of a face in whose place nothing has moved
SEE_AGAIN_S = 1.0  # a face is looked for after this many seconds, even if nothing moves

RETURN_S = 0.6  # time constant with which a face that was missed is found again
LOST_GAIN = 1.2  # of finding it: ids are lost

ARRIVAL_S = 0.15  # mean time until a face appears in a place that has begun to move, at the usual rate of the camera
ARRIVAL_GAIN = 1.6  # of finding a new face
BUSY_S = 1.0  # the same mean time where something always moves

CONFIRM_GAIN = 2.0  # of the next detections of a new face, so that it is published soon
CROP_GAIN = 1.0  # of a crop that would change an answer by as much as is possible
NEW_VIEW_GAIN = 2.0  # of looking when all of the picture has changed
EFFORTS = {1: 0.25, 2: 0.5, 3: 1.0, 4: 2.0}  # factors of the time


def off_by_drift(drift: Floats) -> Floats:
    """Return the chance (n,) that centres with standard deviations `drift` (n,) are off by more than MAX_OFF.

    For a Gaussian in the plane it is exp(-r^2 / 2 s^2).
    """
    return np.asarray(np.exp(-(MAX_OFF**2) / (2 * np.maximum(drift, 1e-3) ** 2)), np.float32)


def uncertain(outlook: Outlook, stirred: Floats, surprise: float, effort: float) -> Floats:
    """Return the gain (n,) of correcting each predicted box.

    `stirred` (n,) 0..1: how much of the place of each face has moved since it was last looked at. Where nothing has,
    the face is where it was; it is looked for after SEE_AGAIN_S all the same. `surprise`: ratio of the errors found by
    the last looks to those that the tracker expects. The variance of the drift grows with the time.
    """
    drifting = off_by_drift(np.sqrt(np.float32(effort)) * np.maximum(surprise * outlook.drift, STILL_DRIFT))
    still = ACCEPTED_OFF * np.minimum(outlook.unseen / SEE_AGAIN_S, 1.0) ** 2
    chance = stirred * drifting + (1 - stirred) * still
    return np.where(outlook.lost | ~outlook.confirmed, 0.0, chance / ACCEPTED_OFF).astype(np.float32)


def losing(outlook: Outlook, since: Floats, effort: float) -> Floats:
    """Return the gain (n,) of looking for faces that were missed, `since` (n,) seconds after the last look there.

    A missed face returns after an exponential time: the chance that it has is 1 - exp(-t / RETURN_S).
    """
    return np.where(outlook.lost, LOST_GAIN * (1 - np.exp(-effort * since / RETURN_S)), 0.0).astype(np.float32)


def confirming(outlook: Outlook) -> Floats:
    """Return the gain (n,) of the next detection of faces that are not confirmed yet: they are looked at at once."""
    return np.where(~outlook.confirmed, CONFIRM_GAIN, 0.0).astype(np.float32)


def arriving(promise: Floats, since: Floats, arrivals: float) -> Floats:
    """Return the gain (n,) of looking at moving places, `since` (n,) seconds after the last look there.

    Faces appear at random, at the rate promise / ARRIVAL_S: `promise` (n,) 0..1 falls while a place moves without a
    face, and `arrivals` is the rate of this camera over the usual one, times the effort. The chance is 1 - exp(-r t).
    """
    chance = 1 - np.exp(-promise * arrivals * since / ARRIVAL_S)
    return np.asarray(ARRIVAL_GAIN * chance, np.float32)


def arriving_unseen(busy: float, since: float, arrivals: float) -> float:
    """Return the gain of a look at the whole frame for faces in lasting motion, which covers the share `busy` of it."""
    return float(ARRIVAL_GAIN * (1 - np.exp(-busy * arrivals * since / BUSY_S)))
