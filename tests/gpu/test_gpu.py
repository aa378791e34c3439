"""`make gpu` without a GPU: every section runs, and what goes wrong in one is kept and does not stop the others."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.gpu.command import run_all, status_of
from tests.gpu.page import BEGIN, END, NEVER, results_text, section_lines, write_page
from tests.gpu.pipeline import _judged
from tests.gpu.run import Run, read
from tests.gpu.sections import BY_NAME, SECTIONS, TOTAL_S, Section
from tests.support.patience import FACTOR, FOREVER_S, WAIT_S
from tests.test_documents import GUIDES, name_of

PAGE = ROOT / "docs" / "gpu.md"


def run_to(out: Path) -> Run:
    return Run("cpu", True, out.parent, out, FOREVER_S)


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_every_section_runs_on_a_cpu_or_says_why_not(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert run_all(list(SECTIONS), "cpu", True, out, 10 * WAIT_S) == 0
    sections = results(out)["sections"]
    assert list(sections) == list(BY_NAME)
    for name, found in sections.items():
        needs = BY_NAME[name].needs_gpu
        assert found["status"] == ("needs a GPU" if needs else "ok"), found
        assert found["figures"] or needs
        assert found["notes"] or needs or name == "machine", "a CPU does not do all of it"
    text = out.with_suffix(".md").read_text()
    assert all(f"### {section.title}" in text for section in SECTIONS)
    assert "NVDEC needs a GPU" in text


def test_a_section_that_goes_wrong_does_not_stop_the_others(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    sections = [
        Section("no_such_section", "Fails", 60 * FACTOR, ()),
        Section("training", "Too slow", 0.01, ("torch",)),
        Section("chain", "Lacks a package", 60, ("torch", "no_such_package", "no_such.package")),
        Section("graphs", "Needs a GPU", 60, (), "CUDA graphs exist on GPUs only"),
        Section("decoding", "Fine", 60 * FACTOR, ("av",)),
    ]
    assert run_all(sections, "cpu", True, out, WAIT_S) == 5
    found = results(out)["sections"]
    assert {name: each["status"] for name, each in found.items()} == {
        "no_such_section": "failed",
        "training": "timed out",
        "chain": "missing package",
        "graphs": "needs a GPU",
        "decoding": "ok",
    }
    assert "No module named 'tests.gpu.no_such_section'" in found["no_such_section"]["error"]
    assert found["chain"]["error"] == "not installed: no_such_package, no_such.package"
    assert found["decoding"]["figures"]["h264_1"]["cpu"] > 0
    text = out.with_suffix(".md").read_text()
    assert "! not installed: no_such_package" in text
    assert "1 ok" in text


RATES = {"published": 900.0, "floor_bf16": 9000.0, "ours_fp32": 1000.0, "ours_bf16": 5000.0, "ours_fp16": 5100.0}
ON_A_GPU: dict[str, tuple[dict[str, Any], str]] = {
    "machine": (
        {
            "python": "3.12.3", "cores": 16, "packages": {"torch": "2.11.0"}, "gpu": "NVIDIA H200", "memory_gb": 150.7,
            "capability": "9.0", "cuda": "13.0", "nvidia_smi": "NVIDIA H200, 580", "product_bf16_tflops": 788.0,
        },
        "NVIDIA H200, 151 GB",
    ),
    "graphs": ({"batch_8": {"graph": 1.2, "single": 6.5}}, "graph 1.20 ms"),
    "swinface": ({"batch_64": RATES, "in_flight_bf16": 6000.0}, "57% of the floor"),
    "detector": ({"default": "TorchPoseModel", "batch_32": {"torch fp32": 2500.0}}, "torch fp32 2,500"),
    "decoding": ({"size": "1920x1080", "h264_16": {"cpu": 900.0, "nvdec_kept": 4000.0}}, "kept on the GPU 4,000"),
    "chain": ({"faces_compared": 30, "decoders_8": {"host": 700.0, "device": 2900.0}}, "on the device 2,900"),
    "training": ({"backend": "nccl", "numbers": 10, "all_reduce_ms": 0.1}, "nccl, one rank"),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_A_GPU)
def test_figures_that_only_a_gpu_gives_can_be_shown(name: str) -> None:
    figures, expected = ON_A_GPU[name]
    found = {"status": "ok", "seconds": 1.0, "figures": figures, "checks": [], "goals": [], "notes": []}
    text = "\n".join(section_lines(name, found))
    assert expected in text
    assert "cannot be shown" not in text


def test_figures_that_cannot_be_shown_do_not_stop_the_others() -> None:
    found = {
        "status": "timed out",
        "seconds": 1.0,
        "figures": {"batch_1": {"graph": 1}},
        "checks": [],
        "goals": [],
        "notes": [],
    }
    assert "cannot be shown" in "\n".join(section_lines("graphs", found))


def test_without_time_a_section_is_not_begun(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert run_all([BY_NAME["decoding"]], "cpu", True, out, 1.0) == 5
    assert results(out)["sections"]["decoding"]["status"] == "no time left"


def test_figures_are_written_one_by_one(tmp_path: Path) -> None:
    out = tmp_path / "section.json"
    run = run_to(out)
    run.add("rate", 12.5)
    assert read(out)["figures"] == {"rate": 12.5}
    run.note("NVDEC needs a GPU")
    run.check("difference", 0.5, 1)
    assert read(out)["checks"] == [{"what": "difference", "value": 0.5, "limit": 1, "holds": True}]
    run.goal("frames/s", 1500, 2000)
    assert read(out)["goals"][0]["reached"] is False
    assert read(tmp_path / "nothing.json") == {"figures": {}, "checks": [], "goals": [], "notes": []}


@pytest.mark.parametrize(
    ("value", "code", "status"),
    [(0.5, 0, "ok"), (1.5, 0, "wrong"), (float("nan"), 0, "wrong"), (0.5, 1, "failed"), (1.5, None, "timed out")],
)
def test_a_section_is_right_if_it_ends_well_and_its_checks_hold(
    value: float, code: int | None, status: str, tmp_path: Path
) -> None:
    run = run_to(tmp_path / "section.json")
    run.check("difference", value, 1)
    assert status_of(read(run.out), code, 3.0, "said")["status"] == status


def test_a_missed_goal_is_shown_and_is_no_error(tmp_path: Path) -> None:
    run = run_to(tmp_path / "section.json")
    run.goal("cameras", 12, 60)
    found = {**status_of(read(run.out), 0, 3.0, ""), "seconds": 1.0, "title": "Pipeline"}
    everything = {
        "device": "cuda:0", "quick": False, "began": "2026-01-02T03:04:05+00:00", "seconds": 1.0,
        "sections": {"pipeline": found},
    }  # fmt: skip
    assert found["status"] == "ok"
    assert "goal missed: cameras: 12 (at least 60)" in results_text(everything)


def test_without_a_gpu_it_ends_with_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.gpu", "--device", "cuda:97", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 4
    assert "device 'cuda:97' cannot be used: torch finds" in done.stderr
    assert "make gpu DEVICE=cpu" in done.stderr
    assert not out.exists()


def test_an_unknown_section_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tests.gpu", "--only", "machine,kitchen"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2
    assert "unknown kitchen; there are machine, parity" in done.stderr


def test_all_sections_together_fit_into_eight_minutes() -> None:
    assert sum(section.limit_s for section in SECTIONS) <= TOTAL_S <= 470
    for section in SECTIONS:
        module = importlib.import_module(f"tests.gpu.{section.name}")
        assert callable(module.measure)
        assert callable(module.lines)


def test_the_page_of_the_documents_is_that_of_their_numbers() -> None:
    text = PAGE.read_text()
    between = text.partition(BEGIN)[2].partition(END)[0].strip()
    numbers = PAGE.with_suffix(".json")
    assert between == results_text(json.loads(numbers.read_text()) if numbers.exists() else None).strip()


OPEN = r"(never|not) (yet )?(been )?run on (a GPU|one)|for lack of (one|a GPU)"


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_only_one_page_says_what_has_never_run_on_a_gpu(path: Path) -> None:
    text = " ".join(path.read_text().split())
    if path != PAGE:
        assert not re.search(OPEN, text, re.IGNORECASE), f"{name_of(path)}: link to docs/gpu.md"


def test_what_stands_around_the_results_of_a_page_stays(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    page = out.with_suffix(".md")
    page.write_text(f"# GPU\n\nBefore.\n\n{BEGIN}\n\n{NEVER}\n\n{END}\n\nAfter.\n")
    everything = {"device": "cpu", "quick": True, "began": "2026-01-02T03:04:05+00:00", "seconds": 1.0, "sections": {}}
    for _ in range(2):
        write_page(out, everything)
    text = page.read_text()
    assert text.startswith("# GPU\n\nBefore.\n\n")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert NEVER not in text


@pytest.mark.parametrize(
    ("decoded", "dropped", "holds"),
    [
        (250.0, {"newer": 1.0}, True),
        (250.0, {"newer": 3.0}, False),
        (250.0, {"overload": 3.0}, False),
        (250.0, {"limited": 200.0}, True),  # skipped on purpose
        (200.0, {}, False),  # not decoded at their pace
    ],
)
def test_cameras_hold_if_they_keep_their_pace_and_nothing_wanted_is_dropped(
    decoded: float, dropped: dict[str, float], holds: bool
) -> None:
    rates = {
        "frames_decoded_total": decoded,
        "inference_seconds_sum detect": 0.5,
        "inference_seconds_count detect": 100,
    }
    rates |= {f"frames_dropped_total {reason}": rate for reason, rate in dropped.items()}
    row = _judged(rates, 10, 2.0, "")
    assert row["holds"] is holds
    assert row["mean_ms"] == {"inference_seconds detect": 5.0}
