"""Train the face detector: `swinface train-detector`."""

import copy
import json
import logging
import pickle
import time
from importlib import import_module
from math import cos, pi
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.files import replacing, writing
from streamer.detect.offline import import_ultralytics
from streamer.detect.ultralytics_pose import NO_CHECKPOINT
from workers.research.detector.config import DetectorConfig
from workers.research.detector.export import save_pose, write_onnx
from workers.research.detector.labels import Labelled, label_all, labelled
from workers.research.detector.loader import Batch, batches
from workers.research.detector.network import LandmarkLoss, build, parameters
from workers.research.detector.score import score
from workers.research.train.stop import StopRequest, stop_on_signals
from workers.research.train.writing import save_tensors

log = logging.getLogger(__name__)

LAST, BEST, SCALARS = "last.pt", "best.pt", "scalars.jsonl"
LOSSES = ("box", "landmarks", "seen", "score", "sides")


def train_detector(config: DetectorConfig, resume: bool) -> int:
    """Train as configured and return the exit code: 0, or 128 + signal number if a signal stopped it.

    `resume`: continue from last.pt in `out`; otherwise `out` must not have one.
    Raises ConfigError, InputError, ModelError.
    """
    last = config.out / LAST
    if resume and not last.exists():
        raise ConfigError(f"--resume last: there is no {last}; leave out --resume to start a new training")
    if last.exists() and not resume:
        raise ConfigError(f"{config.out} already holds a training ({LAST}): use --resume last, or another `out`")
    device = _device(config)
    label_all(config)
    held_out = {name: labelled(config, name, source) for name, source in config.held_out.items()}
    saved = torch.load(last, map_location="cpu", weights_only=True) if resume else None
    step = int(saved["step"]) if saved else 0
    scenes = batches(config, step)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, device, saved)
    log.info("%d parameters, step %d of %d", parameters(trainer.model), step, config.steps)
    with stop_on_signals() as stop_request:
        return _run(trainer, scenes, held_out, stop_request)


def _device(config: DetectorConfig) -> torch.device:
    if config.run.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("run.device is cuda, but torch finds no GPU: check the driver, or set `device: cpu`")
    return torch.device("cuda", 0) if config.run.device == "cuda" else torch.device("cpu")


def _run(trainer: "Trainer", scenes: Any, held_out: dict[str, list[Labelled]], stop_request: StopRequest) -> int:
    """Take all remaining steps, export the best weights and return the exit code."""
    config = trainer.config
    config.out.mkdir(parents=True, exist_ok=True)
    begun, first = time.monotonic(), trainer.step
    with writing(config.out / SCALARS), (config.out / SCALARS).open("a") as scalars:

        def report(**values: Any) -> None:
            scalars.write(json.dumps({"step": trainer.step, **values}) + "\n")
            scalars.flush()

        while trainer.step < config.steps and not stop_request.signal:
            losses = trainer.take(next(scenes))
            if trainer.step % config.run.log_steps == 0:
                speed = (trainer.step - first) * config.batch / (time.monotonic() - begun)
                report(rate=trainer.rate, images_per_second=round(speed, 1), **losses)
                log.info("step %d of %d, %.1f images/s, %s", trainer.step, config.steps, speed, losses)
            done = trainer.step == config.steps
            if held_out and (done or trainer.step % config.run.validate_steps == 0):
                scored, by_source = score(trainer.average, held_out, trainer.device)
                report(
                    **{name: getattr(scored, name) for name in scored.__slots__},
                    selection_score=scored.selection_score,
                    **by_source,
                )
                log.info("step %d: %s %s", trainer.step, scored, by_source)
                if scored.selection_score >= trainer.best:
                    trainer.best = scored.selection_score
                    save_pose(trainer.average, config.out / BEST)
            if done or trainer.step % config.run.checkpoint_steps == 0:
                trainer.save(config.out / LAST)
    if stop_request.signal:
        trainer.save(config.out / LAST)
        log.info("stopped after step %d; --resume last continues from there", trainer.step)
        return stop_request.exit_code
    if not held_out:
        save_pose(trainer.average, config.out / BEST)
    write_onnx(config.out / BEST, config.out / "yolo-face-nano.onnx")
    return 0


class Trainer:
    """The network, its moving average and the optimiser."""

    def __init__(self, config: DetectorConfig, device: torch.device, saved: dict[str, Any] | None) -> None:
        self.config, self.device = config, device
        self.model = build(config.network)
        if config.start_from and saved is None:
            _load_weights(self.model, config.start_from)
        self.model.to(device, memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.step, self.best, self.rate = 0, float("-inf"), 0.0
        weights = config.losses
        self.model.args = SimpleNamespace(
            box=weights.box, cls=weights.score, dfl=weights.sides, pose=weights.landmarks, kobj=weights.seen
        )
        self._criterion: Any = import_module("ultralytics.utils.loss").v8PoseLoss(self.model)
        self._criterion.keypoint_loss = LandmarkLoss()
        decayed = [value for value in self.model.parameters() if value.dim() > 1]
        plain = [value for value in self.model.parameters() if value.dim() <= 1]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.optimiser.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=config.optimiser.learning_rate,
        )
        if saved is not None:
            self._restore(saved)

    def take(self, batch: Batch) -> dict[str, float]:
        """Take one step and return the losses by name."""
        self.rate = _rate(self.config, self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate
        images = batch.images.to(self.device, non_blocking=True).float().div_(255)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.run.precision == "bf16"):
            found = self.model(images.contiguous(memory_format=torch.channels_last))
        found = {name: value if name == "feats" else value.float() for name, value in found.items()}
        wanted = {
            "batch_idx": batch.owners,
            "cls": torch.zeros(len(batch.owners), 1),
            "bboxes": batch.boxes,
            "keypoints": batch.landmarks,
        }
        total, parts = self._criterion(found, {name: value.to(self.device) for name, value in wanted.items()})
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total.sum() / len(images))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimiser.clip_norm)
        self._optimiser.step()
        self.step += 1
        self._follow()
        return {name: round(float(value), 4) for name, value in zip(LOSSES, parts.values(), strict=True)}

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the moving average of the weights; it follows faster in the first steps."""
        decay = min(self.config.optimiser.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value.to(mean.dtype), 1 - decay)
            else:
                mean.copy_(value)

    def save(self, path: Path) -> None:
        """Write a checkpoint, from which a training can resume. Raises ConfigError."""
        content = {
            "step": self.step,
            "best": self.best,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        with writing(path), replacing(path) as partial:
            save_tensors(content, partial)

    def _restore(self, saved: dict[str, Any]) -> None:
        """Continue from the content of a checkpoint. Raises ConfigError."""
        try:
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            self._optimiser.load_state_dict(saved["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"the checkpoint does not fit the configured network: {error}") from error
        self.step, self.best = int(saved["step"]), float(saved["best"])


def _load_weights(model: Any, path: Path) -> None:
    """Load a checkpoint's moving average, or exported weights. Raises ConfigError if they do not fit the model."""
    try:
        model.load_state_dict(_averages(path))
    except (OSError, *NO_CHECKPOINT) as error:
        what = "neither a checkpoint (last.pt) nor exported weights (best.pt) of this network"
        raise ConfigError(f"start_from: {path} is {what}: {error}") from error


def _averages(path: Path) -> Any:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # exported weights name the classes of ultralytics
        content = {}
    if "average" in content:
        return content["average"]
    return import_ultralytics().YOLO(str(path), task="pose").model.float().state_dict()


def _rate(config: DetectorConfig, step: int) -> float:
    """Return the learning rate: linear warm-up, then a cosine down to the final share at the last step."""
    options = config.optimiser
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, config.steps - options.warmup_steps)
    return options.learning_rate * (options.final_share + (1 - options.final_share) * 0.5 * (1 + cos(pi * done)))
