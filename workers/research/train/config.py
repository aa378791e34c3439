"""All that a training may be told, on one page. Unknown keys are errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml
from workers.research.data.options import ResolvedPath
from workers.research.data.published import Published
from workers.research.data.sets import SetConfig, load_sets
from workers.swinface.labels import ATTRIBUTES, OUTPUTS
from workers.swinface.precisions import Precision

Augmentation = Literal["published", "camera", "flip", "none"]
Learnt = Literal[
    "identity", "age", "gender", "attributes", "expression", "embedding", "expression_scores"
]  # fields of face_set.Labels
DISTILLED = ("distillation", "expression_distillation")  # losses against teachers
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Model(_Section):
    """Numbers of the network, see workers/swinface/model.py; those of the paper by default."""

    patch_size: Positive = 2
    """Pixels."""
    channels: tuple[Positive, ...] = (96, 192, 384, 768)
    """Of each stage; multiples of head_channels, each twice the one before."""
    depths: tuple[Positive, ...] = (2, 2, 6, 2)
    """Blocks of each stage."""
    head_channels: Positive = 32
    """Of one attention head."""
    mlp_ratio: Positive = 4
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Chance that the last block is skipped in training; it grows linearly from 0."""
    fused_channels: tuple[Positive, ...] = (47, 93, 186, 186)
    """What a subnet makes of each stage's level; their sum is its width."""
    gate_reduction: Positive = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """In the subnets, in training."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Model":
        stages = len(self.channels)
        if len(self.depths) != stages or len(self.fused_channels) != stages:
            raise ValueError("channels, depths and fused_channels need one number for each stage")
        if sum(self.depths) < 2:
            raise ValueError("depths must be two blocks at least")
        if any(self.channels[0] * 2**index != count for index, count in enumerate(self.channels)):
            raise ValueError("each of channels must be twice the one before")
        if self.channels[0] % self.head_channels:
            raise ValueError(f"channels must be multiples of head_channels, {self.head_channels}")
        side = 112 // self.patch_size
        if 112 % self.patch_size or side != 7 * 2 ** (stages - 1):
            raise ValueError(
                f"{stages} stages need patches of {16 / 2 ** (stages - 1):g} pixels: their last map must be 7x7"
            )
        if sum(self.fused_channels) < self.gate_reduction:
            raise ValueError(f"fused_channels must sum to gate_reduction, {self.gate_reduction}, at least")
        return self


class Part(_Section):
    """A part of a stream: sets that are mixed as they are, with one share together."""

    sets: Annotated[tuple[str, ...], Field(min_length=1)]
    share: Share = 1.0
    """Of the stream's faces."""


class StreamConfig(_Section):
    """Faces for one kind of learning; each step takes `batch` of every stream."""

    batch: Positive
    """Faces per process and step."""
    learns: Annotated[tuple[Learnt, ...], Field(min_length=1)]
    """Kinds of labels that are learnt from this stream; others that its sets may have are not used."""
    mix: Annotated[tuple[Part, ...], Field(min_length=1)]
    augment: Augmentation = "published"
    """published: mirrored, RandAugment, a rectangle erased; camera: what cameras do to a face; flip: mirrored; none:
    as it is."""

    @field_validator("mix")
    @classmethod
    def _has_each_set_once(cls, value: tuple[Part, ...]) -> tuple[Part, ...]:
        names = [name for part in value for name in part.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands more than once: its people would be taken for others")
        return value


class Recognition(_Section):
    """CosFace with Partial FC."""

    margin: Weight = 0.4
    """Taken from the cosine to the face's own person."""
    scale: Rate = 64.0
    """Of the cosines before the softmax."""
    sample_rate: Share = 0.3
    """Part of the persons that a step compares with, besides those of its faces."""


class Teachers(_Section):
    """Networks that are asked about the mixed faces of each step, which no file can know of."""

    recogniser: ResolvedPath | None = None
    """SwinFace's own .safetensors or .pt, or a .param of ncnn; its embeddings are learnt."""
    expressions: ResolvedPath | None = None
    """SwinFace's own, or the .hdf5 of mini-XCEPTION; learnt in the streams that learn expression_scores."""


class Optimiser(_Section):
    """AdamW."""

    learning_rate: Rate = 5e-4
    """Highest, for 512 faces per step over all processes; it and the two others are scaled with the real number."""
    backbone_factor: Rate = 0.1
    """The backbone's rate is this times the others'; 1 when it starts untrained."""
    warmup_steps: Annotated[int, Field(ge=0)] = 8000
    warmup_learning_rate: Rate = 5e-7
    """At step 0."""
    final_learning_rate: Rate = 5e-6
    """At the last step, of every group."""
    weight_decay: Weight = 0.05
    """Not of biases, norms and tables of relative positions."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    clip_norm: Rate = 5.0
    """Largest norm of the gradient of each part of the network: backbone, fam, tss, heads."""
    average: Decay | None = None
    """Decay, per step, of a moving average of the weights, which is then what is validated and kept as best; none:
    the weights are, as they are."""


class Validate(_Section):
    """What the best weights are chosen by: sets that are neither trained on nor test sets."""

    every_steps: Positive = 2000
    sets: tuple[str, ...] = ()
    batch: Positive = 64
    """Faces at once."""
    most: Positive | None = None
    """Faces of each set, drawn by the seed and the same each time; none: all."""


class Run(_Section):
    device: Literal["cpu", "cuda"] = "cuda"
    """Each process takes the GPU of its LOCAL_RANK. There is no fallback."""
    precision: Precision = "bf16"
    """Of the matrix products; weights and losses stay fp32. fp16 scales the loss, for GPUs without bf16."""
    threads: Positive | None = None
    """Of each process on a CPU; none: the cores shared among the processes of this machine."""
    loaders: Annotated[int, Field(ge=0)] = 8
    """Processes that prepare images, for each training process; 0: it does that itself."""
    log_steps: Positive = 10
    checkpoint_steps: Positive = 4000
    keep: Positive = 3
    """Newest checkpoints that are kept; the best weights are kept besides."""


class TrainConfig(_Section):
    out: ResolvedPath
    """Folder of the run: checkpoints, best weights, scalars."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2048
    steps: Positive = 80_000
    licence: str = "not stated"
    """Under which terms the weights may be used; goes into their card."""
    start_from: str | None = None
    """Weights to begin with, a file or a registered name; what they lack starts untrained. None: everything does."""
    model: Model = Model()
    sets: dict[str, SetConfig]
    """Labelled faces by a name of your own; see docs/training.md for the formats."""
    missing_sets: Literal["stop", "leave_out"] = "stop"
    """A set whose path is not there stops the training, or is left out with the tasks that it alone would teach."""
    streams: Annotated[dict[str, StreamConfig], Field(min_length=1)]
    leave_out: tuple[str, ...] = ()
    """Outputs that are not to be learnt, by slug; `attributes` means all 40."""
    weights: dict[str, Weight] = {}
    """Factors of the losses by slug, 1 by default; `attributes` means each of the 40 without one of its own,
    `distillation` the loss against a teacher's embeddings, `expression_distillation` that against its expressions."""
    age_loss: Literal["published", "absolute"] = "published"
    """published: squared at first, bounded at the end; absolute: the absolute error, squared below a year."""
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.0
    """So many faces are added to each one of a step: two of a stream laid over each other, with the labels of both."""
    teachers: Teachers = Teachers()
    recognition: Recognition = Recognition()
    optimiser: Optimiser = Optimiser()
    validate_by: Validate = Field(Validate(), alias="validate")
    run: Run = Run()

    @field_validator("leave_out", "weights")
    @classmethod
    def _are_outputs(cls, value: Any, field: ValidationInfo) -> Any:
        known = ("attributes", *OUTPUTS, *(DISTILLED if field.field_name == "weights" else ()))
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"there is no output {', '.join(unknown)}; known are {', '.join(known)}")
        return value

    @model_validator(mode="after")
    def _names_its_sets(self) -> "TrainConfig":
        trained = {name for stream in self.streams.values() for part in stream.mix for name in part.sets}
        if unknown := sorted((trained | set(self.validate_by.sets)) - set(self.sets)):
            raise ValueError(f"no such set under `sets`: {', '.join(unknown)}")
        if both := sorted(trained & set(self.validate_by.sets)):
            raise ValueError(f"both trained on and validated with: {', '.join(both)}")
        if test := [name for name in sorted(trained | set(self.validate_by.sets)) if is_test(self.sets[name])]:
            raise ValueError(
                f"{', '.join(test)}: a test set is only for `swinface evaluate`; hold out a part of the training set "
                "for validation, with `keep`"
            )
        for held in self.validate_by.sets:
            if same := [name for name in sorted(trained) if _overlap(self.sets[name], self.sets[held])]:
                raise ValueError(
                    f"{held} validates with faces that {same[0]} trains on: give both the same `keep`, one the part "
                    "`train` and the other `validation`"
                )
        if not self.mixup and self.teachers != Teachers():
            raise ValueError("teachers are asked about mixed faces: say `mixup` too, such as 1, or leave them out")
        if sum("identity" in stream.learns for stream in self.streams.values()) > 1:
            raise ValueError("only one stream can learn identity; put all sets with persons into its mix")
        return self

    def weight(self, slug: str) -> float:
        """Factor of a task's loss."""
        common = self.weights.get("attributes", 1.0) if slug in {task.slug for task in ATTRIBUTES} else 1.0
        return self.weights.get(slug, common)


def load_train_config(path: Path, overrides: Mapping[str, Any]) -> TrainConfig:
    """The training that a YAML file describes, under `overrides` of whole top-level settings. Raises ConfigError.

    Relative paths are resolved against the current directory, ~ and ${VARIABLE} are expanded.
    """
    sets = load_sets(path)
    values = {**expand_environment(read_yaml(path), str(path)), **overrides, "sets": sets}
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {error.error_count()} problem(s)\n" + "\n".join(explain(error))) from error


def _overlap(trained: SetConfig, held: SetConfig) -> bool:
    """Whether two sets are the same files, and not the two parts of one division."""
    unlike = {"split", "labels", "images", "exclude", "teacher"}
    if trained.model_dump(exclude=unlike) != held.model_dump(exclude=unlike):
        return False
    if trained.split is None or held.split is None:
        return True
    divided = trained.split.model_dump(exclude={"part"}) == held.split.model_dump(exclude={"part"})
    return not divided or trained.split.part == held.split.part


def is_test(config: SetConfig) -> bool:
    """Whether a set has faces of the part of a benchmark that results are reported on."""
    parts = {*getattr(config, "parts", ()), *getattr(config, "usage", ()), getattr(config, "part", None)}
    everything = isinstance(config, Published) and config.holds == "raf" and config.part is None
    return everything or bool(parts & {"test", "PrivateTest"})
