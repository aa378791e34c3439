"""Weights by name: downloads from a real server, and what is refused."""

import hashlib
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from faceanalytics.errors import ModelError
from workers.cli import main
from workers.swinface.card import card_path
from workers.swinface.checkpoint import load, save_own
from workers.swinface.model import SwinFace, SwinFaceConfig
from workers.weights import registry
from workers.weights.registry import entry, find, verify

UNSTATED = "yolov8-lite-t-face"  # its source states no sum
STATED = "yolov8n-face"
BY_HAND = "swinface-official"
CONTENT = b"weights " * 40_000


class Files(BaseHTTPRequestHandler):
    """/file, /other, /short (ends before its length), /page (HTML), /away (leads to an unencrypted address)."""

    def do_GET(self) -> None:
        content = {"/file": CONTENT, "/short": CONTENT, "/page": b"<html>", "/other": b"other"}.get(self.path)
        if content is None and self.path != "/away":
            self.send_error(404)
            return
        self.send_response(302 if content is None else 200)
        if content is None:
            self.send_header("Location", "http://" + self.headers["Host"].replace("127.0.0.1", "0.0.0.0") + "/file")
            content = b""
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path == "/short" else content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server of `Files`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(registry.FOLDER_VARIABLE, str(tmp_path / "downloads"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "downloads"


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose bundled face model is a small one; its file."""
    monkeypatch.setattr(registry, "INSTALLATION", tmp_path)
    path = tmp_path / "workers" / "weights" / "swinface-small.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    tiny = SwinFaceConfig(patch_size=8, channels=(32, 64), depths=(1, 1), fused_channels=(8, 16), gate_reduction=4)
    save_own(SwinFace(tiny, ("recognition", "age")).eval(), path, {"source": "x", "licence": "y", "metrics": {}})
    return path


def weights(*arguments: str) -> int:
    return main(["weights", *arguments])


def test_the_sum_of_a_first_download_is_recorded_and_from_then_on_required(
    server: str, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert weights("pull", UNSTATED, "--url", f"{server}/file") == 0
    assert f"sha256 {digest} recorded" in capsys.readouterr().out
    file = downloads / "yolov8-lite-t-face.onnx"
    assert file.read_bytes() == CONTENT
    assert (downloads / f"{file.name}.sha256").read_text() == f"{digest}  {file.name}\n"  # as sha256sum -c reads it
    assert weights("pull", UNSTATED, "--url", f"{server}/none") == 0
    assert "already downloaded" in capsys.readouterr().out
    assert weights("path", UNSTATED) == 0
    assert capsys.readouterr().out == f"{file}\n"

    file.write_bytes(b"swapped")
    for action in ("verify", "path", "pull"):
        assert weights(action, UNSTATED) == 4
    said = capsys.readouterr()
    assert f"expected {digest} (recorded at the first download)" in said.out
    assert "damaged or has been replaced" in said.err

    file.unlink()
    assert weights("pull", UNSTATED, "--url", f"{server}/other") == 4
    assert "If its makers have replaced the file and you trust them, delete" in capsys.readouterr().err
    assert [path.name for path in downloads.iterdir()] == [f"{file.name}.sha256"]


@pytest.mark.parametrize(
    ("name", "address", "code", "message"),
    [
        (STATED, "{server}/file", 4, "cdd2c25 (stated by its source)"),
        (UNSTATED, "{server}/short", 4, "the connection ended after 160000 of 320000 bytes"),
        (UNSTATED, "{server}/page", 4, "is a web page, not a weights file"),
        (UNSTATED, "{server}/none", 4, "the server answers 404"),
        (UNSTATED, "{server}/away", 4, "which is not encrypted"),
        (UNSTATED, "http://127.0.0.1:{closed}/file", 4, "Connection refused. Check the network"),
        (UNSTATED, "http://example.com/file", 2, "the address must begin with https://"),
        (UNSTATED, "file:///etc/hostname", 2, "the address must begin with https://"),
        ("swinface-small", "{server}/file", 2, "comes with the project; check it with"),
        ("swinface-large", "{server}/file", 2, "there are no weights called swinface-large: known are yolo-face-nano"),
    ],
)
def test_a_download_that_fails_says_why_and_leaves_nothing(
    name: str, address: str, code: int, message: str, server: str, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        assert weights("pull", name, "--url", address.format(server=server, closed=closed)) == code
    assert message in " ".join(capsys.readouterr().err.split())
    assert not downloads.exists() or not list(downloads.iterdir())


def test_a_file_that_only_a_browser_gets_is_asked_for_and_taken_from_its_place(
    downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = downloads / "checkpoint_step_79999_gpu_0.pt"
    for action in ("pull", "path"):
        assert weights(action, BY_HAND) == 4
        assert f"put the file at {file}, then run: swinface weights verify {BY_HAND}" in capsys.readouterr().err
    downloads.mkdir()
    file.write_bytes(CONTENT)
    assert weights("verify") == 0  # the bundled ones and this one
    assert "recorded: the source states none" in capsys.readouterr().out
    assert find(BY_HAND) == str(file)
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match=r"damaged or has been replaced: .* delete it, then it must be"):
        find(BY_HAND)


def test_the_list_has_terms_and_source_of_each(downloads: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("list") == 0
    said = capsys.readouterr().out
    for name, listed in registry.registry().items():
        assert f"{name}: {listed.what}, " in said
        assert f"terms: {listed.terms}" in said
        assert f"source: {listed.source}" in said
    assert f"{BY_HAND}: face model, not on this machine" in said


def test_the_bundled_face_model_is_the_default_and_says_its_terms(
    installation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cv2.imwrite(str(tmp_path / "face.png"), np.full((112, 112, 3), 120, np.uint8))
    assert main(["infer", "--threads", "1", str(tmp_path / "face.png")]) == 0
    assert "age_years" in capsys.readouterr().out
    line = "face model swinface-small: research and evaluation only, because of the data; trained by this project"
    assert [record.getMessage().startswith(line) for record in caplog.records].count(True) == 1


@pytest.mark.parametrize("fault", ["damaged", "swapped card", "no card", "missing"])
def test_a_bundled_face_model_that_is_not_as_its_card_says_is_refused(
    fault: str, installation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(installation.read_bytes())
    content[-1] ^= 1
    if fault == "damaged":
        installation.write_bytes(content)
    elif fault == "swapped card":
        card_path(installation).write_text("{}")
    else:
        (installation if fault == "missing" else card_path(installation)).unlink()
    cv2.imwrite(str(tmp_path / "face.png"), np.zeros((112, 112, 3), np.uint8))
    assert main(["infer", str(tmp_path / "face.png")]) == 4
    assert "Reinstall the project" in capsys.readouterr().err


def test_names_stand_for_face_models_only_and_paths_stay_paths(installation: Path) -> None:
    assert find("default") == find("swinface-small") == str(installation)
    for path in ("untrained", "nowhere/swinface-small.pt", "./swinface-small"):
        assert find(path) == path
    with pytest.raises(ModelError, match="is a detector, not a face model"):
        find("yolo-face-nano")
    assert verify("swinface-small") == "sha256 matches (from its card)"
    assert entry("swinface-small").path == installation


def test_weights_stored_in_half_precision_are_computed_in_fp32(installation: Path) -> None:
    model, _ = load(str(installation))
    half = installation.with_name("half.safetensors")
    save_own(model.half(), half, {"source": "x", "licence": "y", "metrics": {}})
    assert half.stat().st_size < 0.6 * installation.stat().st_size
    loaded, _ = load(str(half))
    assert {tensor.dtype for tensor in loaded.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].to(tensor.dtype))
