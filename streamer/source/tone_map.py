"""Tone-map HDR frames (PQ or HLG) to SDR, so that a face looks as it does in an SDR video.

Reference white, 203 cd/m2 by ITU-R BT.2408, becomes SDR white; what is brighter is compressed by the curve of
ITU-R BT.2390, and little is changed below about 100 cd/m2, where most faces are.
"""

import tempfile

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from numpy.typing import NDArray

from streamer.source.filters import filter_chain

Values = NDArray[np.float64]

HDR = {int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)}
WHITE, PEAK = 203.0, 1000.0  # cd/m2: reference white, and what is shown as the brightest
GRID = 33  # points of the table per colour
AS_BT2020 = {2, 3, 10}  # matrices: unspecified, reserved, and the rare constant luminance, which is close to it
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020's red, green and blue
BT2020_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


class ToneMapper:
    """Converts the HDR frames of one stream; its table is kept while the frames have the same form."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._form: tuple[object, ...] = ()  # of the frames that the graph takes

    def to_sdr(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return an HDR frame as SDR (bgr24). Raises FFmpegError if FFmpeg cannot read its colours."""
        if frame.colorspace in AS_BT2020:
            frame.colorspace = Colorspace.BT2020
        colours = (frame.color_trc, frame.color_primaries)
        form = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, *colours)
        if self._graph is None or form != self._form:
            with tempfile.NamedTemporaryFile("w", suffix=".cube") as file:  # the filter reads its table from a file
                file.write(_cube(table(*colours)))
                file.flush()
                lookup = {"file": file.name, "interp": "tetrahedral"}
                chain = (("format", {"pix_fmts": "gbrp10le"}), ("lut3d", lookup), ("format", {"pix_fmts": "bgr24"}))
                self._graph, self._form = filter_chain(frame, *chain), form
        self._graph.push(frame)
        return self._graph.vpull()


def table(transfer: int, primaries: int) -> Values:
    """Return SDR red, green, blue (GRID, GRID, GRID, 3), 0..1, by the HDR signal: blue, green, red."""
    signal = np.stack(np.meshgrid(*[np.linspace(0, 1, GRID)] * 3, indexing="ij")[::-1], axis=-1)
    light = _pq_light(signal) if transfer == ColorTrc.SMPTE2084 else _hlg_light(signal)
    brightest = light.max(axis=-1, keepdims=True)
    light = light * (_compress(brightest) / np.maximum(brightest, 1e-9))  # of all three, so that the hue stays
    if primaries != ColorPrimaries.BT709:
        light = light @ BT2020_TO_BT709.T
    return np.asarray(np.clip(light / WHITE, 0, 1) ** (1 / 2.4), np.float64)  # a screen's gamma by BT.1886


def _compress(light: Values) -> Values:
    """Map 0..PEAK cd/m2 to 0..WHITE (ITU-R BT.2390, 5.4.1)."""
    top = _pq_signal(np.array(WHITE)) / _pq_signal(np.array(PEAK))
    knee = 1.5 * top - 0.5
    level = _pq_signal(np.minimum(light, PEAK)) / _pq_signal(np.array(PEAK))
    t = np.maximum(level - knee, 0) / (1 - knee)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * top
    return _pq_light(np.where(level < knee, level, curve) * _pq_signal(np.array(PEAK)))


M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # SMPTE ST 2084


def _pq_light(signal: Values) -> Values:
    power = signal ** (1 / M2)
    return np.asarray(10_000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1), np.float64)


def _pq_signal(light: Values) -> Values:
    power = (light / 10_000) ** M1
    return np.asarray(((C1 + C2 * power) / (1 + C3 * power)) ** M2, np.float64)


def _hlg_light(signal: Values) -> Values:
    """ARIB STD-B67 on a screen of 1000 cd/m2, whose system gamma is 1.2 (ITU-R BT.2100)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(1000 * np.maximum(scene @ LUMINANCE, 0)[..., None] ** 0.2 * scene, np.float64)


def _cube(values: Values) -> str:
    """Return a table in the .cube format, in which red changes fastest."""
    return f"LUT_3D_SIZE {GRID}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in values.reshape(-1, 3)) + "\n"
