"""Measures whether something other than skin covers the mouth in an aligned crop, such as a mask.

Skin is redder and yellower (a and b of CIELAB) than the cloth of most masks, in every light, so the colour of mouth,
chin and nose is compared with that of forehead and cheeks of the same crop. Red or skin-coloured cloth is not noticed,
nor is anything in a grey image.
"""

import cv2
import numpy as np

from streamer.values import Bytes, Floats

# parts of the crop: rows, then columns, px
_FOREHEAD = (slice(30, 46), slice(44, 68))
_CHEEKS = ((slice(54, 62), slice(30, 46)), (slice(54, 62), slice(66, 82)))
_NOSE = (slice(66, 76), slice(48, 64))
_MOUTH = (slice(80, 104), slice(42, 70))


def cover(crop: Bytes) -> float:
    """Return how much less red and yellow mouth and nose are than forehead and cheeks of a crop (112, 112, 3) RGB.

    The unit is that of 8-bit CIELAB, summed over a and b; it is about 0 for a bare face.
    """
    smooth = cv2.GaussianBlur(crop, (0, 0), 1.5)
    colours = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), np.float32)[:, :, 1:]
    skin = np.median(np.concatenate([_flat(colours[part]) for part in (_FOREHEAD, *_CHEEKS)]), axis=0)
    nose, mouth = (np.median(_flat(colours[part]), axis=0) for part in (_NOSE, _MOUTH))
    return float((skin - (nose + mouth) / 2).sum())


def _flat(part: Floats) -> Floats:
    return part.reshape(-1, 2)
