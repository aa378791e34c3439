"""Who may import whom, and what may not be paid for before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What streamer and workers share: it imports nothing else of ours.
SHARED = {
    "archives",
    "commandline",
    "errors",
    "extras",
    "files",
    "folders",
    "gallery_file",
    "json_form",
    "logs",
    "metrics_server",
    "names",
    "precision",
    "progress",
    "run_progress",
    "scratch",
    "settings",
    "spans",
    "tls_files",
    "worker_keys",
}
# The Python API, beside what is shared: module -> those of the API it may import, rooms and modules of the streamer
# and packages of the workers. Nothing imports the API but itself.
API: dict[str, tuple[set[str], set[str], set[str]]] = {
    "images": (set(), {"source", "values"}, set()),
    "video": (set(), {"kinds", "source", "values"}, set()),
    "detection": ({"images"}, {"config", "detect", "values"}, set()),
    "tracking": (set(), {"config", "track", "values"}, set()),
    "analyzer": ({"images", "detection"}, {"config", "select", "values"}, {"runtime", "swinface", "weights"}),
    "tracks": (set(), {"values"}, set()),
    "people": ({"tracks"}, set(), set()),
    "tables": ({"results"}, {"recorded"}, set()),
    "plots": ({"people", "results"}, {"labels", "recorded"}, set()),
    "results": ({"people", "plots", "tables", "tracks"}, {"recorded", "values"}, set()),
    "analysis": (
        {"results"},
        {"config", "configfile", "detect", "dispatch", "kinds", "privacy", "recorded", "source"},
        set(),
    ),
    "messages": (set(), set(), set()),
    "conditions": ({"messages", "v1"}, set(), set()),
    "track_values": ({"tracks", "v1"}, {"values"}, set()),
    "system_values": ({"messages"}, set(), set()),
    "events": ({"track_values", "tracks", "v1"}, {"tools"}, set()),
    "watching": ({"conditions", "events", "v1"}, {"tools"}, set()),
    "gallery_values": ({"tracks"}, set(), set()),
    "people_calls": (
        {"gallery_values", "images", "messages", "system_values", "track_values", "tracks", "v1"},
        {"tools"},
        set(),
    ),
    "connection": ({"aio", "people_calls", "watching"}, set(), set()),
    "local_recogniser": ({"analyzer"}, {"config", "detect", "identity", "recorded", "values"}, set()),
    "gallery": (
        {"analyzer", "gallery_values", "images", "local_recogniser", "people_calls", "tracks", "v1"},
        {"config", "configfile", "identity", "kinds", "recorded", "tools", "values"},
        set(),
    ),
    "aio": (
        {
            "conditions",
            "events",
            "messages",
            "people_calls",
            "system_values",
            "track_values",
            "tracks",
            "v1",
            "watching",
        },
        {"tools"},
        set(),
    ),
}
# The spine: modules at the root of `streamer` that every room may import, and that import no room.
SPINE = {
    "addresses",
    "boxes",
    "broker_settings",
    "config",
    "configfile",
    "encryption",
    "handover",
    "job_settings",
    "kinds",
    "labels",
    "lifecycle",
    "metrics",
    "metrics_endpoint",
    "privacy",
    "pseudonyms",
    "camera_aggregates",
    "decision_times",
    "privacy_filter",
    "pictures",
    "readings",
    "safety",
    "section",
    "series",
    "sink_fields",
    "sink_settings",
    "tracer",
    "tracing",
    "values",
    "visitor_settings",
    "web_settings",
}
# modules at the root that may import every room
WIRING = {
    *("__main__", "app", "cli", "cli_access", "cli_analyze", "cli_cameras", "cli_people", "cli_results", "cli_store"),
    *("commands", "commands_access", "commands_analyze", "commands_cameras", "commands_people", "commands_results"),
    *("commands_store", "cli_doctor", "commands_doctor", "cli_jobs", "commands_jobs", "cli_aggregates"),
    *("cli_people_audit", "commands_people_audit", "cli_replay", "commands_replay", "cli_people_more"),
    *("cli_visitors", "commands_visitors", "inspecting"),
}
# room or module of the streamer -> the rooms it may import, besides the spine
ROOMS: dict[str, set[str]] = {
    "source": set(),
    "attention": set(),
    "detect": set(),
    "track": set(),
    "select": set(),
    "dispatch": set(),
    "aggregate": set(),
    "identity": {"aggregate", "detect", "select", "source"},
    "observed": {"track", "select"},
    "observe": {"attention", "detect", "observed", "track", "select"},
    "hub": set(),
    "access": set(),
    "store": {"access"},
    "people": {"identity", "store"},
    "jobs": {"detect", "dispatch", "store"},
    "api": {"access", "hub", "identity", "jobs", "people", "store"},
    "web": {"access", "api", "store"},  # what it shows, it asks of the services of the API
    "sinks": {"store"},
    "recorded": {"source", "detect", "track", "observe", "dispatch", "identity"},
    "evaluate": {"source", "detect"},
    "doctor": {"access", "api", "detect", "dispatch", "source", "store", "tools"},
    "tools": {"source", "detect", "select", "track", "access", "api", "app", "cli", "recorded", "dispatch"},
}
# who may import the generated protocols: the wire of the workers is the dispatcher's alone
PROTOS = {
    "faceanalytics.v1": {"api", "aggregate", "labels", "sinks", "store", "tools", "web"},
    "faceanalytics.internal": {"dispatch"},
}
# package of the workers -> the packages of the workers it may import; modules of `workers` itself may import all
WORKERS: dict[str, set[str]] = {
    "swinface": set(),
    "runtime": {"swinface"},
    "weights": set(),
    "serve": {"runtime", "swinface", "cli"},
    "options": {"swinface"},
    "research": {"runtime", "swinface", "weights", "align", "options"},
}
RESEARCH: dict[str, set[str]] = {
    "data": set(),
    "evaluate": {"data"},
    "train": {"data", "evaluate"},
    "detector": {"train"},
    "roll": {"detector"},
}
# what research, infer and align may import of the streamer
TO_STREAMER = {"values", "boxes", "config", "source", "detect", "select", "identity", "evaluate"}
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
    "sqlalchemy",
    "alembic",
    "opentelemetry",
    "starlette",
    "uvicorn",
    "jinja2",
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
    return sorted(path for path in (ROOT / package).rglob("*.py") if "_pb2" not in path.name)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def parts(path: Path, package: str, place: int = 1) -> set[str]:
    """What a file imports of a package: the part of each dotted name at `place`."""
    names = (name.split(".") for name in imports(path))
    return {name[place] for name in names if name[0] == package and len(name) > place}


@pytest.mark.parametrize("path", modules("streamer"), ids=name_of)
def test_rooms_import_in_the_direction_of_the_house(path: Path) -> None:
    room = name_of(path).split(".")[1]
    assert room in {"__init__"} | SPINE | WIRING | set(ROOMS), f"{path.name}: put it in a room, or name it here"
    ours = parts(path, "streamer") & (SPINE | WIRING | set(ROOMS))
    if room not in WIRING:
        allowed = SPINE | {room} | ROOMS.get(room, set())
        assert ours <= allowed, f"{name_of(path)} must not import {sorted(ours - allowed)}"
    assert not parts(path, "workers", 0)
    assert parts(path, "faceanalytics") <= SHARED | {"v1", "internal"}
    for package, users in PROTOS.items():
        if any(name.startswith(package) for name in imports(path)):
            assert room in users, f"{name_of(path)} must not import {package}"


@pytest.mark.parametrize("path", modules("workers"), ids=name_of)
def test_workers_import_in_the_direction_of_the_house(path: Path) -> None:
    package, *rest = name_of(path).split(".")[1:]
    ours = parts(path, "workers") - {package}
    if package in WORKERS:
        assert ours <= WORKERS[package], f"{name_of(path)} must not import {sorted(ours - WORKERS[package])}"
    if package == "research" and rest[0] in RESEARCH:
        inner = {name.split(".")[2] for name in imports(path) if name.startswith("workers.research.")} - {rest[0]}
        assert inner <= RESEARCH[rest[0]], f"{name_of(path)} must not import {sorted(inner - RESEARCH[rest[0]])}"
    streamers = parts(path, "streamer")
    allowed = TO_STREAMER if package in {"research", "align", "infer"} else set()
    assert streamers <= allowed, f"{name_of(path)} must not import {sorted(streamers - allowed)} of the streamer"
    assert parts(path, "faceanalytics") <= SHARED | ({"internal"} if package == "serve" else set())


@pytest.mark.parametrize("path", modules("faceanalytics"), ids=name_of)
def test_what_is_shared_imports_nothing_else_of_ours_and_the_api_what_it_is_made_of(path: Path) -> None:
    name = name_of(path).split(".")[1]
    if name in API:
        api, rooms, packages = API[name]
        assert parts(path, "faceanalytics") <= SHARED | api
        assert parts(path, "streamer") <= rooms
        assert parts(path, "workers") <= packages
    elif name in SHARED:
        assert not parts(path, "streamer", 0) | parts(path, "workers", 0)
        assert parts(path, "faceanalytics") <= SHARED
    else:
        assert name == "__init__", f"{path.name}: what streamer and workers share, and the API, are named here"


def test_each_room_says_what_it_is_for_and_nothing_else() -> None:
    for path in [path for package in ("streamer", "workers") for path in modules(package)]:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{name_of(path)} holds the room's one sentence and no code"
            assert isinstance(body[0], ast.Expr)


def loaded(probe: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules are loaded after a fresh interpreter ran `probe`."""
    command = f"import sys; {probe}; print(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_worker_runs_without_the_streamer_and_without_what_trains_it() -> None:
    probe = "import workers.serve.worker, workers.research.train.train, workers.research.evaluate.run"
    assert loaded(probe, ("streamer", "workers.align", "workers.infer", "tensorboard", "timm", "pyarrow")) == []


def test_a_worker_that_serves_does_not_load_research() -> None:
    assert loaded("import workers.serve.worker", ("workers.research", "streamer")) == []


@pytest.mark.parametrize("module", ["streamer.cli", "workers.cli", "streamer.config", "streamer.values"])
def test_nothing_heavy_is_imported_with(module: str) -> None:
    assert loaded(f"import {module}", HEAVY) == []


def test_the_python_api_is_imported_where_it_is_used() -> None:
    probe = "import faceanalytics as fa; dir(fa)"
    assert loaded(probe, (*HEAVY, "streamer", "workers", "numpy", "pydantic", "yaml", "rich")) == []


def test_what_needs_no_extra_of_the_python_api_loads_none() -> None:
    probe = "import faceanalytics as fa; fa.watch, fa.analyze, fa.read_results, fa.Detector, fa.Tracker, fa.read_video"
    assert loaded(probe, ("torch", "ultralytics", "openvino", "workers", "pyarrow", "pandas", "polars")) == []


def test_the_streamer_with_the_bundled_detector_loads_neither_torch_nor_ultralytics() -> None:
    probe = (
        "import numpy, streamer.app, streamer.recorded.analysis, streamer.recorded.annotate;"
        "import streamer.tools.detect_files;"
        "from streamer.config import Detect; from streamer.detect.detector import Detector;"
        "Detector(Detect(weights='default')).detect([numpy.zeros((64, 64, 3), numpy.uint8)])"
    )
    assert loaded(probe, ("onnxruntime", "torch", "ultralytics", "PIL", "workers")) == ["onnxruntime"]


def test_a_grpc_client_does_not_pay_for_torch_or_scipy() -> None:
    assert loaded("import streamer.tools.watch", ("torch", "scipy", "ultralytics")) == []


def test_the_python_client_loads_what_speaks_grpc_and_nothing_else_that_is_heavy() -> None:
    heavy = tuple(name for name in HEAVY if name != "grpc")
    assert loaded("import faceanalytics.aio", (*heavy, "rich", "yaml", "zmq", "streamer.app", "workers")) == []


def test_images_without_alignment_do_not_need_the_streamer() -> None:
    assert loaded("import workers.infer", ("streamer", "torch")) == []


def test_openvino_is_imported_where_it_is_kept_from_reporting() -> None:
    found = [path.name for path in modules("workers") if {"openvino", "openvino_telemetry"} & set(imports(path))]
    assert found == ["offline.py"]
