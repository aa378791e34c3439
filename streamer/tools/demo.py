"""Run the demonstration: a clip with real faces, live (file as camera, worker, gRPC subscriber), then recorded."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import grpc
import rich

from faceanalytics.errors import LostDependency
from faceanalytics.scratch import scratch_folder
from faceanalytics.v1 import (
    faces_pb2,
    streams_pb2,
    streams_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    tracks_pb2,
    tracks_pb2_grpc,
)
from streamer.api.server import Server
from streamer.app import LiveService
from streamer.config import Metrics, Store, StreamerConfig, split_address
from streamer.dispatch.worker_process import WorkerOptions, run_worker
from streamer.recorded.analysis import Analysis
from streamer.recorded.writer import VideoResult
from streamer.safety import Access
from streamer.source.file import VideoInfo
from streamer.tools.demo_clip import make_clip
from streamer.tools.watch import event_line, final_table, model_line

STREAM = "demo"
POLL_S = 0.3
PATIENCE_S = 120.0  # longest wait for the worker to load, and for the clip to play

log = logging.getLogger(__name__)


class Demo:
    """One demonstration with its results in the folder `out`."""

    def __init__(self, config: StreamerConfig, weights: str, out: Path, keep: bool = False) -> None:
        """`keep`: go on playing the clip as a camera afterwards, for a look at the dashboard."""
        self._config = config
        self._keep = keep
        self._worker = WorkerOptions(weights, "cpu", config.dispatch.batch)
        self._out = out
        self._running: LiveService | Analysis | None = None
        self._stopped = False

    def stop(self) -> None:
        """Stop the demonstration before its end."""
        self._stopped = True
        if self._running is not None:
            self._running.stop()

    async def run(self) -> int:
        """Play the clip through the live path, then analyse it as a recording. Returns the exit code."""
        self._out.mkdir(parents=True, exist_ok=True)
        clip = self._out / "clip.mp4"
        if not clip.exists():
            print(f"making the clip {clip} from photographs inside installed packages", flush=True)
            await asyncio.to_thread(make_clip, clip)
        if self._worker.weights == "untrained":
            print("SwinFace is UNTRAINED here: ages, expressions and attributes are noise.", flush=True)
            print("Faces, landmarks and tracks are real.", flush=True)
        elif self._worker.weights == "default":
            print("The bundled small face model describes the faces: expect rough answers.")
            print("Its measured accuracy is in docs/models/swinface-small.md.", flush=True)
        print("\nLive: the clip plays as a camera", flush=True)
        await self._play(clip)
        if self._stopped:
            return 0
        print("\nRecorded: the same clip as a file", flush=True)
        code = await self._record(clip)
        if self._keep and not self._stopped:
            print("\nLive again, in a loop, until you press Ctrl+C", flush=True)
            await self._play(clip, stay=True)
        return code

    async def _play(self, clip: Path, stay: bool = False) -> None:
        """Play the clip as a camera; `stay`: in a loop, with a store, until `stop`."""
        with scratch_folder() as folder:
            dispatch = self._config.dispatch.on_socket(folder / "workers")
            started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
            # the stream is added over gRPC, where paths must be below an allowed folder
            sources = self._config.sources.model_copy(update={"folders": (str(clip.parent),)})
            # it is its own client: on this machine, without certificate and token, and beside a streamer that runs
            listen = {"listen": "127.0.0.1:0", "tls": None, "insecure": False}
            web = self._config.web.model_copy(update={**listen, "listen": _usable(self._config.web.listen)})
            config = self._config.model_copy(
                update={
                    "dispatch": dispatch,
                    "sources": sources,
                    "web": web,
                    "store": Store(folder=str(folder / "store"), faces=True) if stay else None,
                    "sinks": (),
                    "publish": self._config.publish.model_copy(update=listen),
                    "access": Access(),
                    "metrics": Metrics(),
                }
            )
            live = LiveService(config, started.set_result)
            self._running = live
            async with asyncio.TaskGroup() as group:
                running = group.create_task(live.run())
                worker = group.create_task(run_worker(self._worker, dispatch.bind, asyncio.Queue()))
                futures: list[asyncio.Future[Any]] = [running, started]
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
                watching = group.create_task(self._watch(started.result(), clip, stay)) if started.done() else None
                if watching is not None:
                    watching.add_done_callback(lambda _: live.stop())
                await running
                worker.cancel()
                if watching is not None and self._stopped:
                    watching.cancel()

    async def _watch(self, server: Server, clip: Path, stay: bool) -> None:
        """Add the stream over gRPC and print the events, like any other subscriber. Raises LostDependency."""
        if server.dashboard:
            print(f"Look at it: {server.dashboard}", flush=True)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await server.wait_until_serving()
        except TimeoutError as error:
            raise LostDependency(f"the SwinFace worker was not ready within {PATIENCE_S:g} s; see its log") from error
        async with grpc.aio.insecure_channel(server.address) as channel:
            streams = streams_pb2_grpc.StreamServiceStub(channel)
            if stay:
                settings = streams_pb2.StreamSettings(uri=str(clip), loop=True)
                await streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id=STREAM, settings=settings))
                while not self._stopped:
                    await asyncio.sleep(POLL_S)
                return
            await _print_models(channel)
            watch = tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(tracks_pb2.WatchTracksRequest())
            await watch.initial_metadata()  # from here on no event is missed
            settings = streams_pb2.StreamSettings(uri=str(clip))
            await streams.CreateStream(streams_pb2.CreateStreamRequest(stream_id=STREAM, settings=settings))
            printing = asyncio.create_task(_print_events(watch))
            async with asyncio.timeout(PATIENCE_S):
                while not self._stopped:
                    answer = await streams.GetStream(streams_pb2.GetStreamRequest(stream_id=STREAM))
                    if answer.stream.state == streams_pb2.STREAM_STATE_ENDED:
                        break
                    await asyncio.sleep(POLL_S)
            self._running.stop() if self._running else None
            await printing

    async def _record(self, clip: Path) -> int:
        from streamer.recorded.annotate import annotate

        analysis = Analysis(self._config, self._worker, overwrite=True)
        self._running = analysis
        (result,) = await analysis.run([(clip, self._out)], _quietly)
        if not result.whole:
            return 5
        frames = await asyncio.to_thread(annotate, clip, self._out, self._out / "annotated.mp4", lambda: self._stopped)
        print(f"{result.tracks} tracks in {frames} frames, {result.crops} crops analysed. The results:")
        for name in ("tracks.jsonl", "observations.jsonl", "annotated.mp4"):
            print(f"  {self._out / name}")
        return 0


def _usable(listen: str | None) -> str | None:
    """Return the address of the dashboard, with another port if another streamer has it."""
    if listen is None:
        return None
    host, port = "127.0.0.1", split_address(listen)[1]
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((host, port))
        except OSError:
            port = 0
    return f"{host}:{port}"


async def _print_models(channel: grpc.aio.Channel) -> None:
    """Print the outputs and the licence of the worker's weights."""
    system = system_pb2_grpc.SystemServiceStub(channel)
    models = (await system.ListModels(system_pb2.ListModelsRequest())).models
    for model in models:
        print(f"face model {model_line(model)}", flush=True)
    if any(len(model.attributes) < len(faces_pb2.Attribute.values()) - 1 for model in models):
        print(
            "It was trained for these outputs only: other attributes are absent from messages and files, not guessed."
        )


async def _print_events(watch: AsyncIterable[tracks_pb2.WatchTracksResponse]) -> None:
    """Print one line per event as it happens, and a table of all tracks at the end of the watch."""
    ended: list[tracks_pb2.Track] = []
    async for event in watch:
        line = event_line(event)
        if line is not None:
            print(line, flush=True)
        if event.type == tracks_pb2.EVENT_TYPE_END:
            ended.append(event.track)
    rich.print(final_table(ended, "Tracks that the subscriber received"))


def _quietly(info: VideoInfo, result: VideoResult) -> None:
    """Show no progress: the clip is short."""
    del info, result
