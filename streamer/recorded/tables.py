"""Writes the results of a video as tables: frames, tracks, people and analyses, as Parquet, CSV or JSON lines."""

from collections.abc import Sequence
from pathlib import Path

from faceanalytics.extras import require

FORMATS = ("parquet", "csv", "jsonl")


def check_formats(formats: Sequence[str]) -> None:
    """Raise MissingPackage if a package that one of these forms needs is missing."""
    if "parquet" in formats:
        require("analysis", "pyarrow", use="--tables parquet", hint=" (or use --tables csv,jsonl)")


def write_tables(folder: Path, formats: Sequence[str]) -> list[Path]:
    raise NotImplementedError
