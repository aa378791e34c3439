"""The page: whole, valid and safe HTML that says everything about a recording, whatever is in the files."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamer.recorded.report.report import write_report
from tests.recorded.report.html import Node, read
from tests.support.result_files import BOB, HAND, LONG_NAME, POOR, USUAL, Person, Results, Track, crowded, named

ARABIC = "\u0639\u0644\u064a \u0628\u0646"
NO_AGE = {"outputs": {"age": False, "expression": False, "attributes": [], "identity": True}}
UNDECIDED = {
    "status": "UNDECIDED",
    "person": None,
    "reason": None,
    "candidates": [{"person": "Ada", "similarity": 0.412}, {"person": "Bo", "similarity": 0.38}],
}
CASES = {
    "usual": USUAL,
    "no face": Results(),
    "only false faces": Results(others=(HAND,)),
    "all undescribed": replace(USUAL, people=(POOR,)),
    "no age, no expression": replace(
        USUAL, people=(Person((Track(1, 0.0, 4.0, None, ()),)),), others=(), header=NO_AGE
    ),
    "untrained": replace(USUAL, header={"model_id": "untrained"}),
    "strange names": named("<script>alert(1)</script>", "\U0001f600 & \"'", ARABIC, LONG_NAME, "</style>"),
    "one frame": Results((Person((Track(1, 0.0, 0.0),)),), length_s=0.1),
    "explained": replace(USUAL, explained=True),
    "one shot": replace(USUAL, cuts=()),
}


def page(results: Results, folder: Path) -> str:
    results.write(folder)
    write_report([folder], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def tree(results: Results, folder: Path) -> Node:
    return read(page(results, folder))


def section(root: Node, title: str) -> Node:
    return next(one for one in root.all("section") if next(one.all("h3")).text == title)


@pytest.mark.parametrize("name", CASES)
def test_every_page_is_whole_and_points_only_to_what_is_there(tmp_path: Path, name: str) -> None:
    text = page(CASES[name], tmp_path)
    root = read(text)
    ids = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in root.all():
        for attribute in ("href", "src"):
            address = one.attributes.get(attribute) or ""
            assert not urlsplit(address).netloc
            assert urlsplit(address).scheme in ("", "data")
            assert not address.startswith("#") or address[1:] in ids
        assert not any(key.startswith("on") for key in one.attributes)
        if one.name == "img":
            assert "alt" in one.attributes
    assert not re.search(r"\bis (happy|sad|angry|neutral|surprised|fearful|disgusted)\b", root.text)
    assert "None" not in "".join(one.text for one in root.all("section"))
    assert len(list(root.all("h1"))) == 1


def test_the_policy_of_the_page_allows_its_script_and_no_network(tmp_path: Path) -> None:
    root = tree(USUAL, tmp_path)
    (script,) = root.all("script")
    policy = next(one for one in root.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")
    content = policy.attributes["content"] or ""
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in content
    assert not re.search(r"https?:|\*|connect-src|unsafe-eval", content)


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    root = tree(CASES["strange names"], tmp_path)
    titles = [title for card in root.all("article") for title in card.texts("h4")]
    assert titles == ["<script>alert(1)</script>", "\U0001f600 & \"'", ARABIC, LONG_NAME, "</style>"]
    assert len(list(root.all("script"))) == len(list(root.all("style"))) == 1
    for card in root.all("article"):
        assert next(card.all("h4")).texts("bdi")  # a name from right to left does not turn the text around it


def test_a_row_says_who_how_old_how_and_when(tmp_path: Path) -> None:
    root = tree(USUAL, tmp_path)
    ada, bob, poor = root.all("div", "person")
    assert next(ada.all("div", "text")).text == "Adaabout 27 (21\N{EN DASH}34)appears happy"
    assert next(bob.all("div", "text")).text.startswith("Person 2about 44 (38\N{EN DASH}51)")
    first, _ = ada.all("a", "span")
    assert first.attributes["style"] == "left:0%;width:40.404%"  # of 9.9 s
    assert next(bob.all("a", "span")).attributes["title"] == "Person 2: 0:01.0 to 0:05.0, mostly appears neutral"
    assert [next(iter(one.classes)) for one in first.all("i")] == ["Ne", "Ha"]
    assert [one.attributes["style"] for one in first.all("i")] == ["left:0%;width:50%", "left:50%;width:50%"]
    (silent,) = poor.all("a", "span")
    assert "not" in silent.classes
    assert not list(silent.all("i"))
    reason = "not described: crops too poor, cut off by the border of the picture"
    assert (silent.attributes["title"] or "").endswith(reason)


def test_a_card_says_what_is_known_and_how_well(tmp_path: Path) -> None:
    ada, _, poor = tree(USUAL, tmp_path).all("article")
    text = ada.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    for part in (
        "7.5 s in view, 2 times",
        "about 27 (21\N{EN DASH}34)",
        "appears happy 50 %, surprised 25 %, neutral 25 %",
        "seen at 0:00.0, 0:06.0 in 3 shots",
        "appears male",
        "8 crops analysed, best quality 0.60",
        "person-1",
    ):
        assert part in text, part
    assert "eyeglasses" not in text  # nobody is sure of it
    assert "Not described: crops too poor, cut off by the border of the picture." in poor.text
    assert "about" not in poor.text


def test_an_identity_that_is_not_sure_is_no_name(tmp_path: Path) -> None:
    decided = UNDECIDED | {"status": "IDENTIFIED", "person": "Ada"}
    unknown = UNDECIDED | {"status": "UNKNOWN"}
    tracks = (
        Track(number, number, number + 2.0, changes={"decision": decision})
        for number, decision in enumerate((UNDECIDED, decided, unknown), 1)
    )
    cards = tree(replace(USUAL, people=tuple(Person((one,)) for one in tracks)), tmp_path).all("article")
    shown = [next(one.all("tbody")).texts("td")[5] for one in cards]
    assert shown == ["maybe Ada 0.41, Bo 0.38", "Ada (0.41)", "unknown, nearest Ada 0.41"]


def test_the_totals_are_those_of_the_files(tmp_path: Path) -> None:
    (numbers,) = tree(USUAL, tmp_path).all("dl")
    assert dict(zip(numbers.texts("dt"), numbers.texts("dd"), strict=True)) == {
        "people": "3",
        "of them described": "2",
        "shots": "3",
        "tracks": "5",
        "tracks not described": "2",
        "false faces": "1",
        "faces in frames": "136",
        "crops analysed": "20",
    }


def test_what_was_not_described_has_its_reason(tmp_path: Path) -> None:
    dropped = section(tree(USUAL, tmp_path), "Dropped, or not described")
    poor, hand = next(dropped.all("tbody")).all("tr")
    assert poor.texts("td")[1:] == [
        "Track 3",
        "0:02.0\N{EN DASH}0:03.0",
        "Person 3",
        "crops too poor, cut off by the border of the picture",
        "blurred 4",
    ]
    assert hand.texts("td")[3:5] == ["nobody", "probably not a face"]


def test_why_an_analysis_is_incomplete_is_said_at_the_top(tmp_path: Path) -> None:
    stopped = replace(
        USUAL,
        people=(Person((Track(1, 0.0, 9.0, lost=2, end_reason="SHUTDOWN"),)), BOB),
        summary={"complete": False, "dropped": {"damaged": 3}},
        header={"time_base": {"zero": "first frame", "source": "estimated", "estimated_frames": 4, "restarts": 1}},
        frame={"frame_width": 1280, "frame_height": 720},
    )
    root = tree(stopped, tmp_path)
    (notice,) = root.all("p", "attention")
    assert notice.text == (
        "Not complete. 3 frames could not be analysed and were dropped: damaged. No worker answered for 2 crops of 12. "
        "The analysis was stopped at 0:09.9; the rest of the video is missing here."
    )
    listed = section(root, "Dropped, or not described").texts("li")
    assert listed[3:] == [
        "4 frames had no usable time and got that of its neighbours.",
        "The timestamps jumped 1 time; the jumps are left out here.",
        "The size of the pictures changes within the video: also 1280\N{MULTIPLICATION SIGN}720 px.",
    ]


def test_untrained_weights_are_called_noise(tmp_path: Path) -> None:
    (notice,) = tree(CASES["untrained"], tmp_path).all("p", "wrong")
    assert notice.text.startswith("Noise. The weights are untrained")


def test_without_a_face_the_page_says_so(tmp_path: Path) -> None:
    root = tree(Results(), tmp_path)
    assert section(root, "People").text.endswith("No face was found in this recording.")
    assert not list(root.all("form"))
    assert not list(root.all("figure"))


def test_what_the_weights_cannot_say_is_not_asked_for(tmp_path: Path) -> None:
    root = tree(CASES["no age, no expression"], tmp_path)
    assert {one.attributes["name"] for one in root.all("input") if "name" in one.attributes} == {
        "text",
        "shot",
        "least",
    }
    assert section(root, "In numbers").texts("h4")[0].startswith("Width of faces")
    assert "without age, expression; 0 attributes" in section(root, "How it was analysed").text
    (row,) = root.all("div", "person")
    assert "age and expression unknown" in row.text
    assert root.texts("li")[:2] == ["seen, expression unknown", "not described"]


def test_histograms_have_their_numbers_as_tables(tmp_path: Path) -> None:
    ages, expressions, widths, qualities = section(tree(USUAL, tmp_path), "In numbers").all("figure")
    assert ages.texts("td")[4:6] == ["20s", "1"]
    table = expressions.texts("td")
    shares = dict(zip(table[::2], table[1::2], strict=True))
    assert {name: share.split("\N{NARROW NO-BREAK SPACE}")[0] for name, share in shares.items() if share[0] != "0"} == {
        "surprised": "15",
        "happy": "33",
        "angry": "12",
        "neutral": "41",
    }
    assert sum(int(value) for value in widths.texts("td")[1::2]) == 136
    assert sum(int(value) for value in qualities.texts("td")[1::2]) == 20
    for figure in (ages, expressions, widths, qualities):
        assert next(figure.all("svg")).attributes["aria-label"]


def test_each_shot_lists_its_people(tmp_path: Path) -> None:
    tiles = list(section(tree(USUAL, tmp_path), "Shots").all("li"))
    assert [tile.texts("small")[0] for tile in tiles] == [
        "0:00.0, 2.5 s, start",
        "0:02.5, 2.5 s, cut",
        "0:05.0, 4.9 s, fade",
    ]
    assert tiles[0].texts("bdi") == ["Ada", "Person 2", "Person 3"]
    assert tiles[2].texts("bdi") == ["Ada", "Person 2"]


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    assert page(USUAL, tmp_path / "one") == page(USUAL, tmp_path / "two")


@pytest.mark.slow
def test_a_long_recording_of_many_people_makes_a_page_of_moderate_size(tmp_path: Path) -> None:
    text = page(crowded(fps=1.0), tmp_path)
    root = read(text)
    assert len(list(root.all("article"))) == len(list(root.all("div", "person"))) == 300
    assert len(text.encode()) < 3_000_000  # pictures come on top, at most two megabytes
    assert sum(1 for row in root.all("div", "person") for _ in row.all("i")) <= 10_000
