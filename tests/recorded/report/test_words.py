"""Markup is escaped, and times, ages and reasons are words."""

import pytest

from streamer.labels import EXPRESSIONS
from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, element, join, table
from streamer.values import EndReason, Reason, SendDecision


def test_texts_and_attributes_are_escaped_and_markup_is_not() -> None:
    inner = element("b", "<i>", Markup("&amp;"))
    assert inner == "<b>&lt;i&gt;&amp;</b>"
    assert element("p", inner, [None, "&"], title='"', data_row=1) == f'<p title="&quot;" data-row="1">{inner}&amp;</p>'
    assert element("input", type="text", hidden=True, checked=False, name=None) == '<input type="text" hidden>'
    assert join("<", None, ["a", inner]) == f"&lt;a{inner}"
    assert "<td>&lt;script&gt;</td>" in table(["head"], [["<script>"]], caption="what")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (9.96, "0:10.0"), (59.94, "0:59.9"), (59.96, "1:00.0"), (61.25, "1:01.2"), (3723.4, "1:02:03.4")],
)
def test_media_times_are_shown_as_clocks(seconds: float, shown: str) -> None:
    assert words.clock(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(3.21, "3.2 s"), (59.9, "59.9 s"), (65, "1 min 5 s"), (3599.6, "1 h 0 min"), (7320, "2 h 2 min")],
)
def test_lengths_of_time_have_units(seconds: float, shown: str) -> None:
    assert words.length(seconds) == shown


def test_an_age_has_its_interval_and_is_never_negative() -> None:
    assert words.age({"years": 27.4, "low_years": 24.0, "high_years": 30.2}) == "27 (24\N{EN DASH}30)"
    assert words.age({"years": 1.2, "low_years": -3.0, "high_years": 5.6}) == "1 (0\N{EN DASH}6)"
    assert words.age(None) == ""


def test_every_name_of_the_files_has_words() -> None:
    assert set(words.APPEARS) == set(EXPRESSIONS)
    assert len(set(words.CODES.values())) == len(EXPRESSIONS)
    assert {reason.value for reason in Reason} <= set(words.REASONS)
    assert {decision.value for decision in SendDecision} == set(words.DECISIONS)
    assert {EndReason.TIMEOUT.value, EndReason.SHUTDOWN.value, EndReason.SPLIT.value} <= set(words.ENDS)
    assert words.reasons(["BORDER", "SOMETHING_NEW"]) == "cut off by the border of the picture, something new"


def test_small_shares_are_not_rounded_to_nothing() -> None:
    shown = [words.percent(share).replace("\N{NARROW NO-BREAK SPACE}", " ") for share in (0, 0.001, 0.5, 1)]
    assert shown == ["0 %", "<1 %", "50 %", "100 %"]


def test_one_thing_has_no_plural() -> None:
    assert [words.count(number, "person", "people") for number in (0, 1, 2)] == ["0 people", "1 person", "2 people"]
    assert words.count(2000, "frame") == "2,000 frames"
