"""All benchmarks: a table on the screen, and the same with the numbers as JSON in docs/benchmarks.{md,json}.

`python -m tests.benchmarks swinface` measures only that again and keeps the numbers of the others. A title may be
written in any case, and as its beginning or one of its words. `--page` measures nothing and writes the page again.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    accuracy_aggregate,
    accuracy_attention,
    accuracy_clustering,
    accuracy_described,
    accuracy_detect,
    accuracy_open_set,
    accuracy_people,
    accuracy_quality,
    accuracy_scene,
    accuracy_schedule,
    accuracy_shots,
    accuracy_swap,
    accuracy_track,
    accuracy_turned,
    bench_audit,
    bench_cameras,
    bench_dashboard,
    bench_decode,
    bench_detect,
    bench_detector_engine,
    bench_dispatch,
    bench_files,
    bench_live,
    bench_naive,
    bench_pages,
    bench_pipeline,
    bench_regions,
    bench_search,
    bench_small,
    bench_store,
    bench_subscribers,
    bench_swinface,
    bench_tracing,
    bench_track,
    bench_train,
    time_to_decision,
)
from tests.conftest import shared_folder

DOCS = Path(__file__).resolve().parents[2] / "docs"
ARITHMETIC = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16")  # that speeds depend on
BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"


# images, tracks and models that are not part of the project
NEED_DATA = {
    "Attention",
    "Face detectors",
    "Regions",
    "Detector engines",
    "Turned faces",
    "Quality of crops",
    "Shot changes",
    "Strangers in one scene",
    "Trackers",
    "Choice of crops",
    "Time to decision",
    "Tracks of two persons",
    "Described tracks",
    "People of recordings",
    "Open set",
    "Clustering of visitors",
    "Against ultralytics",
    "Several files",
}
MODULES: dict[str, Any] = {
    "Decoding": bench_decode,
    "Reading cameras": bench_cameras,
    "Live cameras": bench_live,
    "Dashboard": bench_dashboard,
    "Pages in a browser": bench_pages,
    "Detection, crop, quality": bench_detect,
    "Face detectors": accuracy_detect,
    "Regions": bench_regions,
    "Detector engines": bench_detector_engine,
    "Turned faces": accuracy_turned,
    "Attention": accuracy_attention,
    "Quality of crops": accuracy_quality,
    "Shot changes": accuracy_shots,
    "Strangers in one scene": accuracy_scene,
    "Tracking": bench_track,
    "Trackers": accuracy_track,
    "Aggregation": accuracy_aggregate,
    "Choice of crops": accuracy_schedule,
    "Time to decision": time_to_decision,
    "Tracks of two persons": accuracy_swap,
    "Described tracks": accuracy_described,
    "People of recordings": accuracy_people,
    "Open set": accuracy_open_set,
    "Clustering of visitors": accuracy_clustering,
    "Search": bench_search,
    "Audit of a gallery": bench_audit,
    "Dispatch": bench_dispatch,
    "Store": bench_store,
    "Subscribers": bench_subscribers,
    "Tracing": bench_tracing,
    "SwinFace": bench_swinface,
    "Bundled face model": bench_small,
    "Training": bench_train,
    "Whole pipeline": bench_pipeline,
    "Several files": bench_files,
    "Against ultralytics": bench_naive,
}


def main() -> int:
    there = shared_folder().is_dir()
    try:
        wanted = [title_of(word) for word in sys.argv[1:] if word != "--page"]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not sys.argv[1:]:
        wanted = [title for title in MODULES if there or title not in NEED_DATA]
    if not there and NEED_DATA & set(wanted):
        print(f"needs the data folder (FACEANALYTICS_SHARED or ../shared): {', '.join(NEED_DATA)}", file=sys.stderr)
        return 3
    results: dict[str, Any] = json.loads((DOCS / "benchmarks.json").read_text())
    parts = []
    for title, module in MODULES.items():
        if title in wanted:
            print(f"\n{title}", flush=True)
            results[title] = {"machine": machine(), "figures": module.measure()}
            print(module.table(results[title]["figures"]), flush=True)
        if title in results:
            where, table = results[title]["machine"], module.table(results[title]["figures"])
            text = (module.__doc__ or "").strip()
            parts.append(f"### {title}\n\n{text}\n\nMeasured on {where}.\n\n```\n{table}\n```")
    (DOCS / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}")
    return 0


def title_of(words: str) -> str:
    """Return the title that begins with these words or has them in it. Raises ValueError if there is not just one."""
    asked = words.lower().replace("_", " ")
    ways: tuple[Callable[[str], bool], ...] = (
        lambda title: title == asked,
        lambda title: title.startswith(asked),
        lambda title: f" {asked} " in f" {title} ",
    )
    for fits in ways:
        found = [title for title in MODULES if fits(title.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{words}: name one of {'; '.join(found)}")
    raise ValueError(f"unknown: {words}; there are: {'; '.join(MODULES)}")


def machine() -> str:
    """Processor, cores and versions, as far as they matter."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in lines}
        arithmetic = [name for name in ARITHMETIC if name in facts["flags"].split()]
        name = f"{facts['model name']} ({', '.join(arithmetic)})"
    except (OSError, KeyError):
        name = platform.processor()
    packages = ", ".join(
        f"{package} {version(package)}" for package in ("torch", "openvino", "onnxruntime", "av", "numpy")
    )
    return f"{os.cpu_count()} cores of {name}, no GPU, Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    sys.exit(main())
