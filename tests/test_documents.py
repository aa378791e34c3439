"""The documents: short lines and plain words, and everything that they name exists."""

import argparse
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import grpc
import pytest
import yaml
from pydantic import BaseModel

from streamer import cli as streamer_cli
from streamer.config import StreamerConfig
from streamer.values import LinkQuality, SourceState
from tests.conftest import ROOT
from tests.support.metric_names import metric_names
from workers import cli as swinface_cli
from workers.research.detector.config import DetectorConfig
from workers.research.train.config import TrainConfig
from workers.serve.config import WorkerConfig

README, CHANGELOG, BENCHMARKS = ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "docs" / "benchmarks.md"
GUIDES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = [
    *sorted((ROOT / "configs").glob("*.yaml")),
    ROOT / "docker-compose.yml",
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".json"),
]
PROGRAMS = {"streamer": streamer_cli.parser, "swinface": swinface_cli.parser}
WIDTH = 120
FOLDERS = "faceanalytics|streamer|workers|protos|configs|docs|tests|deploy"
# options of other programs: torchrun, docker, tensorboard, git, and of `python -m tests.benchmarks...`
FOREIGN = {"--nproc-per-node", "--no-python", "--build", "--logdir", "--follow", "--sheets", "--device", "--prefix"}
BANNED = {
    r"\bso (long|many|much)\b": "give the quantity: 'this many seconds', 'at most'",
    r"\b(is|are) none\b": "say what is missing",
    r"\banew\b": "'again'",
    r"\bforet(ell|old)": "'predict'",
    r"\b(un)?heeded\b": "'applied', 'respected'",
    r"\b(told|tells)\b": "models predict, settings set, logs report",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands between single backticks outside code blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < 90


@pytest.mark.parametrize("path", [*GUIDES, CHANGELOG], ids=name_of)
def test_lines_outside_of_tables_and_code_are_short(path: Path) -> None:
    text = re.sub(r"^Measured on .*$", "", path.read_text(), flags=re.MULTILINE)  # written by `make bench`
    lines = prose(text).splitlines()
    assert [line for line in lines if len(line) > WIDTH and not line.startswith("|")] == []


@pytest.mark.parametrize("path", SETTINGS, ids=name_of)
def test_comments_of_settings_are_short(path: Path) -> None:
    long = [line for line in path.read_text().splitlines() if len(line) > WIDTH and "#" in line]
    assert long == []


@pytest.mark.parametrize("path", [*GUIDES, *SETTINGS], ids=name_of)
def test_words_are_plain(path: Path) -> None:
    text = path.read_text()
    found = [
        (match[0], advice) for words, advice in BANNED.items() for match in re.finditer(words, text, re.IGNORECASE)
    ]
    assert found == []


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", [*GUIDES, CHANGELOG], ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(path.read_text())):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{link} is missing"
        assert not anchor or anchor in anchors(target), f"{link} has no such heading"


@pytest.mark.parametrize("path", [*GUIDES, *SETTINGS], ids=name_of)
def test_paths_of_the_project_exist(path: Path) -> None:
    for name in re.findall(rf"(?<![\w/.\-~])(?:{FOLDERS})/[\w./*\-]*", path.read_text()):
        found = list(ROOT.glob(name.rstrip(".-/")))
        assert found, f"{name} is missing"


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a program or command, by name."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: inner for action in below for name, inner in action.choices.items()}


@cache
def parser_of(program: str) -> argparse.ArgumentParser:
    return PROGRAMS[program]()


def command_of(words: list[str]) -> argparse.ArgumentParser:
    """The command that these words call; fails if there is none of that name."""
    parser = parser_of(words[0])
    for word in words[1:]:
        known = commands_of(parser)
        if not known or word.startswith("-"):
            break
        assert word in known, f"{' '.join(words)}: no command {word}"
        parser = known[word]
    return parser


def options(help_: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", help_))


def commands(text: str) -> Iterator[list[str]]:
    """Words of each call of the two programs in code."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        for call in re.findall(r"(?<![\w./-])((?:streamer|swinface) [a-z][^#|;&)`\"]*)", line):
            yield call.split()


@pytest.mark.parametrize("path", [*GUIDES, *SETTINGS], ids=name_of)
def test_commands_exist_with_their_options(path: Path) -> None:
    text = path.read_text()
    if path in SETTINGS:  # only comments that are commands: the others are sentences
        comments = "\n".join(re.findall(r"# *(.*)$", text, re.MULTILINE)).replace("\\\n", " ")
        code = re.findall(r"^(?:.*with: |torchrun .*|\w+=\S+ )?((?:streamer|swinface) .*)$", comments, re.MULTILINE)
    else:
        code = [*code_blocks(text), *spans(text)]
    for block in code:
        for words in commands(block):
            known = set(command_of(words)._option_string_actions)
            unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known - FOREIGN
            assert not unknown, f"{' '.join(words)}: no option {', '.join(sorted(unknown))}"


@cache
def all_options() -> set[str]:
    """Options of all commands of both programs, and of the commands below those."""
    found: set[str] = set()
    todo = [parser_of(program) for program in PROGRAMS]
    while todo:
        parser = todo.pop()
        found |= set(parser._option_string_actions)
        todo += commands_of(parser).values()
    return found


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_options_that_are_named_alone_exist(path: Path) -> None:
    named = {option for span in spans(path.read_text()) for option in options(span)}
    assert named - all_options() - FOREIGN == set()


def keys(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    """Sections and keys of a configuration."""
    for name, field in model.model_fields.items():
        yield section, field.alias or name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, field.alias or name)


@cache
def settings() -> set[tuple[str, str]]:
    models: tuple[type[BaseModel], ...] = (StreamerConfig, WorkerConfig, TrainConfig, DetectorConfig)
    return {key for model in models for key in keys(model) if key[0]}


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_settings_exist(path: Path) -> None:
    known = settings()
    for span in spans(path.read_text()):
        match = re.fullmatch(r"([a-z_]+)\.([a-z_]+\*?)(: .*)?", span)
        if (
            match
            and match[1] in {section for section, _ in known}
            and match[2] not in {"py", "md", "npz", "pt", "jsonl", "vtt", "eaf"}
        ):
            assert any(match[1] == section and fnmatch(key, match[2]) for section, key in known), f"no setting {span}"


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_metrics_exist(path: Path) -> None:
    shown = {re.sub("_(bucket|sum|count|info)$", "", name) for name in metric_names()} | metric_names()
    for name in re.findall(r"`(faceanalytics_[a-z_]+)", path.read_text()):
        assert name in shown, f"no metric {name}"


def test_alerts_use_metrics_and_label_values_that_exist() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    values = {one.value.lower() for kind in (SourceState, LinkQuality) for one in kind} | {
        "shutdown",
        "lost",
        "low",
        "stated",
    }
    values |= {code.name.lower() for code in grpc.StatusCode}
    assert len(rules) > 5
    for rule in rules:
        for name in re.findall(r"(?:faceanalytics|process)_[a-z_]+", rule["expr"]):
            assert name in metric_names(), f"no metric {name}"
        for texts in re.findall(r'"([a-z_|]+)"', rule["expr"]):
            assert {*texts.split("|")} <= values, rule["expr"]


@pytest.mark.parametrize("path", GUIDES, ids=name_of)
def test_benchmarks_that_are_named_exist(path: Path) -> None:
    from tests.benchmarks.__main__ import title_of

    for span in [*spans(path.read_text()), *code_blocks(path.read_text())]:
        for module, title in re.findall(r"python -m tests\.benchmarks(?:\.(\w+))?(?: (['\"][^'\"]+['\"]|\w+))?", span):
            assert not module or (ROOT / "tests" / "benchmarks" / f"{module}.py").is_file(), span
            assert module or not title or title_of(title.strip("\"'")), span


def test_the_benchmarks_page_is_that_of_its_numbers_and_modules() -> None:
    from tests.benchmarks.__main__ import MODULES

    results = json.loads(BENCHMARKS.with_suffix(".json").read_text())
    page = BENCHMARKS.read_text()
    assert len(results) > len(MODULES) / 2
    for title in results:  # a measurement that waits for a quiet machine has none yet
        module = MODULES[title]
        assert (module.__doc__ or "-").strip() in page, f"{title}: the description differs, `make bench` writes it"
        assert module.table(results[title]["figures"]) in page, f"{title}: the table differs, `make bench` writes it"
