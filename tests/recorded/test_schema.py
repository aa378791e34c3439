"""One definition of results: the published JSON Schema, what is written, the Python API and the page agree."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

import faceanalytics as fa
from faceanalytics import people, results, tracks
from streamer.cli import main
from streamer.labels import ATTRIBUTES, EXPRESSIONS
from streamer.recorded import header_types, record_types
from streamer.recorded.columns import TABLES, columns
from streamer.recorded.schema import FILES, ROWS, explained, published_schema
from streamer.recorded.tables import FORMATS, write_tables
from tests.conftest import ROOT
from tests.support.recorded_files import write_nothing, write_results

SHIPPED = ROOT / "streamer" / "recorded" / "results.schema.json"
PAGE = ROOT / "docs" / "results.md"


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Draft202012Validator(json.loads(SHIPPED.read_text()))


def test_the_schema_in_the_package_is_that_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(SHIPPED.read_text()) == published_schema(), "see the docstring of streamer/recorded/schema.py"
    Draft202012Validator.check_schema(published_schema())
    assert main(["results", "schema"]) == 0
    assert capsys.readouterr().out == SHIPPED.read_text()


def lines(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield path, line


@pytest.mark.parametrize("write", [write_results, write_nothing])
def test_every_line_of_every_file_follows_the_schema(validator: Validator, tmp_path: Path, write: Any) -> None:
    write(tmp_path)
    write_tables(tmp_path, ("jsonl",))
    validator.validate(json.loads((tmp_path / "summary.json").read_text()))
    for path, line in lines(tmp_path):
        definition = f"{path.stem}_row" if path.parent.name == "tables" else None
        part = {**published_schema(), "anyOf": [{"$ref": f"#/$defs/{definition}"}]} if definition else None
        (validator if part is None else Draft202012Validator(part)).validate(json.loads(line))


def broken(value: Any) -> Iterator[Any]:
    """A record with one thing wrong at a time: a field that is missing, too many, or of another type."""
    yield {**value, "more": 1}
    for name in value:
        yield {key: one for key, one in value.items() if key != name}
        yield {**value, name: {"other": []}}
        if isinstance(value[name], dict) and value[name]:
            for inner in broken(value[name]):
                yield {**value, name: inner}


def test_the_program_and_the_json_schema_refuse_the_same(tmp_path: Path) -> None:
    definitions = published_schema()["$defs"]
    names = {"track": "Track", "person": "Person", "shot": "Shot", "frame": "Frame", "observation": "Observation",
             "analysis": "Analysis", "header": "Header"}  # fmt: skip
    refused = 0
    write_results(tmp_path)
    for path, line in lines(tmp_path):
        kind = json.loads(line)["type"]
        check = Draft202012Validator({"$ref": f"#/$defs/{names[kind]}", "$defs": definitions})
        for one in broken(json.loads(line)):
            wrong = explained(FILES[path.name][kind], json.dumps(one).encode())
            assert bool(wrong) != check.is_valid(one), (one, wrong)
            refused += bool(wrong)
    assert refused > 500


def test_the_python_api_has_every_field_of_the_records() -> None:
    pairs: list[tuple[Any, Any]] = [
        (record_types.Track, tracks.Track), (record_types.Observation, results.Observation),
        (record_types.Frame, results.AnalysedFrame), (record_types.Analysis, results.Analysed),
        (record_types.Person, people.Person), (record_types.Shot, people.Shot),
        (header_types.Header, results.Header), (record_types.Decision, tracks.Decision),
        (record_types.Identity, tracks.Identity), (record_types.Appearance, people.Appearance),
    ]  # fmt: skip
    for record, value in pairs:
        missing = set(record.__annotations__) - {one.name for one in fields(value)} - {"type"}
        assert not missing, f"{value.__name__} lacks {missing}"


def test_people_of_made_results_are_read_with_their_tracks(tmp_path: Path) -> None:
    found = fa.read_results(write_results(tmp_path))
    ann, other = found.people
    assert isinstance(ann, fa.Person)
    assert (ann.name, ann.track_ids, ann.age) == ("ann", ("t1", "t3"), found.tracks[1].age)
    assert [track.track_id for track in ann.tracks] == ["t1", "t3"]
    assert ann.expression is not None
    assert ann.expression.mostly == "happiness"
    assert (other.described, other.uncertain, other.age, other.best) == (False, True, None, None)
    assert found.tracks[0].undescribed_reasons == ("LOW_QUALITY", "BORDER")
    assert [(shot.transition, shot.end_frame) for shot in found.shots] == [("START", 4), ("CUT", 9)]
    assert [frame.shot for frame in found.frames] == [1] * 5 + [2] * 5


@pytest.mark.parametrize("table", TABLES)
def test_rows_have_the_columns_of_their_table(table: str) -> None:
    schema = ROWS[table].json_schema()
    assert list(schema["properties"]) == [one.name for one in columns(table, ATTRIBUTES)]
    assert schema["required"] == [one.name for one in columns(table, ())]
    names = [one.name.lower() for one in columns(table, ATTRIBUTES)]
    assert len(names) == len(set(names))  # DuckDB does not distinguish upper case


def test_the_lines_of_the_page_load_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    write_tables(write_results(tmp_path / "results"), FORMATS)
    monkeypatch.chdir(tmp_path)
    head, *lines = [line for line in code.splitlines() if line]
    names: dict[str, Any] = {}
    exec(head, names)
    assert [len(eval(line, names)) for line in lines] == [12, 12, 3, 3, 3, 3, 2, 2, 1]


@pytest.mark.parametrize("table", TABLES)
def test_the_page_describes_each_column(table: str) -> None:
    section = PAGE.read_text().partition(f"### {table}\n")[2].partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    expected = []
    for one in columns(table, ["..."]):
        inner = one.name
        for name in EXPRESSIONS[1:]:
            if inner in (name, f"expression_{name}"):
                inner = ""  # one row describes all seven
        if inner:
            unit = f", {one.unit}" if one.unit else ""
            null = f"; empty: {one.null}" if one.null else ""
            theirs = f" ({one.theirs})" if one.theirs else ""
            expected.append(f"| `{one.name}` | {one.type}{unit} | {one.description}{null}{theirs} |")
    assert rows == expected, "\n".join(expected)
