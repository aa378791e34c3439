"""Define the configuration of a training. Unknown keys are errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from faceanalytics.errors import ConfigError
from faceanalytics.settings import expand_environment, explain, read_yaml, with_changes
from workers.research.data.options import ResolvedPath
from workers.research.data.published import Published
from workers.research.data.sets import SetConfig, parse_sets
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
    """Dimensions of the network, see workers/swinface/model.py; the paper's by default."""

    patch_size: Positive = 2
    """Side of a patch in pixels."""
    channels: tuple[Positive, ...] = (96, 192, 384, 768)
    """Channels of each stage: multiples of head_channels, each twice the one before."""
    depths: tuple[Positive, ...] = (2, 2, 6, 2)
    """Blocks of each stage."""
    head_channels: Positive = 32
    """Channels of one attention head."""
    mlp_ratio: Positive = 4
    """Width of a block's MLP as a multiple of its channels."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Probability of skipping the last block in training; it grows linearly from 0 at the first block."""
    fused_channels: tuple[Positive, ...] = (47, 93, 186, 186)
    """Channels that a subnet computes from each stage; their sum is the width of the subnet."""
    gate_reduction: Positive = 16
    """Factor by which the hidden layer of a subnet's gate is narrower than the subnet."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout rate of the subnets in training."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Model":
        stages = len(self.channels)
        if len(self.depths) != stages or len(self.fused_channels) != stages:
            raise ValueError("channels, depths and fused_channels need one number for each stage")
        if sum(self.depths) < 2:
            raise ValueError("depths must sum to at least two blocks")
        if any(self.channels[0] * 2**index != count for index, count in enumerate(self.channels)):
            raise ValueError("each of channels must be twice the one before")
        if self.channels[0] % self.head_channels:
            raise ValueError(f"channels must be multiples of head_channels, {self.head_channels}")
        side = 112 // self.patch_size
        if 112 % self.patch_size or side != 7 * 2 ** (stages - 1):
            raise ValueError(
                f"{stages} stages need patches of {16 / 2 ** (stages - 1):g} pixels: the last map must be 7x7"
            )
        if sum(self.fused_channels) < self.gate_reduction:
            raise ValueError(f"fused_channels must sum to at least gate_reduction, {self.gate_reduction}")
        return self


class Part(_Section):
    """Sets that are concatenated and together have one share of a stream."""

    sets: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the sets."""
    share: Share = 1.0
    """Share of the stream's faces. The shares of a stream are scaled to sum to 1."""


class StreamConfig(_Section):
    """A stream of faces for some tasks; each step takes `batch` faces of every stream."""

    batch: Positive
    """Faces per process and step."""
    learns: Annotated[tuple[Learnt, ...], Field(min_length=1)]
    """Labels to learn from this stream; other labels of its sets are ignored."""
    mix: Annotated[tuple[Part, ...], Field(min_length=1)]
    """The sets of the stream and their shares."""
    augment: Augmentation = "published"
    """Augmentation of the images. published: mirroring, RandAugment, random erasing; camera: degradations typical of
    cameras; flip: mirroring only; none."""

    @field_validator("mix")
    @classmethod
    def _has_each_set_once(cls, value: tuple[Part, ...]) -> tuple[Part, ...]:
        names = [name for part in value for name in part.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is listed more than once: its people would count as different people")
        return value


class Recognition(_Section):
    """The recognition loss: CosFace with Partial FC."""

    margin: Weight = 0.4
    """CosFace margin, subtracted from the cosine to the face's own person."""
    scale: Rate = 64.0
    """Scale of the cosines before the softmax."""
    sample_rate: Share = 0.3
    """Share of all persons that each step compares its faces with; persons in the batch are always included."""


class Teachers(_Section):
    """Teacher networks for the mixed faces of `mixup`, whose outputs cannot be computed in advance."""

    recogniser: ResolvedPath | None = None
    """Teacher of embeddings: SwinFace weights (.safetensors, .pt), or an ncnn .param beside its .bin."""
    expressions: ResolvedPath | None = None
    """Teacher of expressions, for streams that learn expression_scores: SwinFace weights, or the .hdf5 of
    mini-XCEPTION."""


class Optimiser(_Section):
    """AdamW and its schedule: linear warm-up, then cosine decay."""

    learning_rate: Rate = 5e-4
    """Peak learning rate for 512 faces per step over all processes. All learning rates are scaled in proportion to the
    actual number of faces."""
    backbone_factor: Rate = 0.1
    """Factor of the backbone's learning rate; use 1 for an untrained backbone."""
    warmup_steps: Annotated[int, Field(ge=0)] = 8000
    """Steps of linear warm-up."""
    warmup_learning_rate: Rate = 5e-7
    """Learning rate at step 0."""
    final_learning_rate: Rate = 5e-6
    """Learning rate of all parameters at the last step."""
    weight_decay: Weight = 0.05
    """Weight decay; not applied to biases, norms and relative position tables."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """AdamW's decay rates of the two moments."""
    clip_norm: Rate = 5.0
    """Gradient norm to clip to, separately for backbone, fam, tss and heads."""
    average: Decay | None = None
    """Decay per step of a moving average of the weights, which is validated and kept as best in place of the weights;
    default: no average."""


class Validate(_Section):
    """Validation, by which the best weights are chosen."""

    every_steps: Positive = 2000
    """Steps between two validations."""
    sets: tuple[str, ...] = ()
    """Names of the validation sets: neither training sets nor test sets."""
    batch: Positive = 64
    """Faces per batch."""
    max_faces: Positive | None = None
    """Most faces of each set, drawn with the seed and the same each time; default: all."""


class Run(_Section):
    """How to run the training on this machine; these settings may change when a run is resumed."""

    device: Literal["cpu", "cuda"] = "cuda"
    """With cuda each process uses the GPU of its LOCAL_RANK. There is no fallback."""
    precision: Precision = "bf16"
    """Precision of matrix products; weights and losses stay fp32. fp16 uses loss scaling, for GPUs without bf16."""
    threads: Positive | None = None
    """CPU threads per process; default: the cores divided among the processes of this machine."""
    loaders: Annotated[int, Field(ge=0)] = 8
    """Image loading processes per training process; 0: the training process loads images itself."""
    log_steps: Positive = 10
    """Steps between two lines of progress."""
    checkpoint_steps: Positive = 4000
    """Steps between two checkpoints."""
    keep: Positive = 3
    """Number of newest checkpoints to keep; the best weights are kept in addition."""


class TrainConfig(_Section):
    out: ResolvedPath
    """Folder of the run: checkpoints, best weights, scalars."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 2048
    """Seed of all random numbers."""
    steps: Positive = 80_000
    """Length of the training in steps."""
    licence: str = "not stated"
    """Terms of use of the weights, written into their card."""
    start_from: str | None = None
    """Initial weights, a file or a registered name; parts that they lack start untrained. Default: all parts do."""
    model: Model = Model()
    sets: dict[str, SetConfig]
    """Sets of labelled faces by a name of your choice; see docs/training.md for the formats."""
    missing_sets: Literal["stop", "leave_out"] = "stop"
    """If a set's path does not exist: stop, or leave out the set and the tasks that only it has labels for."""
    streams: Annotated[dict[str, StreamConfig], Field(min_length=1)]
    """Streams of faces by a name of your choice."""
    leave_out: tuple[str, ...] = ()
    """Outputs not to learn, by slug; `attributes` stands for all 40."""
    weights: dict[str, Weight] = {}
    """Loss weights by slug, 1 by default. `attributes` stands for each of the 40 that is not listed itself,
    `distillation` for the loss against a teacher's embeddings, `expression_distillation` for that against its
    expressions."""
    age_loss: Literal["published", "absolute"] = "published"
    """published: squared error that becomes bounded towards the end; absolute: absolute error, quadratic below one
    year."""
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Number of mixed faces added per face of a step: two faces of a stream blended, with the labels of both."""
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
            raise ValueError(f"unknown output {', '.join(unknown)}; known are {', '.join(known)}")
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
                "for validation with `split`"
            )
        for held in self.validate_by.sets:
            if same := [name for name in sorted(trained) if _overlap(self.sets[name], self.sets[held])]:
                raise ValueError(
                    f"{held} validates with faces that {same[0]} trains on: give both the same `split`, one the part "
                    "`train` and the other `validation`"
                )
        if not self.mixup and self.teachers != Teachers():
            raise ValueError("teachers need mixed faces: set `mixup`, such as 1, or remove `teachers`")
        if sum("identity" in stream.learns for stream in self.streams.values()) > 1:
            raise ValueError("only one stream can learn identity; put all sets with identities into its mix")
        return self

    def weight(self, slug: str) -> float:
        """Return the weight of a task's loss."""
        common = self.weights.get("attributes", 1.0) if slug in {task.slug for task in ATTRIBUTES} else 1.0
        return self.weights.get(slug, common)


def load_train_config(path: Path, overrides: Mapping[str, Any], changed: Sequence[str] = ()) -> TrainConfig:
    """Read a training's YAML file and replace settings: those of `changed`, then the top-level ones of `overrides`.

    `changed`: texts such as `run.threads=2`. Relative paths are resolved against the current directory, ~ and
    ${VARIABLE} are expanded. Raises ConfigError.
    """
    settings = with_changes(read_yaml(path), changed, "--set")
    values = {**expand_environment(settings, str(path)), **overrides, "sets": parse_sets(settings, path)}
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        problems = explain(error, model=TrainConfig)
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n" + "\n".join(problems)) from error


def _overlap(trained: SetConfig, held: SetConfig) -> bool:
    """Return whether two sets read the same files without being the two parts of one split."""
    ignored = {"split", "labels", "images", "exclude", "teacher"}
    if trained.model_dump(exclude=ignored) != held.model_dump(exclude=ignored):
        return False
    if trained.split is None or held.split is None:
        return True
    same_split = trained.split.model_dump(exclude={"part"}) == held.split.model_dump(exclude={"part"})
    return not same_split or trained.split.part == held.split.part


def is_test(config: SetConfig) -> bool:
    """Return whether a set includes the test part of a benchmark."""
    parts = {*getattr(config, "parts", ()), *getattr(config, "usage", ()), getattr(config, "part", None)}
    everything = isinstance(config, Published) and config.holds == "raf" and config.part is None
    return everything or bool(parts & {"test", "PrivateTest"})
