"""Results of a recording in the privacy mode aggregate_only: one file of counts, without tracks.

The usual files are written to a temporary folder that only their owner can read, and are gone when the counts are made.
A run that is stopped gives the counts up to there, and begins again the next time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from faceanalytics.errors import ConfigError
from faceanalytics.files import write_json
from faceanalytics.scratch import scratch_folder
from streamer.camera_aggregates import Tally
from streamer.config import StreamerConfig
from streamer.privacy import Mode
from streamer.recorded.filenames import AGGREGATES
from streamer.recorded.writer import VideoResult

SHOWN = ("version", "source", "part", "start_time", "start_time_source", "detector", "model_id", "config_hash")


def check_mode(config: StreamerConfig, files: dict[str, bool]) -> None:
    """Raise ConfigError if files are asked for that a privacy mode does not allow; `files`: by option."""
    mode = config.privacy.mode
    forbidden = {"--embeddings"} if mode is Mode.PSEUDONYMOUS else set(files) if mode is Mode.AGGREGATE_ONLY else set()
    asked = [name for name, wanted in files.items() if wanted and name in forbidden]
    if asked:
        raise ConfigError(f"{', '.join(asked)}: not in the privacy mode {mode} (privacy.mode)")


@asynccontextmanager
async def elsewhere(result: VideoResult, overwrite: bool) -> AsyncIterator[None]:
    """Let results be written to a temporary folder during the body, of which only the counts are left then."""
    out = result.folder
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ConfigError(f"--out: {out} is not empty; choose another folder, or replace the counts with --overwrite")
    with scratch_folder() as folder:
        result.folder = folder / "results"
        try:
            yield
        finally:
            result.folder, result.recording, result.people = out, None, 0


def write_counts(out: Path, config: StreamerConfig, header: dict[str, Any], result: VideoResult) -> None:
    """Write the counts of a video whose tracks have ended. Raises ConfigError."""
    settings, tallies = config.privacy, dict[int, Tally]()
    for summary in result.ended:
        if not summary.merged_into:
            tallies.setdefault(int(summary.last.time // settings.aggregate_s), Tally()).add(summary)
    last = int(result.media_time // settings.aggregate_s)
    intervals = []
    for place in range(last + 1):
        start = place * settings.aggregate_s
        times = {"start_s": start, "end_s": min(start + settings.aggregate_s, result.media_time)}
        intervals.append({**times, **tallies.get(place, Tally()).record(settings)})
    content = {
        "type": "aggregates",
        **{name: header[name] for name in SHOWN if name in header},
        "aggregate_s": settings.aggregate_s,
        "min_tracks": settings.min_tracks,
        "frames": result.frames,
        "complete": result.whole,
        "intervals": intervals,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out: cannot make the folder {out}: {error.strerror}") from error
    write_json(out / AGGREGATES, content)
