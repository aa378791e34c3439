"""Recorded analysis of several files in one run: what the detector and the worker wait for, and how full batches are.

Nine short clips of one face each (sign language, 2 to 4 s) are analysed in one run, in which they overlap, and each in
a run of its own, where loading does not count. `detector busy` is the share of the time from the first frame to the
last result in which frames are searched for faces, tracked and their crops chosen; `worker busy` is that in which the
worker computes a batch. `full` is the share of the places in batches of `dispatch.batch` that hold a crop; two of the
batches of a run are of images without content, which are analysed at its beginning.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from streamer.config import StreamerConfig
from streamer.dispatch.worker_process import WorkerOptions
from streamer.observe import Observer
from streamer.recorded.analysis import Analysis
from streamer.recorded.video_analysis import VideoAnalysis
from tests.benchmarks.long_recording import SIGNERS
from tests.conftest import shared_folder

PREFIX = "faceanalytics_"


class _Watched:
    """One run of an analysis, whose times are noted from outside."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0  # s, of the first video and of the last one
        self.observing = 0.0  # s

    def run(self, videos: list[tuple[Path, Path]]) -> dict[str, float]:
        """Analyse videos and return what was counted."""
        observe, analyse = Observer.observe, VideoAnalysis.run
        watched, before = self, _counts()

        def observed(self: Observer, *arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return observe(self, *arguments)
            finally:
                watched.observing += time.perf_counter() - start

        async def analysed(self: VideoAnalysis, *arguments: Any) -> None:
            watched.began = watched.began or time.perf_counter()
            await analyse(self, *arguments)
            watched.ended = time.perf_counter()

        Observer.observe, VideoAnalysis.run = observed, analysed  # type: ignore[assignment,method-assign]
        try:
            options = WorkerOptions("default")
            results = asyncio.run(Analysis(StreamerConfig(), options, overwrite=True).run(videos, lambda *_: None))
        finally:
            Observer.observe, VideoAnalysis.run = observe, analyse  # type: ignore[method-assign]
        assert all(result.whole for result in results), [result.problem for result in results]
        found = {name: value - before[name] for name, value in _counts().items()}
        frames = sum(result.frames for result in results)
        return found | {"seconds": self.ended - self.began, "observing": self.observing, "frames": frames}


def _counts() -> dict[str, float]:
    names = {"crops": "dispatch_batch_crops_sum", "batches": "dispatch_batch_crops_count"}
    counts = {name: REGISTRY.get_sample_value(PREFIX + metric) or 0.0 for name, metric in names.items()}
    busy = REGISTRY.get_sample_value(PREFIX + "inference_seconds_sum", {"stage": "swinface"})
    return counts | {"computing": busy or 0.0}


def measure() -> dict[str, Any]:
    """Analyse the clips together and one by one. The results are the same, but for the templates of several."""
    clips = [shared_folder() / "data/clips/asl" / f"{name}.mkv" for name in SIGNERS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        together = _Watched().run([(clip, folder / "together" / clip.stem) for clip in clips])
        alone = [_Watched().run([(clip, folder / "alone" / clip.stem)]) for clip in clips]
        same = all(
            path.read_bytes() == (folder / "alone" / path.parent.name / path.name).read_bytes()
            for path in (folder / "together").rglob("*.jsonl")
        )
    return {
        "together": together,
        "alone": {name: sum(run[name] for run in alone) for name in together},
        "same": same,
        "batch": StreamerConfig().dispatch.batch,
    }


def table(results: dict[str, Any]) -> str:
    """The results of `measure` as text."""
    lines = []
    for name, title in (("together", "in one run"), ("alone", "one by one")):
        run = results[name]
        lines.append(
            f"{title:12}{run['frames'] / run['seconds']:6.1f} frames/s   "
            f"detector busy {run['observing'] / run['seconds']:4.0%}   "
            f"worker busy {run['computing'] / run['seconds']:4.0%}   {run['batches']:.0f} batches, "
            f"{run['crops'] / run['batches'] / results['batch']:.0%} full"
        )
    lines.append(f"the results are {'the same' if results['same'] else 'DIFFERENT'}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
