"""Train the roll network: `DATA=... python -m workers.research.roll.train configs/train-roll.yaml`."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faceanalytics.errors import UserError
from streamer.values import Bytes, Floats
from workers.research.roll.compose import Composer
from workers.research.roll.config import RollConfig, load_roll_config
from workers.research.roll.faces import Upright, read_backgrounds, read_source
from workers.research.roll.network import RollNet, write_onnx

LOG_STEPS = 100
CHECKED = 2048  # crops of each held-out source
SURE = 0.6  # confidence from which a crop counts as sure in the report

log = logging.getLogger(__name__)


def train(config: RollConfig) -> None:
    """Train, report on the held-out faces and write face-roll-nano.onnx. Raises InputError, ModelError."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)  # the next crops are composed beside it
    config.out.mkdir(parents=True, exist_ok=True)
    backgrounds = read_backgrounds(config.backgrounds)
    pools = [(read_source(source), source.weight) for source in config.sources.values()]
    log.info("%s faces, %d backgrounds", [len(faces) for faces, _ in pools], len(backgrounds))
    composer = Composer(config, pools, backgrounds)
    model = RollNet()
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps, pct_start=0.05)
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool, (config.out / "scalars.jsonl").open("w") as scalars:
        ahead = pool.submit(_batch, composer, config, 0)
        for step in range(config.steps):
            crops, directions = ahead.result()
            ahead = pool.submit(_batch, composer, config, step + 1)
            loss = (model(crops) - directions).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if (step + 1) % LOG_STEPS == 0:
                scalars.write(json.dumps({"step": step + 1, "loss": loss.item()}) + "\n")
                log.info("step %d of %d, loss %.4f, %.0f s", step + 1, config.steps, loss, time.monotonic() - begun)
    for name, source in config.held_out.items():
        log.info("%s: %s", name, judge(model, config, read_source(source), backgrounds))
    write_onnx(model, config.out / "face-roll-nano.onnx")


def judge(model: RollNet, config: RollConfig, faces: list[Upright], backgrounds: list[Bytes]) -> dict[str, float]:
    """Return errors in degrees, and shares, of composed crops of held-out faces."""
    composer = Composer(config.model_copy(update={"nobody": 0.0, "upright": 0.0}), [(faces, 1.0)], backgrounds)
    crops, directions = _stacked([composer.draw(np.random.default_rng((config.seed, 7, n))) for n in range(CHECKED)])
    with torch.no_grad():
        found = model.eval()(crops).numpy()
    true = directions.numpy()
    error = np.degrees(np.abs(np.angle((found @ [1, 1j]) * np.conj(true @ [1, 1j]))))
    sure = np.hypot(*found.T) >= SURE
    return {
        "median": round(float(np.median(error)), 2),
        "sure": round(float(sure.mean()), 4),
        "sure_over_30": round(float((sure & (error > 30)).mean()), 5),
        "over_30": round(float((error > 30).mean()), 4),
    }


def _batch(composer: Composer, config: RollConfig, step: int) -> tuple[Tensor, Tensor]:
    draws = (np.random.default_rng((config.seed, step, row)) for row in range(config.batch))
    return _stacked([composer.draw(draw) for draw in draws])


def _stacked(drawn: list[tuple[Bytes, Floats]]) -> tuple[Tensor, Tensor]:
    crops = torch.from_numpy(np.stack([crop for crop, _ in drawn])[:, None]).float()
    return crops, torch.from_numpy(np.stack([direction for _, direction in drawn]))


def main(given: Sequence[str] | None = None) -> int:
    """Run the training with these arguments (default: those of the process) and return the exit code."""
    parser = argparse.ArgumentParser(description="Train the network that estimates the roll of faces.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see configs/train-roll.yaml")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: `out` of CONFIG)")
    arguments = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides: dict[str, Any] = {"out": arguments.out} if arguments.out else {}
    try:
        train(load_roll_config(arguments.config, overrides))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
