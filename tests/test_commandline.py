"""What both programs share on the command line, and the help of every command."""

import argparse
import re
import shlex
from collections.abc import Callable, Iterator

import pytest

import streamer.cli
import workers.cli
from faceanalytics.commandline import positive, program, run_command
from faceanalytics.errors import ConfigError, ModelError, UserError

BANNED = re.compile(
    r"\b(so long|so many|is none|are none|anew|foretell|heeded|told|tells|no more|what is|whatever|who is)\b",
    re.IGNORECASE,
)
PROGRAMS = {"streamer": streamer.cli.parser, "swinface": workers.cli.parser}


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands, at any depth."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from walk(inner)


EVERY = [parser for make in PROGRAMS.values() for parser in walk(make())]


@pytest.mark.parametrize("parser", EVERY, ids=lambda parser: parser.prog)
def test_each_help_describes_its_command_and_gives_examples(parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    assert "\nexamples:\n" in text
    assert parser.description is not None
    assert parser.description.strip().endswith(".")
    assert not BANNED.search(text), BANNED.search(text)


@pytest.mark.parametrize("parser", EVERY, ids=lambda parser: parser.prog)
def test_each_argument_is_explained_and_each_option_shows_its_default(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        name = "/".join(action.option_strings) or action.dest
        assert action.help, f"{name} has no help"
        takes_value = action.option_strings and action.nargs != 0
        if takes_value and not action.required and not isinstance(action, argparse._AppendAction):
            shown = parser._get_formatter()._get_help_string(action) or ""
            optional_output = shown.startswith(("also ", "write ", "add ", "exit when"))  # nothing happens without it
            assert "(default: " in shown or optional_output, f"{name} does not show its default"


@pytest.mark.parametrize("parser", EVERY, ids=lambda parser: parser.prog)
def test_each_example_can_be_parsed(parser: argparse.ArgumentParser) -> None:
    assert parser.epilog is not None
    block = parser.epilog.partition("examples:\n")[2].partition("\n\n")[0]
    own = 0
    for line in block.splitlines():
        words = shlex.split(line.partition(">")[0])
        start = next((place for place, word in enumerate(words) if word in PROGRAMS), None)
        if start is not None:
            PROGRAMS[words[start]]().parse_args(words[start + 1 :])
            own += " ".join(words[start:]).startswith(parser.prog)
    assert own, "an example of the command itself"


def test_an_option_has_the_same_words_in_every_command() -> None:
    helps: dict[str, set[str]] = {}
    for parser in EVERY:
        for action in parser._actions:
            for name in action.option_strings:
                helps.setdefault(name, set()).add(re.sub(r" \(default: .*\)", "", action.help or ""))
    for name in ("--weights", "--device", "--threads", "--batch", "--detector", "--detector-size", "--min-score"):
        assert len(helps[name]) == 1, (name, helps[name])


def test_a_paragraph_is_wrapped_and_a_block_of_examples_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    parser, _ = program("tool", "word " * 20, "tool " + "x" * 60)
    text = parser.format_help()
    assert max(map(len, text.partition("examples:")[0].splitlines())) <= 40
    assert f"\n  tool {'x' * 60}\n" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "rtsp://u:secret@h/x"],
        ["watch", "h", "rtsp://u:se/cret@h/x"],
        ["analyze", "a.mp4", "--out", "o", "--explain=rtsp://u:secret@h/x"],
        ["detect", "rtsp://u:secret@h/x"],
        ["annotate", "https://u:secret@h/x", "--results", "r", "--out", "o"],
        ["evaluate-detector", "rtsp:/u:secret@h/x"],
    ],
)
def test_a_misplaced_address_is_refused_without_its_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        streamer.cli.parser().parse_args(arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "h/x" in said
    assert "secret" not in said
    assert "cret@" not in said


def failing(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("wrong"), 2, "tool: wrong\n"),
        (ModelError("no device"), 4, "tool: no device\n"),
        (ConfigError("rtsp:/u:s@c:ret@h/x: no such file"), 2, "tool: rtsp:/***@h/x: no such file\n"),
        (ConfigError("write rtsp://USER:PASSWORD@HOST"), 2, "tool: write rtsp://USER:PASSWORD@HOST\n"),
        (ConfigError("file:///v/me@home.mp4: empty"), 2, "tool: file:///v/me@home.mp4: empty\n"),
        (BaseExceptionGroup("both", [BaseExceptionGroup("one", [ModelError("no device")])]), 4, "tool: no device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_of_the_user_is_a_message_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("tool", failing(error)) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [ZeroDivisionError(), BaseExceptionGroup("both", [UserError("x"), ValueError("y")])])
def test_a_bug_is_not_hidden(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_command("tool", failing(error))


def test_a_number_below_one_is_refused() -> None:
    assert positive("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="0 is not at least 1"):
        positive("0")
