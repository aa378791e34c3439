"""Keeps the settings that a job was added with, so that its results do not depend on when it runs."""

import json
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from streamer.config import StreamerConfig
from streamer.configfile import DECIDING
from streamer.privacy import Mode, strictest

NEEDED = {*DECIDING, "privacy", "sources", "dispatch"}  # without cameras, whose addresses have passwords
FOREVER_S = 1e9  # cameras go first, so that a job may wait long for the answer to a batch
SILENT_S = 60.0  # the streamer's loop may be busy


def frozen(config: StreamerConfig) -> str:
    """Return the settings that decide the results of a job, as JSON."""
    return json.dumps(config.model_dump(mode="json", include=NEEDED))


def thawed(text: str, socket: Path, batch: int, mode: Mode = Mode.IDENTITY) -> tuple[dict[str, Any], int]:
    """Return the settings for the process of a job, and its batch size; workers are those behind `socket`.

    `batch`: the present dispatch.batch. `mode`: the present privacy.mode, which holds if that of the job is less
    strict. Raises ConfigError if batches would be cut.
    """
    data: dict[str, Any] = json.loads(text)
    own = int(data["dispatch"]["batch"])
    if own > batch:
        raise ConfigError(
            f"dispatch.batch is {batch} now and was {own} when the job was added: set it back, or add the job again"
        )
    privacy = data.setdefault("privacy", {})
    privacy["mode"] = strictest(Mode(privacy.get("mode", Mode.IDENTITY)), mode).value
    if privacy["mode"] == Mode.AGGREGATE_ONLY:
        data["gallery"]["folder"] = None
    waits = {"answer_within_s": FOREVER_S, "worker_silent_s": SILENT_S}
    data["dispatch"] |= {"bind": f"ipc://{socket}", "keys": None, "insecure": False, "model": None, **waits}
    return data, own
