"""See where the picture of one camera has changed since the detector last looked there.

The small grey picture is compared with that of the last look at each place, not with the frame before, so that slow
movement adds up. The comparison is one of logarithms, which turns exposure and lamps into an offset. The offset of the
neighbourhood, a median and so not that of things that move, is subtracted: a lamp that lights a part is no motion. The
change of a cell is the mean of what is left of its pixels' differences.

What counts as motion depends on the usual change of each cell, which is learnt: noise and key frames quickly, lasting
motion (trees, flags, screens) slowly. A cell must change by more than usual to count, so a person in front of a tree is
still seen.
"""

import cv2
import numpy as np

from streamer.attention.places import Grid
from streamer.values import Bytes, Flags, Floats

CELL = 4  # px of the small picture, width and height of a cell, about
CONTRAST = 64.0  # units of relative brightness per factor e
DARK = 16.0  # grey levels added before the logarithm: below them, noise would count as change
LIGHT = 10  # px of the small picture, width and height of the areas of which the light is compared
LIGHT_AREAS = 5  # width and height, in areas, of the neighbourhood that shares its light
FLOOR = 0.8  # units, a smaller mean change of a cell never counts
USUAL_TIMES = 2.5  # a cell moves if it changes by this multiple of its usual change, plus FLOOR
LEARN_S = 1.5  # time constant with which the usual change of a still cell follows
LEARN_MOVING_S = 20.0  # of a moving cell without a face
BUSY = 3.0  # a cell whose usual change is above this multiple of the picture's quiet cells is in lasting motion
QUIET_QUANTILE = 0.2  # of the usual changes: those of the quiet cells
STEADY_S = 3.0  # time constant of the usual share of moving cells
NEW_VIEW = 0.5  # a new view moves this share of the cells, above the usual share

_BRIGHTNESS = (CONTRAST * np.log(np.arange(256) + DARK)).astype(np.float32)


class MotionMap:
    """The changes of one camera. Cells are arrays (rows, columns) that cover the picture."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: rows, columns of the small pictures."""
        self.shape = shape
        self.grid: Grid = (max(1, round(shape[0] / CELL)), max(1, round(shape[1] / CELL)))
        self._areas = max(1, round(shape[1] / LIGHT)), max(1, round(shape[0] / LIGHT))  # columns, rows
        self._reference: Floats | None = None  # as the detector saw each place
        self._now: Floats = np.zeros(shape, np.float32)
        self._usual: Floats = np.zeros(self.grid, np.float32)  # units; learnt from the second picture on
        self._learnt = False
        self._time = 0.0
        self._share = 0.0  # usual share of moving cells
        self.moving: Flags = np.zeros(self.grid, np.bool_)  # changed by more than usual since the last look there
        self.busy: Flags = np.zeros(self.grid, np.bool_)  # in lasting motion
        self.new_view = False  # the whole picture has changed

    def see(self, time: float, luma: Bytes, faces: Flags) -> None:
        """Compare a picture at `time` (s) with those of the last looks. `faces`: cells with known faces."""
        self._now = np.asarray(cv2.LUT(luma, _BRIGHTNESS), np.float32)
        if self._reference is None:
            self._reference = self._now.copy()
            self._time = time
            return
        change = self._change(self._now - self._reference)
        passed, self._time = max(0.0, time - self._time), time
        if not self._learnt:
            self._usual = np.minimum(change, np.median(change)).astype(np.float32)
            self._learnt = True
        self.moving = change > FLOOR + USUAL_TIMES * self._usual
        self._learn(change, passed, faces)
        share = float(np.count_nonzero(self.moving)) / self.moving.size
        self.new_view = share - self._share > NEW_VIEW
        self._share += (share - self._share) * (1 - np.exp(-passed / STEADY_S))

    def looked(self, cells: Flags | None) -> None:
        """Take the newest picture as what the detector saw in these cells; None: everywhere."""
        if cells is None or self._reference is None:
            self._reference = self._now.copy()
            self.moving = np.zeros(self.grid, np.bool_)
            return
        pixels = cv2.resize(cells.view(np.uint8), self.shape[::-1], interpolation=cv2.INTER_NEAREST).view(np.bool_)
        np.copyto(self._reference, self._now, where=pixels)
        self.moving = self.moving & ~cells

    def _change(self, apart: Floats) -> Floats:
        """Return the change of each cell, without that of the light, from the differences of all pixels."""
        areas = cv2.resize(apart, self._areas, interpolation=cv2.INTER_AREA)
        light = cv2.resize(cv2.medianBlur(areas, LIGHT_AREAS), self.shape[::-1], interpolation=cv2.INTER_LINEAR)
        left = cv2.absdiff(apart, light)
        return np.asarray(cv2.resize(left, self.grid[::-1], interpolation=cv2.INTER_AREA), np.float32)

    def _learn(self, change: Floats, passed: float, faces: Flags) -> None:
        follow = np.where(self.moving, 1 - np.exp(-passed / LEARN_MOVING_S), 1 - np.exp(-passed / LEARN_S))
        follow[self.moving & faces] = 0
        self._usual += (change - self._usual) * follow.astype(np.float32)
        place = int(QUIET_QUANTILE * (self._usual.size - 1))
        quiet = float(np.partition(self._usual, place, axis=None)[place])
        self.busy = self._usual > FLOOR + BUSY * quiet
