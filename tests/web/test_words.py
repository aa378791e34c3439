"""What the pages say without being asked: sizes, and lists that the streamer has, too."""

import re
from pathlib import Path

from streamer.recorded.captions import COLOURS
from streamer.values import Reason, Undescribed
from streamer.web.application import STATIC

MOST = 100_000  # characters of our own code, before compression


def test_tracks_have_the_colours_of_annotated_videos() -> None:
    line = re.search(r"COLOURS = \[(.*?)\]", (STATIC / "words.js").read_text(), re.DOTALL)
    assert line is not None
    assert tuple(re.findall(r"#[0-9a-f]{6}", line.group(1))) == COLOURS


def test_every_reason_has_words() -> None:
    text = (STATIC / "track.js").read_text()
    for name in (*Reason, *Undescribed):
        assert f"{name.value}:" in text, name


def test_the_code_of_each_page_is_small() -> None:
    templates = STATIC.parent / "templates"
    shared = re.findall(r"static }}/([\w.]+)", (templates / "base.html").read_text())
    for template in templates.glob("*.html"):
        waiting = [*shared, *re.findall(r"static }}/([\w.]+)", template.read_text())]
        code: dict[str, str] = {}  # by name of the file
        while waiting:
            name = waiting.pop()
            if name not in code:
                code[name] = (STATIC / name).read_text()
                waiting += re.findall(r'from "\./([\w.]+)"', code[name])
        assert sum(map(len, code.values())) < MOST, template.name


def test_nothing_is_asked_of_other_machines() -> None:
    for path in (*STATIC.rglob("*"), *(STATIC.parent / "templates").rglob("*.html")):
        if path.is_file():
            found = set(re.findall(r"https?://[^\s\"'<>`)]+", path.read_text())) - {"http://www.w3.org/2000/svg"}
            assert not found, (Path(path).name, found)
