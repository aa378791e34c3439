"""Write the reference of the API into docs/api.md, from the comments of the .proto files: `make docs-api`.

With `--check` nothing is written, and the exit code is 1 if the page is not up to date.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "docs" / "api.md"
BEGIN = "<!-- What follows is made from the .proto files by `make docs-api`. Change their comments. -->\n"
INTRODUCTION = (
    "A message and an `optional` field may be absent; other fields are 0, false or empty if they are not set.",
    "The scope is the one that a token needs for the call.",
)
WIDTH = 118  # characters of a line of text
SERVICE, MESSAGE, ENUM, PART, NESTED, NESTED_ENUM = 6, 4, 5, 2, 3, 4  # numbers in the paths of SourceCodeInfo
NAMES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
Where = tuple[int, ...]  # path of an element in a file, as SourceCodeInfo has it


def read_files(folder: Path, under: str = "") -> list[FileDescriptorProto]:
    """Return the .proto files below `folder / under` as protoc reads them, with their comments."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(folder)) for path in (folder / under).rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "all.binpb"
        command = ["protoc", f"-I{folder}", f"-I{well_known}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main([*command, *sources]) != 0:
            raise RuntimeError("protoc failed, see its message above")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def reference(files: list[FileDescriptorProto], scopes: dict[str, str]) -> str:
    """Return the reference as Markdown; files with services first. `scopes`: what each method needs, by full name."""
    ordered = sorted(files, key=lambda file: (not file.service, file.name))
    lines = ["## Reference", "", *INTRODUCTION, ""]
    for file in ordered:
        lines += [*_File(file, scopes).lines()]
    return "\n".join(lines).rstrip() + "\n"


class _File:
    """One .proto file."""

    def __init__(self, file: FileDescriptorProto, scopes: dict[str, str]) -> None:
        self._file = file
        self._scopes = scopes
        self._comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the services, then of the messages and enums in the order of the file."""
        yield from (f"### {Path(self._file.name).name}", "")
        for index, service in enumerate(self._file.service):
            yield from self._service(service, (SERVICE, index))
        for index, message in enumerate(self._file.message_type):
            yield from self._message(message, (MESSAGE, index), message.name)
        for index, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (ENUM, index), enum.name)

    def _service(self, service: ServiceDescriptorProto, where: Where) -> Iterator[str]:
        yield from (f"#### {service.name}", "", *self._text(where), "")
        yield from ("| method | request | response | scope | what it does |", "|---|---|---|---|---|")
        for index, method in enumerate(service.method):
            asks = ("stream of " if method.client_streaming else "") + _link(method.input_type)
            answers = ("stream of " if method.server_streaming else "") + _link(method.output_type)
            scope = self._scopes[f"/{self._file.package}.{service.name}/{method.name}"]
            yield _row(f"`{method.name}`", asks, answers, scope, self._comment((*where, PART, index)))
        yield ""

    def _message(self, message: DescriptorProto, where: Where, name: str) -> Iterator[str]:
        yield from (f"#### {name}", "", *self._text(where), "")
        entries = {f".{self._file.package}.{name}.{one.name}": one for one in message.nested_type}
        maps = {key: one for key, one in entries.items() if one.options.map_entry}
        if message.field:
            yield from ("| field | type | meaning |", "|---|---|---|")
        for index, field in enumerate(message.field):
            choice = field.HasField("oneof_index") and not field.proto3_optional
            one_of = f" (one of `{message.oneof_decl[field.oneof_index].name}`)" if choice else ""
            yield _row(f"`{field.name}`", _type(field, maps) + one_of, self._comment((*where, PART, index)))
        if message.field:
            yield ""
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message(nested, (*where, NESTED, index), f"{name}.{nested.name}")
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*where, NESTED_ENUM, index), f"{name}.{enum.name}")

    def _enum(self, enum: EnumDescriptorProto, where: Where, name: str) -> Iterator[str]:
        yield from (f"#### {name}", "", *self._text(where), "", "| value | number | meaning |", "|---|---|---|")
        for index, value in enumerate(enum.value):
            yield _row(f"`{value.name}`", str(value.number), self._comment((*where, PART, index)))
        yield ""

    def _text(self, where: Where) -> list[str]:
        return textwrap.wrap(self._comment(where), WIDTH, break_long_words=False, break_on_hyphens=False)

    def _comment(self, where: Where) -> str:
        """Return a comment on one line, with what Markdown would take for its own escaped."""
        text = " ".join(self._comments.get(where, "").split())
        parts = re.split(r"(`[^`]*`)", text)
        return "".join(part if part.startswith("`") else re.sub(r"([*<\[])", r"\\\1", part) for part in parts)


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)  # also in code: a table does not look into it
    return f"| {' | '.join(escaped)} |"


def _type(field: FieldDescriptorProto, maps: dict[str, DescriptorProto]) -> str:
    """Return the type of a field, with a link to its message or enum."""
    if field.type_name in maps:
        key, value = maps[field.type_name].field
        return f"map of {_type(key, {})} to {_type(value, {})}"
    kind = _link(field.type_name) if field.type_name else NAMES[field.type]
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    return f"optional {kind}" if field.proto3_optional else kind


def _link(type_name: str) -> str:
    name = type_name.lstrip(".")
    if name.startswith("google.protobuf."):
        return name.rpartition(".")[2]
    short = ".".join(part for part in name.split(".") if part[0].isupper())
    return f"[{short}](#{short.lower().replace('.', '')})"


def scopes() -> dict[str, str]:
    """Return the scope that a token needs for each method."""
    from streamer.api.authorisation import RULES

    return {method: f"`{rule.scope}`" if rule.scope else "none" for method, rule in RULES.items()}


def page(before: str, files: list[FileDescriptorProto], needed: dict[str, str]) -> str:
    """Return the page with the part after the mark replaced. Raises ValueError without the mark."""
    guide, mark, _ = before.partition(BEGIN)
    if not mark:
        raise ValueError(f"{PAGE}: the line {BEGIN.strip()!r} is missing")
    return f"{guide}{BEGIN}\n{reference(files, needed)}"


def main(arguments: list[str]) -> None:
    """Write the page, or check it. Exits with 1 if it is not up to date."""
    sys.path.insert(0, str(FOLDER.parent))  # as a script, only the folder of this file is there
    before = PAGE.read_text(encoding="utf-8")
    after = page(before, read_files(FOLDER, "faceanalytics/v1"), scopes())
    if arguments != ["--check"]:
        PAGE.write_text(after, encoding="utf-8")
    elif after != before:
        sys.exit("docs/api.md is not up to date with the .proto files: run `make docs-api`")


if __name__ == "__main__":
    main(sys.argv[1:])
