"""One clip with a face, and one analysis of it, for all these tests."""

import asyncio
from pathlib import Path

import pytest

import faceanalytics as fa
from tests.support.photographs import make_face_clip, make_gallery


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With clip.mp4, two seconds of one face, and the gallery `people`, who it is."""
    folder = tmp_path_factory.mktemp("faces")
    make_face_clip(folder / "clip.mp4")
    make_gallery(folder / "people")
    return folder


@pytest.fixture(scope="session")
def results(folder: Path) -> fa.Results:
    """The clip analysed into `folder / "results"`, from inside a running event loop as in a notebook."""

    async def notebook() -> fa.Results:
        return fa.analyze(folder / "clip.mp4", folder / "results", gallery=folder / "people", embeddings=True)

    return asyncio.run(notebook())
