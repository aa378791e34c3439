"""Who may import whom, and what may not be paid for before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMON = {"values", "errors", "config", "configfile", "metrics", "handover", "lifecycle"}
# module of the streamer -> other modules of the streamer it may import, besides COMMON
EDGES: dict[str, set[str]] = {
    "values": set(),
    "errors": set(),
    "config": set(),
    "metrics": set(),
    "handover": set(),
    "lifecycle": set(),
    "__main__": {"cli"},
    "cli": {"commands"},
    "commands": {
        "app", "recorded", "recording", "watch", "still", "motfile", "annotate", "demo", "progress",
        "worker_process", "evaluate_detector",
    },
    "app": {"cameras", "detect", "dispatch", "enrol", "hub", "observe", "persons", "publish", "references"},
    "recorded": {
        "decide", "decode", "detect", "dispatch", "enrol", "explain", "observe", "persons", "recording", "records",
        "worker_process",
    },
    "recording": {"explain", "persons", "records"},
    "explain": {"records"},
    "demo": {
        "app", "annotate", "decode", "demo_clip", "publish", "recorded", "recording", "watch", "worker_process",
    },
    "observe": {"choose", "cut", "detect", "track"},
    "choose": {"crop", "schedule", "worth"},
    "schedule": {"budget", "worth"},
    "cameras": {"live"},
    "live": {"clock", "connect", "decode"},
    "decode": {"clock"},
    "associate": {"kalman"},
    "track": {"associate", "kalman"},
    "motfile": {"track"},
    "still": {"detect", "crop", "pictures", "progress", "records"},
    "pictures": {"decode"},
    "evaluate_detector": {
        "detect", "detection_labels", "detection_score", "detection_sheets", "pictures", "progress", "records",
    },
    "detection_sheets": {"detection_score"},
    "detection_labels": {"detection_score"},
    "annotate": {"decode", "records", "results"},
    "results": set(),
    "progress": {"decode", "recording"},
    "publish": {"hub", "track_service", "stream_service", "system_service"},
    "system_service": {"hub", "convert"},
    "track_service": {"hub", "convert"},
    "stream_service": {"hub", "convert"},
    "detect": {"bundled", "yolo_lite", "yolo_pose", "yolo_pose_onnx"},
    "yolo_lite": {"letterbox", "yolo_pose", "offline"},
    "yolo_pose_onnx": {"letterbox"},
    "yolo_pose": {"letterbox", "offline"},
    "dispatch": {"ledger"},
    "persons": {"aggregate", "decide", "relink"},
    "relink": {"impostors"},
    "decide": {"gallery"},
    "gallery": {"impostors"},
    "enrol": {"decide", "detect", "gallery", "impostors", "references"},
    "references": {"crop", "detect"},
    "aggregate": {"estimate", "readings"},
    "estimate": {"age", "attributes", "expression", "readings", "template", "timeline"},
    "age": {"readings"},
    "attributes": {"readings"},
    "expression": {"readings"},
    "template": {"readings"},
    "timeline": {"expression", "readings"},
}  # fmt: skip
LOWEST = {
    "values": set(),
    "errors": set(),
    "config": {"errors"},
    "configfile": {"config", "errors"},
    "metrics": {"config", "errors"},
    "handover": {"values"},
    "lifecycle": set(),
}
# module of the workers -> modules of the streamer it may import
TO_STREAMER = {
    "workers.align": {"config", "crop", "detect", "errors", "values"},
    "workers.research.detector.compose": {"values"},
    "workers.research.detector.degrade": {"values"},
    "workers.research.detector.export": {"offline"},
    "workers.research.detector.geometry": {"values"},
    "workers.research.detector.heads": {"values"},
    "workers.research.detector.judge": {"values"},
    "workers.research.detector.labels": {"values"},
    "workers.research.detector.library": {"values"},
    "workers.research.detector.network": {"offline"},
    "workers.research.detector.paste": {"values"},
    "workers.research.detector.teachers": {"config", "errors", "values", "yolo_lite"},
    "workers.research.evaluate.ijb_pictures": {"crop"},
    "workers.research.evaluate.impostors": {"gallery", "values"},
}
# package of the workers -> other packages and modules of the workers it may import; those of `workers` itself may all
PACKAGES = {
    "swinface": {"errors"},
    "weights": {"errors", "files", "settings"},
    "serve": {"cli", "swinface", "errors", "precisions", "settings"},
    "data": {"swinface", "errors", "files", "settings", "align"},
    "evaluate": {"swinface", "errors", "files", "precisions", "serve", "data", "weights"},
    "train": {"swinface", "errors", "files", "precisions", "settings", "data", "evaluate", "weights"},
    "detector": {"errors", "files", "settings", "train"},
}
HEAVY = (
    "torch",
    "ultralytics",
    "onnxruntime",
    "scipy",
    "cv2",
    "av",
    "grpc",
    "timm",
    "filterpy",
    "skimage",
    "openvino",
    "onnx",
    "safetensors",
    "pyarrow",
    "pandas",
    "matplotlib",
    "PIL",
)


def imports(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", modules("streamer"), ids=lambda path: path.stem)
def test_the_streamer_imports_only_in_the_direction_of_the_house(path: Path) -> None:
    allowed = LOWEST.get(path.stem, COMMON | EDGES.get(path.stem, set()))
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("streamer.")}
    assert ours <= allowed, f"{path.name} must not import {sorted(ours - allowed)}"
    assert not [name for name in imports(path) if name.split(".")[0] == "workers"]


@pytest.mark.parametrize("path", modules("workers"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_workers_import_only_in_the_direction_of_the_house(path: Path) -> None:
    names = set(imports(path))
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    streamers = {name.split(".")[1] for name in names if name.startswith("streamer.")}
    assert streamers <= TO_STREAMER.get(module, set()), f"{path.name} must not import {sorted(streamers)}"
    package = module.split(".")[1]
    ours = {name.split(".")[1] for name in names if name.startswith("workers.")} - {package}
    assert ours <= PACKAGES.get(package, ours), f"{path.name} must not import {sorted(ours - PACKAGES[package])}"
    assert package == "serve" or not [name for name in names if name.startswith("faceanalytics")]


def test_a_worker_runs_without_the_streamer_and_without_what_trains_it() -> None:
    probe = (
        "import sys, workers.serve.worker, workers.research.train.train, workers.research.evaluate.run; print(*[name for name in "
        "('streamer', 'workers.align', 'workers.infer', 'tensorboard', 'timm', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["streamer.cli", "workers.cli", "streamer.config", "streamer.values"])
def test_nothing_heavy_is_imported_with(module: str) -> None:
    probe = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_a_grpc_client_does_not_pay_for_torch_or_scipy() -> None:
    probe = (
        "import sys, streamer.tools.watch; print(*[n for n in ('torch', 'scipy', 'ultralytics') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_pictures_without_alignment_do_not_need_the_streamer() -> None:
    probe = "import sys, workers.infer; print(*[name for name in ('streamer', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_openvino_is_imported_where_it_is_kept_from_reporting() -> None:
    found = [path.name for path in modules("workers") if {"openvino", "openvino_telemetry"} & set(imports(path))]
    assert found == ["offline.py"]
