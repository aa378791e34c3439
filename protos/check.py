"""Check the protocols with buf: the style of the files, and that programs made for the published API still work.

published.txtpb describes the API as it was published last. Additions need no change of it; `make publish-protos` writes
it again for a release, or for a change that breaks programs on purpose.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default

FOLDER = Path(__file__).resolve().parent
PUBLISHED = "published.txtpb"
INSTALLED = FOLDER.parent / ".buf" / "node_modules" / ".bin" / "buf"
LONGEST_S = 300.0  # of one command
HOW = "npm install --prefix .buf @bufbuild/buf"


def find_buf() -> str | None:
    """Return the path of buf, or None if it is not installed."""
    return shutil.which("buf") or (str(INSTALLED) if INSTALLED.exists() and shutil.which("node") else None)


def describe(folder: Path) -> FileDescriptorSet:
    """Return the descriptions of the public files in a folder, without comments and without what they import."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(folder)) for path in (folder / "faceanalytics" / "v1").glob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as out:
        image = Path(out) / "image.binpb"
        if protoc.main(["protoc", f"-I{folder}", f"-I{well_known}", f"--descriptor_set_out={image}", *sources]) != 0:
            raise RuntimeError("protoc failed, see its message above")
        return FileDescriptorSet.FromString(image.read_bytes())


def with_imports(described: FileDescriptorSet) -> FileDescriptorSet:
    """Return the description with the files of protobuf that it imports, which buf needs to read it."""
    ours = {file.name for file in described.file}
    imported = {name for file in described.file for name in file.dependency} - ours
    complete = FileDescriptorSet()
    for name in sorted(imported):
        __import__(name.removesuffix(".proto").replace("/", ".") + "_pb2")  # it registers its description
        complete.file.append(FileDescriptorProto.FromString(Default().FindFileByName(name).serialized_pb))
    complete.file.extend(described.file)
    return complete


def check(buf: str, folder: Path) -> int:
    """Run buf on the files of a folder and return the exit code: 0 if nothing is wrong."""
    published = text_format.Parse((folder / PUBLISHED).read_text(encoding="utf-8"), FileDescriptorSet())
    with tempfile.TemporaryDirectory() as out:
        against = Path(out) / "published.binpb"
        against.write_bytes(with_imports(published).SerializeToString())
        commands = ("lint",), ("breaking", "--against", str(against))
        return max(subprocess.run([buf, *command], cwd=folder, timeout=LONGEST_S).returncode for command in commands)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the protocols")
    parser.add_argument("--required", action="store_true", help="fail if buf is not installed")
    parser.add_argument("--publish", action="store_true", help=f"write {PUBLISHED} again; nothing is checked")
    given = parser.parse_args(arguments)
    if given.publish:
        text = text_format.MessageToString(describe(given.folder))
        (given.folder / PUBLISHED).write_text(text, encoding="utf-8")
        return 0
    buf = find_buf()
    if buf is None:
        print(f"protos are not checked: buf is not installed ({HOW})", file=sys.stderr)
        return 1 if given.required else 0
    return check(buf, given.folder)


if __name__ == "__main__":
    sys.exit(main())
