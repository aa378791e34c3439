"""Generate the Python code of the protocols: as hook of the package build, and by `make protos`."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        if self.target_name == "wheel":
            generate(Path(self.root) / "protos")


def generate(folder: Path) -> None:
    """Write *_pb2.py, *_pb2_grpc.py and their type stubs into the package `faceanalytics` beside `folder`."""
    import grpc_tools
    from grpc_tools import protoc

    # the plug-in for type stubs is a script beside the interpreter of the build, or in its environment's path
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    sources = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    outputs = ["--python_out=..", "--grpc_python_out=..", "--mypy_out=quiet:..", "--mypy_grpc_out=quiet:.."]
    before = Path.cwd()
    os.chdir(folder)
    try:
        if protoc.main(["protoc", "-I.", f"-I{well_known}", *outputs, *sources]) != 0:
            raise RuntimeError("protoc failed, see its message above")
    finally:
        os.chdir(before)


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent)
