"""One profiled run in a process of its own, for bench_pipeline.py; prints one line of JSON.

`recorded VIDEO FOLDER` analyses a video. `live CONFIG WORKER SECONDS` serves the cameras of a configuration to the
worker process of this number, and measures that long after the first seconds.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.configfile import load_config
from streamer.dispatch.worker_process import WorkerOptions
from tests.benchmarks.pipeline_stages import attach, children, process_s, profile
from tests.benchmarks.stage_clock import StageClock, Usage, difference

WARM_UP_S = 5.0  # after the first frame that a worker can be asked about


def recorded(video: Path, out: Path) -> dict[str, Any]:
    """Analyse a video from its first look into the file to the last result; loading is not counted."""
    from streamer.recorded.analysis import Analysis
    from streamer.recorded.video_analysis import VideoAnalysis

    clock, readings = StageClock(), list[tuple[Usage, float]]()
    attach(clock)
    run = VideoAnalysis.run

    async def timed(self: VideoAnalysis, *arguments: Any) -> None:
        worker = children()
        readings.append((clock.usage(), sum(map(process_s, worker))))
        await run(self, *arguments)
        readings.append((clock.usage(), sum(map(process_s, worker))))

    VideoAnalysis.run = timed  # type: ignore[assignment,method-assign]
    analysis = Analysis(StreamerConfig(), WorkerOptions("default"), overwrite=True)
    (result,) = asyncio.run(analysis.run([(video, out)], lambda info, result: None))
    assert result.whole, result.problem
    (before, worker_before), (after, worker_after) = readings
    usage = difference(before, after)
    return {
        "frames": result.frames,
        "seconds": usage.wall,
        "crops": result.crops,
        "stages": profile(usage, worker_after - worker_before, result.frames),
    }


def live(path: Path, worker: int, seconds: float) -> dict[str, Any]:
    """Serve cameras and measure for some seconds."""
    from streamer.app import LiveService

    clock = StageClock()
    attach(clock)
    config = load_config(path)
    service = LiveService(config)
    found: dict[str, Any] = {}

    async def measure() -> None:
        while not (metrics.workers_alive._value.get() and _analysed()):
            await asyncio.sleep(0.1)
        await asyncio.sleep(WARM_UP_S)
        before, worker_before, count = clock.usage(), process_s(worker), _counts()
        await asyncio.sleep(seconds)
        usage, worker_s = difference(before, clock.usage()), process_s(worker) - worker_before
        counts = {name: value - count[name] for name, value in _counts().items()}
        found.update(counts, seconds=usage.wall, cameras=len(config.streams))
        found["stages"] = profile(usage, worker_s, counts["frames"])
        service.stop()

    async def run() -> None:
        await asyncio.gather(service.run(), measure())

    asyncio.run(run())
    return found


def _analysed() -> int:
    return sum(total.analysed for total in metrics.stream_totals().values())


def _counts() -> dict[str, int]:
    totals = metrics.stream_totals().values()
    dropped = sum(count for total in totals for reason, count in total.dropped.items() if reason in OVERLOAD)
    return {"frames": sum(total.decoded for total in totals), "analysed": _analysed(), "overload": dropped}


OVERLOAD = ("newer", "overload")  # reasons of frames that were wanted and dropped for lack of time

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    kind, *rest = sys.argv[1:]
    done = (
        recorded(Path(rest[0]), Path(rest[1]))
        if kind == "recorded"
        else live(Path(rest[0]), int(rest[1]), float(rest[2]))
    )
    print(json.dumps(done), flush=True)
