"""docs/python.md is true: its examples run, one after the other, with real files, workers and a real streamer."""

import asyncio
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest

import faceanalytics as fa
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc
from tests.conftest import ROOT
from tests.end_to_end.programs import Program, address_of, free_port
from tests.support.patience import until
from tests.support.photographs import make_face_clip, portrait

PAGE = ROOT / "docs" / "python.md"
ADDRESS = "127.0.0.1:50051"  # as the page has it
CLIP_S = 15.0  # a camera does not wait: on a busy machine the first seconds are over before the tracker is there


def examples() -> list[tuple[int, str]]:
    """Line and code of each example."""
    text = PAGE.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)), match.group(1)) for match in found]


@pytest.fixture
def streamer(folder: Path, tmp_path: Path) -> Iterator[str]:
    """The address of `streamer serve`, which follows the clip as a camera once somebody watches."""
    config = tmp_path / "serve.yaml"
    metrics = f"127.0.0.1:{free_port()}"
    config.write_text(
        f"publish: {{listen: '127.0.0.1:0'}}\ndispatch: {{bind: 'ipc://{tmp_path}/w'}}\n"
        f"metrics: {{listen: '{metrics}'}}\nsources: {{folders: ['{tmp_path}']}}\n"
        f"store: {{folder: '{tmp_path}/store'}}\n"
    )
    with (
        Program("streamer", "serve", "--config", config) as program,
        Program("workers.serve", "--connect", f"ipc://{tmp_path}/w"),
    ):
        address = address_of(program)
        clip = make_face_clip(tmp_path / "door.mp4", seconds=CLIP_S)
        program.wait_for("worker .* connected")

        def is_watched() -> bool:
            with urlopen(f"http://{metrics}/metrics") as page:
                return "faceanalytics_subscribers 1.0" in page.read().decode()

        def add() -> None:
            until(is_watched, "a subscriber")
            with grpc.insecure_channel(address) as channel:
                settings = streams_pb2.StreamSettings(uri=str(clip))
                request = streams_pb2.CreateStreamRequest(stream_id="door", settings=settings)
                streams_pb2_grpc.StreamServiceStub(channel).CreateStream(request)

        adding = threading.Thread(target=add)
        adding.start()
        yield address
        adding.join()


def test_the_examples_run(
    folder: Path, streamer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "people", tmp_path / "people")
    shutil.copy(folder / "clip.mp4", tmp_path)
    shutil.copy(portrait(), tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    watching, asking, people = (code.replace(ADDRESS, streamer) for _, code in examples() if ADDRESS in code)
    # it runs first, because it begins before the stream does
    exec(compile(f"import faceanalytics as fa\n{watching}", "watch", "exec"), {})
    calls: dict[str, Any] = {"fa": fa}
    exec(compile(asking.replace("door.mp4", str(tmp_path / "door.mp4")), "calls", "exec"), calls)
    asyncio.run(calls["main"]())
    exec(compile(people, "people", "exec"), {"fa": fa})
    for line, code in examples():
        if ADDRESS not in code:
            exec(compile("\n" * line + code, str(PAGE), "exec"), names)
    out = capsys.readouterr().out
    assert "0 faces now; 0 vanished in a gap of None s" in out
    assert re.search(r"door \d+ CONFIRMED None", out)
    assert re.search(r"door \d+ END_OF_FILE Age\(", out)
    assert re.search(r"^True \['swinface-\w+'\]$", out, re.MULTILINE)
    assert re.search(r"^yard \w+ 5\.0$", out, re.MULTILINE)
    assert "yard END_OF_FILE" in out
    assert "appears happiness" in out
    assert "1.00 s: face 1 at [" in out
    assert "eileen" in out
    assert "nowhere.mp4: no such file" in out
    assert "IDENTIFIED Eileen" in out
    assert re.search(r"^1 \[None\]$", out, re.MULTILINE)  # the reference of a person of the streamer
    assert names["similarity"] == pytest.approx(1, abs=1e-4)
    assert isinstance(names["result"], fa.Results)
