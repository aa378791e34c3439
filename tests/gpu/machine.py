"""What the machine is, and the speed limits of everything else: copies and large matrix products."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from tests.gpu.run import Run
from tests.gpu.timing import medians
from workers.runtime.engine import usable_device

PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "av", "numpy", "opencv-python")
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUERY = "name,driver_version,memory.total,clocks.max.sm,power.limit"


def measure(run: Run) -> None:
    device = usable_device(run.device)  # without it nothing else can be measured: ModelError
    run.add("python", platform.python_version())
    run.add("cores", len(os.sched_getaffinity(0)))
    run.add("packages", {name: _version(name) for name in PACKAGES if _version(name)})
    if run.on_gpu:
        properties = torch.cuda.get_device_properties(device)
        run.add("gpu", properties.name)
        run.add("memory_gb", properties.total_memory / 1e9)
        run.add("capability", f"{properties.major}.{properties.minor}")
        run.add("cuda", torch.version.cuda)
        run.add("nvidia_smi", _nvidia_smi())
    side, megabytes = (8192, 512) if run.on_gpu else (512, 16)
    for name, kind in KINDS.items():
        matrix = torch.rand((side, side), device=device).to(kind)  # random: a GPU is faster on zeros
        seconds = medians({"product": lambda matrix=matrix: matrix @ matrix}, run.device, 0.5)["product"]  # type: ignore[misc]
        run.add(f"product_{name}_tflops", 2e-12 * side**3 / seconds)
    host = torch.empty(megabytes << 20, dtype=torch.uint8, pin_memory=run.on_gpu)
    there = torch.empty_like(host, device=device)
    calls = {
        "to_device": lambda: there.copy_(host, non_blocking=True),
        "from_device": lambda: host.copy_(there, non_blocking=True),
    }
    for name, seconds in medians(calls, run.device, 0.5).items():
        run.add(f"{name}_gb_per_s", (megabytes << 20) / seconds / 1e9)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "not found"
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    packages = ", ".join(f"{name} {number}" for name, number in figures.get("packages", {}).items())
    found = [f"{figures.get('cores')} cores, Python {figures.get('python')}, {packages}"]
    if "gpu" in figures:
        found.append(
            f"{figures['gpu']}, {figures['memory_gb']:.0f} GB, compute capability {figures['capability']}, "
            f"CUDA {figures.get('cuda')}; nvidia-smi: {figures.get('nvidia_smi')}"
        )
    rates = [f"{kind} {figures[key]:.1f}" for kind in KINDS if (key := f"product_{kind}_tflops") in figures]
    copies = [f"{way} {figures[key]:.1f}" for way in ("to", "from") if (key := f"{way}_device_gb_per_s") in figures]
    return [*found, f"large matrix products, TFLOP/s: {', '.join(rates)}; copies, GB/s: {', '.join(copies)}"]
