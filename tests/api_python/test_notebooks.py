"""The notebooks of docs/notebooks run from top to bottom, and are committed without what they print."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import faceanalytics as fa
from tests.conftest import ROOT
from tests.support.made_once import made_once
from tests.support.patience import WAIT_S
from tests.support.photographs import make_face_clip

FORMAT: Any = nbformat  # its functions have no types
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def outputs(cell: Any) -> Iterator[str]:
    """The MIME types and texts that a cell gave."""
    for output in cell.get("outputs", ()):
        yield from output.get("data", {})
        yield output.get("text", "") or output.get("data", {}).get("text/plain", "")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebook as it is after a run with a clip of two seconds, and the files that it made."""

    def run(folder: Path) -> None:
        make_face_clip(folder / "clip.mp4")
        notebook = FORMAT.read(ROOT / "docs" / "notebooks" / "analyse_a_recording.ipynb", as_version=4)
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        client = NotebookClient(
            notebook, timeout=int(2 * WAIT_S), kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env={**os.environ, "PATH": path})
        FORMAT.write(notebook, folder / "ran.ipynb")

    return made_once(tmp_path_factory, "notebook", run)


def test_notebooks_are_committed_without_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            assert cell.get("outputs", []) == [], path.name
            assert cell.get("execution_count") is None, path.name
            assert cell["metadata"] == {}, path.name
        assert set(notebook["metadata"]) == {"kernelspec", "language_info"}, path.name


def test_the_notebook_runs_and_shows_people_tables_and_plots(ran: Path) -> None:
    results = fa.read_results(ran / "results")
    assert len(results.tracks) == 1
    cells = FORMAT.read(ran / "ran.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    shown = [" ".join(outputs(cell)) for cell in code]
    assert f"50 frames, 1 tracks, {len(results.people)} people" in shown[1]
    plots = [cell.source.splitlines()[-1].split("(")[0] for cell in code if "image/png" in set(outputs(cell))]
    assert len(plots) == 4
    assert plots[0] == "results.plot_timeline"
    assert [place for place, text in enumerate(shown) if "text/html" in text] == [4, 5]
    assert "rows, 47 columns" in shown[5]


def test_the_files_that_the_notebook_exports_are_there(ran: Path) -> None:
    made = ("people.vtt", "people.metadata.vtt", "people.eaf", "mot/clip.txt", "tables/frames.parquet")
    assert [name for name in made if not (ran / "results" / name).exists()] == []
