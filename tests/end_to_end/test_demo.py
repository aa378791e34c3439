"""`streamer demo`, what a newcomer sees first, with a clip and models made here."""

import json
import re
from pathlib import Path

import pytest
import torch

from streamer.cli import main
from tests.end_to_end.programs import Program
from tests.support.certificates import issue
from tests.support.patch_detector import make_patch_video
from workers.swinface.checkpoint import save_own
from workers.swinface.model import SwinFace, SwinFaceConfig


@pytest.mark.slow
def test_the_demo_names_the_outputs_of_its_face_model_and_leaves_out_the_rest(tmp_path: Path, patches: Path) -> None:
    torch.manual_seed(0)
    tiny = SwinFaceConfig(patch_size=8, channels=(32, 64), depths=(1, 1), fused_channels=(8, 16), gate_reduction=4)
    weights = tmp_path / "tiny.safetensors"
    card = {"source": "a test", "licence": "for tests only", "metrics": {}}
    save_own(SwinFace(tiny, ("age", "gender")).eval(), weights, card)
    out = tmp_path / "out"
    out.mkdir()
    make_patch_video(out / "clip.mp4", seconds=2, faces=2)
    # a configuration of a streamer that others reach, which may run at the same time
    server = issue(tmp_path, "server", issue(tmp_path, "ca"))
    settings = {
        "publish": {"listen": "0.0.0.0:1", "tls": {"certificate": str(server.path), "key": str(server.key_path)}},
        "access": {"folder": str(tmp_path / "access")},
        "metrics": {"listen": "127.0.0.1:1"},
    }
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(settings))
    assert main(["tokens", "create", "--config", str(config), "--name", "a", "--scope", "read"]) == 0
    arguments = ("--out", out, "--detector", patches / "detector.onnx", "--weights", weights, "--config", config)
    with Program("streamer", "demo", *arguments) as program:
        assert program.wait() == 0, program.text  # live, then recorded, each with a worker
    assert "age, male; 1 worker; for tests only" in program.text
    assert "other attributes are absent from messages and files" in program.text
    assert not re.search(r"appears \w", program.text)  # no noise for the expression, which it does not have
    assert "Traceback" not in program.text
    _, *tracks = [json.loads(line) for line in (out / "tracks.jsonl").read_text().splitlines()]
    assert len(tracks) == 2
    assert all(track["age"] and not track.get("expression") for track in tracks)
    assert (out / "annotated.mp4").stat().st_size > 0
