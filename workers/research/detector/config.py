"""Define the configuration of a detector training. Unknown keys are errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Value = str | int | float | bool


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Source(_Section):
    """Images or a video, which the teachers label."""

    path: Path
    """An image, a folder of images, a video (or .gif), or Parquet with encoded images in the column `image`."""
    where: Mapping[str, Value] = {}
    """Use only the rows of a Parquet file that have these values in these columns."""
    part: tuple[Share, Share] = (0.0, 1.0)
    """Use only the files, rows or frames between these two shares of the whole: [0, 0.5] is the first half."""
    every: Positive = 1
    """Use every n-th file, row or frame of that part; 1 uses all."""
    tile: Annotated[int, Field(ge=16, le=304)] | None = None
    """For small images: label many in one pass, side by side, each with its longer side scaled to this many pixels.
    Default: label each image on its own."""
    tight: bool = False
    """Whether each image is cropped so closely that a single face fills it. Such images need `tile`, and can be pasted
    but not shown."""
    paste: Weight = 0.0
    """How often faces of this source are pasted into scenes, relative to the other sources; 0: never."""
    show: Weight = 0.0
    """How often crops of this source's images are shown unchanged, relative to the other sources; 0: never."""
    give: bool = False
    """Whether its faces are donors: laid on turned heads (scenes.turned) and put onto other faces (scenes.swapped).
    Its images must hold one upright frontal face each, and `paste` must not be 0."""
    largest: Rate | None = None
    """Width in pixels up to which its faces are scaled, for images of low resolution; default: scenes.face_px alone
    is the limit."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Source":
        if self.tight and (self.tile is None or self.show):
            raise ValueError("tight images need `tile` and cannot be shown: set `tile` and remove `show`")
        if not self.part[0] < self.part[1]:
            raise ValueError("part must be an increasing pair of shares, such as [0, 0.5]")
        return self


class Network(_Section):
    """Dimensions of the network, see network.py. Channels are fastest in multiples of 16, in blocks of 32."""

    channels: tuple[Positive, Positive, Positive, Positive, Positive] = (16, 32, 64, 96, 128)
    """Channels at strides 2, 4, 8, 16 and 32."""
    depths: tuple[Positive, Positive, Positive, Positive] = (1, 2, 2, 1)
    """Bottlenecks in the backbone's block at strides 4, 8, 16 and 32."""
    box_channels: Positive = 16
    """Hidden channels of the head's branch for boxes."""
    score_channels: Positive = 32
    """Hidden channels of the head's branch for scores."""
    landmark_channels: Positive = 48
    """Hidden channels of the head's branch for landmarks."""


class Scenes(_Section):
    """The images to train on: composed scenes, crops of labelled images, and images without faces."""

    side: Annotated[int, Field(ge=64, multiple_of=32)] = 320
    """Side of a square scene in pixels."""
    empty: Share = 0.12
    """Share of scenes without any face."""
    shown: Share = 0.35
    """Share of scenes that are crops of labelled images; the rest, without `empty`, have pasted faces."""
    faces: tuple[Positive, Positive] = (1, 14)
    """Fewest and most faces to paste into a scene that is not a crowd; low numbers are more frequent."""
    crowded: Share = 0.0
    """Share of scenes with pasted faces that are crowds: rows of small faces with hair and shoulders, in which the
    nearer people cover the farther ones."""
    face_px: tuple[Rate, Rate] = (6.0, 300.0)
    """Smallest and largest width of a face in pixels; widths are log-uniform between them. Faces may be larger than the
    scene, which then shows a part of them."""
    large: Share = 0.0
    """Share of the crops of labelled images that are close-ups: the face is from 0.4 to 1.1 times as wide as the scene,
    however much it is enlarged for that."""
    min_px: Rate = 5.0
    """Do not label faces whose box, cut at the border, has a side below this many pixels."""
    turned: Share = 0.25
    """Share of pasted faces that are donors laid on a turned 3D head; needs `heads`."""
    swapped: Share = 0.3
    """Share of the other pasted faces whose eyes, nose and mouth are replaced by a donor's, fitted by the landmarks;
    for shown faces it is 0.6 of this. Tight images are never changed."""


class Optimiser(_Section):
    """AdamW and its schedule: linear warm-up, then cosine decay."""

    learning_rate: Rate = 2e-3
    """Peak learning rate."""
    final_share: Share = 0.01
    """Learning rate at the last step, as a share of the peak."""
    warmup_steps: Annotated[int, Field(ge=0)] = 300
    """Steps of linear warm-up."""
    weight_decay: Weight = 0.02
    """Weight decay; not applied to biases and norms."""
    clip_norm: Rate = 10.0
    """Gradient norm to clip to, over all parameters."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the moving average of the weights, which is validated and exported in place of the weights."""


class Losses(_Section):
    """Weights of the losses."""

    box: Weight = 7.5
    """Weight of the box loss, 1 - CIoU."""
    score: Weight = 0.5
    """Weight of the score's cross-entropy."""
    sides: Weight = 1.5
    """Weight of the L1 loss on the distances to the four sides of the box."""
    landmarks: Weight = 3.0
    """Weight of the landmarks' loss (network.LandmarkLoss)."""
    seen: Weight = 0.1
    """Weight of the cross-entropy of each landmark's visibility: whether it is inside the image."""


class Run(_Section):
    """How to run the training on this machine."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where the network is trained. There is no fallback."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Precision of the convolutions; losses and weights stay fp32."""
    threads: Positive | None = None
    """CPU threads for the network; default: one per core."""
    loaders: Annotated[int, Field(ge=0)] = 1
    """Processes that compose scenes; 0: the training process composes them itself."""
    log_steps: Positive = 20
    """Steps between two lines of progress."""
    checkpoint_steps: Positive = 200
    """Steps between two checkpoints."""
    validate_steps: Positive = 500
    """Steps between two validations on `held_out`."""


class DetectorConfig(_Section):
    """A training of the detector."""

    out: Path
    """Folder of the run: labels, checkpoints, best weights, scalars."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2048
    """Seed of all random numbers."""
    images: Positive
    """Length of the training in scenes; divided by `batch`, in steps."""
    batch: Positive = 32
    """Scenes per step."""
    start_from: Path | None = None
    """Initial weights: a checkpoint (last.pt), whose moving average is loaded, or weights that were exported from one
    (best.pt, or the bundled yolo-face-nano.pt); default: an untrained network."""
    teachers: Annotated[tuple[Path, ...], Field(min_length=2)]
    """ONNX files of public detectors; a face that at least two of them find is labelled."""
    heads: Path | None = None
    """ICT-FaceKit's head model (.npz), on which donors' faces are turned; default: no turned faces."""
    backgrounds: tuple[Path, ...] = ()
    """Images without faces, files or folders, used in addition to drawn textures and the surroundings of faces."""
    packaged_backgrounds: tuple[str, ...] = ()
    """Backgrounds from installed Python packages: package/path, such as skimage/data/coffee.png."""
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    """Sources to train on, by a name of your choice."""
    held_out: dict[str, Source] = {}
    """Sources for validation, by which the best weights are chosen; they must not overlap `sources`. Default: export
    the last weights."""
    network: Network = Network()
    scenes: Scenes = Scenes()
    optimiser: Optimiser = Optimiser()
    losses: Losses = Losses()
    run: Run = Run()

    @model_validator(mode="after")
    def _holds_out(self) -> "DetectorConfig":
        if twice := sorted(set(self.sources) & set(self.held_out)):
            raise ValueError(f"{twice[0]} is listed under both `sources` and `held_out`; rename one of them")
        for held_name, held in self.held_out.items():
            for name, source in self.sources.items():
                apart = source.part[1] <= held.part[0] or held.part[1] <= source.part[0]
                divided = bool(source.where) and bool(held.where) and source.where != held.where
                if source.path == held.path and not apart and not divided:
                    raise ValueError(f"sources.{name} trains on images that held_out.{held_name} holds out")
        if not any(source.paste or source.show for source in self.sources.values()):
            raise ValueError("no source is used: set `paste` or `show` of at least one")
        return self

    @property
    def images_of(self) -> dict[str, Source]:
        """Return all sources to label, by name: those that are trained on and those held out."""
        return {name: source for name, source in self.sources.items() if source.paste or source.show} | self.held_out

    @property
    def steps(self) -> int:
        """Return the length of the training in steps, at least 1."""
        return max(1, self.images // self.batch)


def load_detector_config(path: Path, overrides: Mapping[str, Any]) -> DetectorConfig:
    """Read a training's YAML file and replace top-level settings by `overrides`. Raises ConfigError."""
    values = {**expand_environment(read_yaml(path), str(path)), **overrides}
    try:
        return DetectorConfig.model_validate(values)
    except ValidationError as error:
        problems = explain(error, model=DetectorConfig)
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n" + "\n".join(problems)) from error
