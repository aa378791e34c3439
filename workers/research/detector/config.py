"""All that a training of the detector may be told, on one page. Unknown keys are errors."""

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
    """Images or a video, to be labelled by the teachers."""

    path: Path
    """An image, a folder of images, a video (or .gif), or Parquet with encoded images in the column `image`."""
    where: Mapping[str, Value] = {}
    """Of Parquet, only rows with these values."""
    part: tuple[Share, Share] = (0.0, 1.0)
    """Of the rows, files or frames, only those between these shares of the whole."""
    every: Positive = 1
    """Of those, only each so many-th."""
    tile: Annotated[int, Field(ge=16, le=304)] | None = None
    """Small images: labelled many at once, side by side, each scaled to so many pixels."""
    tight: bool = False
    """Images cut out so closely that each is one face: such are pasted only, never shown as they are."""
    paste: Weight = 0.0
    """How often its faces are pasted into scenes, relative to the other sources."""
    show: Weight = 0.0
    """How often its images are shown as they are, in crops, relative to the other sources."""
    give: bool = False
    """Whether its faces, upright and seen from the front, are set into those of other images (scenes.swapped)."""
    largest: Rate | None = None
    """Pixels: its faces are not pasted larger than this, for images of few pixels."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Source":
        if self.tight and (self.tile is None or self.show):
            raise ValueError("tight images need `tile`, and cannot be shown: leave out `show`")
        if not self.part[0] < self.part[1]:
            raise ValueError("part must be an increasing pair of shares, such as [0, 0.5]")
        return self


class Network(_Section):
    """Sizes of the network, see network.py. Multiples of 16 are computed fastest, of 32 within the blocks."""

    channels: tuple[Positive, Positive, Positive, Positive, Positive] = (16, 32, 64, 96, 128)
    """At strides 2, 4, 8, 16 and 32."""
    depths: tuple[Positive, Positive, Positive, Positive] = (1, 2, 2, 1)
    """Bottlenecks at strides 4, 8, 16 and 32."""
    box_channels: Positive = 16
    score_channels: Positive = 32
    landmark_channels: Positive = 48


class Scenes(_Section):
    """The images that are trained on."""

    side: Annotated[int, Field(ge=64, multiple_of=32)] = 320
    """Pixels."""
    empty: Share = 0.12
    """Of the scenes, without any face."""
    shown: Share = 0.35
    """Of the scenes, crops of labelled images as they are; the others are composed."""
    faces: tuple[Positive, Positive] = (1, 14)
    """Fewest and most faces pasted into a composed scene; few are more frequent."""
    crowded: Share = 0.0
    """Of the composed scenes, crowds: rows of small faces with hair and shoulders, the nearer before the farther."""
    face_px: tuple[Rate, Rate] = (6.0, 300.0)
    """Least and largest width of a face, drawn from the logarithm."""
    min_px: Rate = 5.0
    """Smaller faces are not labelled."""
    turned: Share = 0.25
    """Of the pasted faces, those laid on a three-dimensional head and turned (needs `heads`)."""
    swapped: Share = 0.3
    """Of the faces of untight images, those that get another face's inner part by the landmarks."""


class Optimiser(_Section):
    """AdamW with a linear warm-up, then a cosine to `final_share`."""

    learning_rate: Rate = 2e-3
    final_share: Share = 0.01
    warmup_steps: Annotated[int, Field(ge=0)] = 300
    weight_decay: Weight = 0.02
    clip_norm: Rate = 10.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the weights, which is what is validated and exported."""


class Losses(_Section):
    """Factors: of 1 - CIoU, of the score, of the box's sides, of the landmarks and of whether they are there."""

    box: Weight = 7.5
    score: Weight = 0.5
    sides: Weight = 1.5
    landmarks: Weight = 3.0
    seen: Weight = 0.1


class Run(_Section):
    device: Literal["cpu", "cuda"] = "cpu"
    """There is no fallback."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of the convolutions; losses and weights stay fp32."""
    threads: Positive | None = None
    """Of the network on a CPU; none: one per core."""
    loaders: Annotated[int, Field(ge=0)] = 1
    """Processes that compose scenes; 0: the training itself does."""
    log_steps: Positive = 20
    checkpoint_steps: Positive = 200
    validate_steps: Positive = 500


class DetectorConfig(_Section):
    out: Path
    """Folder of the run: labels, checkpoints, best weights, scalars."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2048
    images: Positive
    """Scenes to train on, all together."""
    batch: Positive = 32
    start_from: Path | None = None
    """A checkpoint whose averaged weights are begun with; none: untrained."""
    teachers: Annotated[tuple[Path, ...], Field(min_length=2)]
    """ONNX files of public detectors whose agreement is the label."""
    heads: Path | None = None
    """ICT-FaceKit's head and its shapes (.npz), on which faces are turned."""
    backgrounds: tuple[Path, ...] = ()
    """Images without faces, files or folders, beside the built-in textures and what lies beside the faces."""
    packaged_backgrounds: tuple[str, ...] = ()
    """The same out of installed Python packages, such as skimage/data/coffee.png."""
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    held_out: dict[str, Source] = {}
    """Never trained on; the best weights are chosen by them."""
    network: Network = Network()
    scenes: Scenes = Scenes()
    optimiser: Optimiser = Optimiser()
    losses: Losses = Losses()
    run: Run = Run()

    @model_validator(mode="after")
    def _holds_out(self) -> "DetectorConfig":
        if twice := sorted(set(self.sources) & set(self.held_out)):
            raise ValueError(f"{twice[0]} is the name of a source and of something held out")
        for held_name, held in self.held_out.items():
            for name, source in self.sources.items():
                apart = source.part[1] <= held.part[0] or held.part[1] <= source.part[0]
                divided = bool(source.where) and bool(held.where) and source.where != held.where
                if source.path == held.path and not apart and not divided:
                    raise ValueError(f"sources.{name} trains on what held_out.{held_name} holds out")
        if not any(source.paste or source.show for source in self.sources.values()):
            raise ValueError("no source has a weight: give `paste` or `show` to some")
        return self

    @property
    def images_of(self) -> dict[str, Source]:
        """All that is to be labelled: the sources that are used, and what is held out."""
        return {name: source for name, source in self.sources.items() if source.paste or source.show} | self.held_out

    @property
    def steps(self) -> int:
        return max(1, self.images // self.batch)


def load_detector_config(path: Path, overrides: Mapping[str, Any]) -> DetectorConfig:
    """The training that a YAML file describes, under `overrides` of whole top-level settings. Raises ConfigError."""
    values = {**expand_environment(read_yaml(path), str(path)), **overrides}
    try:
        return DetectorConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {error.error_count()} problem(s)\n" + "\n".join(explain(error))) from error
