"""Ultralytics pose models exported to ONNX, run by torch on a GPU as CUDA graphs; frames are scaled there, too.

On a CPU the same steps run without graphs. That is for tests: onnxruntime is faster there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from faceanalytics.errors import ModelError
from faceanalytics.extras import require
from faceanalytics.precision import exact_fp32
from streamer.config import Detect
from streamer.detect.letterbox import GREY, STRIDES
from streamer.detect.onnx_file import Graph
from streamer.detect.onnx_pose import decode_pose, gives_cells
from streamer.detect.torch_network import TorchNetwork
from streamer.values import Bytes, Detections, Floats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIZES = (1, 4, 16, 32)  # frames; another batch is computed as the next larger size
ONE = 2048  # weights of neighbouring pixels are whole numbers of this sum
CANDIDATES = 512  # cells with the highest scores that leave the device; all of them if more are above the minimum


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame lies in the input of the network, px."""

    inner: tuple[int, int]  # width and height of the frame there
    outer: tuple[int, int]  # width and height of the input
    corner: tuple[int, int]  # x y of the frame's upper left corner

    @classmethod
    def of(cls, size: tuple[int, int], config: Detect, square: bool) -> "Place":
        """Return the place of a frame of this width and height, as `letterboxed` puts it."""
        side = config.input_size
        scale = min(side / max(size), config.max_upscale)
        width, height = (max(1, round(length * scale)) for length in size)
        step = STRIDES[-1]
        outer = (side, side) if square else (-(-width // step) * step, -(-height // step) * step)
        return cls((width, height), outer, ((outer[0] - width) // 2, (outer[1] - height) // 2))

    def fill(self, canvas: "Tensor", images: "Tensor") -> None:
        """Put images (n, 3, h, w) 0..1 of the inner size into the input (n, 3, h, w); all around them is grey."""
        canvas.fill_(GREY / 255)
        x, y = self.corner
        canvas[:, :, y : y + self.inner[1], x : x + self.inner[0]] = images


class _Recorded:
    """The network for one batch size and size of its input."""

    def __init__(
        self, graph: Graph, shape: tuple[int, ...], device: "torch.device", dtype: "torch.dtype", pool: Any
    ) -> None:
        """`pool`: of memory, for graphs that are never run at the same time."""
        import torch

        self._network = TorchNetwork(graph, shape, device, dtype)
        self.canvas = torch.full(shape, GREY / 255, dtype=dtype, device=device).contiguous(
            memory_format=torch.channels_last
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            self._record(pool)

    def _record(self, pool: Any) -> None:
        """Record all kernels as one graph: launching them singly dominates small batches."""
        import torch

        with torch.cuda.device(self.canvas.device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):  # lets libraries choose their kernels before the recording
                    self._compute()
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            # other threads, such as decoders, may use the GPU meanwhile
            with torch.cuda.graph(self._graph, pool, aside, capture_error_mode="thread_local"):
                self._results = self._compute()

    def __call__(self) -> "tuple[Tensor, Tensor]":
        """Compute what is on the canvas: all cells (n, c, cells), and the best of them in the same order."""
        if self._graph is None:
            return self._compute()
        self._graph.replay()
        return self._results

    def _compute(self) -> "tuple[Tensor, Tensor]":
        values = self._network(self.canvas).float()
        chosen = values[:, 4].topk(min(CANDIDATES, values.shape[2]), dim=1).indices.sort(dim=1).values
        return values, values.gather(2, chosen[:, None].expand(-1, values.shape[1], -1))


class TorchPoseModel:
    """One class and five keypoints, as PoseOnnxModel. For use by one thread. Raises ModelError, MissingPackage."""

    def __init__(self, graph: Graph, config: Detect, half: bool = False) -> None:
        """`graph`: a pose model. `half`: convolve in fp16. Boxes then move by a few tenths of a pixel of the input."""
        require("worker", "torch", use=f"detect.device {config.device}")
        import torch

        self._graph, self._config, self._device = graph, config, _usable(config.device)
        (shape,) = graph.inputs.values()
        self.square, self._only_one = shape[3] is not None, shape[0] is not None
        self._dtype = torch.float16 if half else torch.float32
        self._pool = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None
        self._recorded: dict[tuple[int, int, int], _Recorded] = {}
        self._samplers: dict[tuple[int, int], _Sampler] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Load libraries and kernels, and record the graphs of 16:9 frames and prepared images."""
        import torch

        side = self._config.input_size
        size = side, side * 9 // 16
        if self._device.type == "cuda":
            batches = SIZES[:1] if self._only_one else SIZES
            wanted = [(batch, outer) for outer in {self.place(size).outer, *self.inputs} for batch in batches]
            with torch.inference_mode(), exact_fp32():
                for batch, outer in sorted(wanted, reverse=True):  # largest first: the others fit into its memory
                    self._for(batch, outer)
        self.detect([np.full((size[1], size[0], 3), GREY, np.uint8)])

    @classmethod
    def understands(cls, graph: Graph) -> bool:
        """Return whether a network takes images and gives cells before suppression, as ultralytics exports it."""
        shapes = [*graph.inputs.values(), *graph.outputs.values()]
        if len(graph.inputs) != 1 or len(graph.outputs) != 1 or "task" not in graph.metadata:
            return False
        return (len(shapes[0]), len(shapes[1])) == (4, 3) and shapes[0][0] in (1, None) and gives_cells(graph.metadata)

    def place(self, size: tuple[int, int]) -> Place:
        """Return where a frame of this width and height lies in the input."""
        return Place.of(size, self._config, self.square)

    @property
    def inputs(self) -> tuple[tuple[int, int], ...]:
        """Return the width and height of the prepared images to choose from: each one is a graph of its own."""
        side = self._config.input_size
        if self.square:
            return ((side, side),)
        parts = {(-(-side * part // 4 // STRIDES[-1])) * STRIDES[-1] for part in (1, 2, 3, 4)}
        return tuple((side, part) for part in sorted(parts))

    def detect(self, frames: Sequence[Bytes], unscaled: bool = False) -> list[Detections]:
        """Find faces in BGR frames (h, w, 3), in frame pixels, not yet clipped. Frames of one size go in one batch.

        `unscaled`: they are prepared images, see Detector.
        """
        found: dict[int, Detections] = {}
        for shape in dict.fromkeys(frame.shape for frame in frames):
            rows = [row for row, frame in enumerate(frames) if frame.shape == shape]
            for first in range(0, len(rows), SIZES[-1]):
                part = rows[first : first + SIZES[-1]]
                found.update(zip(part, self._detect_alike([frames[row] for row in part], unscaled), strict=True))
        return [found[row] for row in range(len(frames))]

    def _detect_alike(self, frames: list[Bytes], unscaled: bool) -> list[Detections]:
        import torch

        height, width = frames[0].shape[:2]
        with torch.inference_mode():
            uploaded = self._uploaded(frames)
            images = uploaded.permute(0, 3, 1, 2) if unscaled else self._sampler((width, height))(uploaded)
        place = Place((width, height), (width, height), (0, 0)) if unscaled else self.place((width, height))
        return self.look(images.flip(1) / 255, (width, height), place)

    def look(self, images: "Tensor", size: tuple[int, int], place: Place | None = None) -> list[Detections]:
        """Find faces in frames of one size that are on the device, in pixels of the frames.

        `images`: at most SIZES[-1] of them as (n, 3, h, w) RGB 0..1, scaled to `place.inner`; None:
        `place(size)`.
        """
        import torch

        place, count = place or self.place(size), len(images)
        batch = 1 if self._only_one else next(each for each in SIZES if each >= count)
        if self._only_one and count > 1:
            return [faces for image in images for faces in self.look(image[None], size, place)]
        with torch.inference_mode(), exact_fp32():
            recorded = self._for(batch, place.outer)
            place.fill(recorded.canvas[:count], images)
            everything, best = recorded()
            rows: Floats = best[:count].cpu().numpy()
            many = (rows[:, 4].min(axis=1) >= self._config.min_score) & (rows.shape[2] < everything.shape[2])
            cells = [everything[row].cpu().numpy() if many[row] else rows[row] for row in range(count)]
        scale = np.array([place.inner[0] / size[0], place.inner[1] / size[1]], np.float32)
        offset = np.array(place.corner, np.float32)
        return [decode_pose(values, scale, offset, self._config) for values in cells]

    def _uploaded(self, frames: list[Bytes]) -> "Tensor":
        """Return frames of one size as (n, h, w, 3) uint8 on the device."""
        import torch

        host = torch.empty((len(frames), *frames[0].shape), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        for place, frame in zip(host, frames, strict=True):
            place.copy_(torch.from_numpy(frame if frame.flags.writeable else frame.copy()))  # by several threads
        return host.to(self._device, non_blocking=True)

    def _for(self, batch: int, outer: tuple[int, int]) -> _Recorded:
        key = (batch, *outer)
        if key not in self._recorded:
            shape = (batch, 3, outer[1], outer[0])
            self._recorded[key] = _Recorded(self._graph, shape, self._device, self._dtype, self._pool)
        return self._recorded[key]

    def _sampler(self, size: tuple[int, int]) -> "_Sampler":
        if size not in self._samplers:
            self._samplers[size] = _Sampler(size, self.place(size).inner, self._device)
        return self._samplers[size]


class _Sampler:
    """Scales pictures of one size on the device, with the values of OpenCV's INTER_LINEAR."""

    def __init__(self, size: tuple[int, int], wanted: tuple[int, int], device: "torch.device") -> None:
        """`size` and `wanted`: width and height."""
        self._columns, self._rows = (
            neighbours(length, count, device) for length, count in zip(size, wanted, strict=True)
        )

    def __call__(self, pictures: "Tensor") -> "Tensor":
        """Scale (n, h, w, c) uint8; returns (n, c, h, w) int32 of 0..255."""
        left, right, x = self._columns
        upper, lower, y = self._rows
        x, y = x[:, None], y[:, None, None]

        def line(rows: "Tensor") -> "Tensor":
            first, second = (pictures[:, rows[:, None], columns].int() for columns in (left, right))
            return (first * (ONE - x) + second * x) >> 4

        # OpenCV's arithmetic of whole numbers: two of its shifts round down
        sums = ((line(upper) * (ONE - y)) >> 16) + ((line(lower) * y) >> 16)
        return ((sums + 2) >> 2).permute(0, 3, 1, 2)


def neighbours(length: int, count: int, device: "torch.device") -> "tuple[Tensor, Tensor, Tensor]":
    """Return for each of `count` samples of a line of pixels its two neighbours and the weight of the second, of ONE.

    Pixels have their centres at half numbers, and the first and the last are continued.
    """
    import torch

    places = ((torch.arange(count, dtype=torch.float64) + 0.5) * length / count - 0.5).clamp(0, length - 1)
    first = places.floor().long()
    second = (first + 1).clamp(max=length - 1)
    return first.to(device), second.to(device), ((places - first) * ONE).round().int().to(device)


def _usable(name: str) -> "torch.device":
    """Return the device of this name. Raises ModelError if this machine does not have it."""
    import torch

    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ModelError(
            f"detect.device {name} is not usable: PyTorch {torch.__version__} finds {count} CUDA GPUs here"
        )
    return device
