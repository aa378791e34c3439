"""What works without the extras, and what is said where one is needed: the packages are kept from being imported."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from faceanalytics.extras import MissingPackage, require
from streamer.dispatch.worker_process import WORKER_PACKAGES
from tests.conftest import ROOT
from tests.end_to_end.programs import Program
from tests.support.patience import WAIT_S
from tests.support.videos import make_video
from workers.cli import NEEDS

EXTRA_PACKAGES = (
    *(
        "torch",
        "safetensors",
        "openvino",
        "ultralytics",
        "onnx",
        "onnxscript",
        "pillow_heif",
        "pyarrow",
        "pandas",
        "polars",
    ),
    *("timm", "tensorboard", "matplotlib", "skimage"),
)
DISTRIBUTIONS = {
    "pillow_heif": "pillow-heif",
    "skimage": "scikit-image",
}  # package -> what is installed, if it is called otherwise
SLIM = f"""
import sys
for name in {EXTRA_PACKAGES!r}:
    sys.modules[name] = None  # as if it were not installed
sys.argv[0] = "program"
from {{package}}.cli import main
sys.exit(main())
"""


def slim(package: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """`streamer` or `swinface` (package `workers`) as it is after `pip install faceanalytics` without any extra."""
    command = [sys.executable, "-c", SLIM.format(package=package), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "short.mp4", frames=10)


def test_the_bundled_detector_needs_no_extra(video: Path) -> None:
    done = slim("streamer", "detect", video)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 10


def test_images_need_no_extra_but_heic(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 48), (10, 20, 30, 40))
    for name in ("a.png", "a.webp", "a.avif", "a.tif"):
        image.save(tmp_path / name)
    image.convert("RGB").save(tmp_path / "a.jpg")
    pillow_heif.register_heif_opener()
    image.save(tmp_path / "b.heic")
    done = slim("streamer", "detect", tmp_path)
    assert done.returncode == 5, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert "b.heic: HEIC images need pillow-heif" in done.stderr
    assert "pip install 'faceanalytics[images]'" in done.stderr


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_faster_precision_of_the_detector_names_its_extra(precision: str, video: Path) -> None:
    done = slim("streamer", "detect", video, "--detector-precision", precision)
    assert done.returncode == 2, done.stderr
    assert f"detect.precision {precision}: openvino is not installed" in done.stderr
    assert "pip install 'faceanalytics[openvino]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["streamer", "workers"])
def test_help_needs_no_extra(package: str) -> None:
    assert slim(package, "--help").returncode == 0


def test_a_recording_needs_no_extra_if_the_worker_is_elsewhere(
    video: Path, patches: Path, worker: Program, endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(f"dispatch: {{bind: '{endpoint}'}}\n")
    arguments = ("--config", tmp_path / "config.yaml", "--detector", patches / "detector.onnx", "--external-workers")
    done = slim("streamer", "analyze", patches / "one.mp4", "--out", tmp_path / "slim", *arguments)
    assert done.returncode == 0, done.stderr + worker.text
    whole = Program("streamer", "analyze", patches / "one.mp4", "--out", tmp_path / "whole", *arguments)
    assert whole.wait() == 0, whole.text
    for name in ("tracks.jsonl", "observations.jsonl", "summary.json"):
        assert (tmp_path / "slim" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_recording_says_at_once_that_its_worker_needs_an_extra(video: Path, tmp_path: Path) -> None:
    done = slim("streamer", "analyze", video, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "pip install 'faceanalytics[worker]' (or use --external-workers)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["pt", "onnx"])
def test_another_pose_model_names_the_extra_of_ultralytics(kind: str, video: Path, patches: Path) -> None:
    bundled = ROOT / "streamer" / "detect" / "weights" / "yolo-face-nano.pt"
    done = slim("streamer", "detect", video, "--detector", bundled if kind == "pt" else patches / "pose.onnx")
    assert done.returncode == 2, done.stderr
    assert "pip install 'faceanalytics[ultralytics]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("streamer", ["demo", "--out", "{folder}"], "demo"),
        ("workers", ["worker", "--connect", "tcp://127.0.0.1:1"], "worker"),
        ("workers", ["infer", "image.jpg"], "worker"),
        ("workers", ["convert", "a.pt", "b.safetensors"], "worker"),
        ("workers", ["export", "--format", "onnx", "x.onnx"], "export"),
        ("workers", ["data", "check", "sets.yaml"], "evaluate"),
        ("workers", ["evaluate", "lfw", "--weights", "untrained", "--bin", "lfw.bin"], "evaluate"),
        ("workers", ["train", "train.yaml"], "train"),
        ("workers", ["curves", "run", "out.png"], "train"),
        ("workers", ["train-detector", "detector.yaml"], "train"),
        ("workers", ["quantise-detector", "detector.yaml", "face.onnx", "int8.onnx"], "quantise"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    package: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    done = slim(package, *(text.format(folder=tmp_path / "out") for text in arguments))
    assert done.returncode == 2, done.stderr
    assert f"pip install 'faceanalytics[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_an_extra_is_named_for_is_installed_by_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def distributions(extra: str) -> set[str]:
        found: set[str] = set()
        for requirement in extras[extra]:
            if requirement.startswith("faceanalytics["):
                for inner in requirement.removeprefix("faceanalytics[").removesuffix("]").split(","):
                    found |= distributions(inner)
            else:
                found.add(requirement.partition(">=")[0])
        return found

    for extra, *packages in [*NEEDS.values(), ("worker", *WORKER_PACKAGES)]:
        assert {DISTRIBUTIONS.get(name, name) for name in packages} <= distributions(extra), extra
    missed = {DISTRIBUTIONS.get(name, name) for name in EXTRA_PACKAGES} - distributions("all")
    assert missed == set()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require("worker", "torch", use="a test")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingPackage, match=r"a test: torch is not installed: pip install 'faceanalytics\[worker\]'"):
        require("worker", "torch", "numpy", use="a test")
    with pytest.raises(MissingPackage, match="torch, timm are not installed"):
        require("train", "torch", "timm", use="a test")
