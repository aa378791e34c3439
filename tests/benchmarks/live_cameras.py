"""Cameras, a worker and a subscriber for the benchmarks of the live streamer, as processes of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.benchmarks.camera_clips import make_crowd, make_empty
from tests.end_to_end.programs import Program

CROWD, EMPTY = "crowd", "empty"


@dataclass(frozen=True, slots=True)
class Site:
    """A server of cameras and the configuration of a streamer that reads them."""

    folder: Path
    server: Program
    port: str

    @property
    def bind(self) -> str:
        """Where the workers are."""
        return f"ipc://{self.folder}/workers"

    def config(self, cameras: int, only: str = "", **settings: object) -> Path:
        """Write a configuration with this number of cameras, half of them empty, or all of one kind."""
        kinds = [only or (EMPTY, CROWD)[number % 2] for number in range(cameras)]
        streams = [
            {"id": f"{kind}-{number}", "uri": f"rtsp://127.0.0.1:{self.port}/{kind}"}
            for number, kind in enumerate(kinds)
        ]
        data = {
            "streams": streams,
            "dispatch": {"bind": self.bind},
            "publish": {"listen": "127.0.0.1:0"},
            "store": {"folder": str(self.folder / "store")},
            **settings,
        }
        path = self.folder / "serve.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    def worker(self) -> Program:
        """Start a worker with the bundled weights."""
        return Program("workers.serve", "--connect", self.bind, "--weights", "default", "--device", "cpu")


@contextmanager
def site(folder: Path, clips: Mapping[str, Path] | None = None) -> Iterator[Site]:
    """Serve the two clips, made here unless they are given, by RTSP."""
    if clips is None:
        clips = {EMPTY: folder / "empty.mp4", CROWD: folder / "crowd.mp4"}
        make_empty(clips[EMPTY])
        make_crowd(clips[CROWD])
    mounts = [word for name, path in clips.items() for word in ("--mount", f"{name}={path}")]
    with Program("tests.support.rtsp_server", "--port", "0", *mounts) as server:
        yield Site(folder, server, server.wait_for(r"ready (\d+)").group(1))
