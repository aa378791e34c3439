"""The progress of a run over several videos: what is left is estimated by the frames that are really analysed."""

import json

import pytest

from faceanalytics.run_progress import RunProgress, Totals


def test_the_rest_is_estimated_by_the_speed_of_new_frames() -> None:
    totals = Totals(["a", "b", "c"])
    assert (totals.expected, totals.left_s) == (None, None)
    totals.videos[1].expected = 300
    for n in range(1, 51):
        totals.frame(0, n, 0, 100, 1000 + n / 10)  # ten frames per second, whatever came before the first
    assert totals.frames == 50
    assert totals.expected == 100 + 300 + 200  # the third counts as the others do
    assert totals.left_s == pytest.approx(55)
    assert totals.video_left_s(0) == pytest.approx(5)


def test_frames_of_an_earlier_run_count_as_done_but_not_for_the_speed() -> None:
    totals = Totals(["a"])
    for n in range(1, 501):
        totals.frame(0, n, 500, 1000, n / 1000)
    assert totals.speed.per_s() is None
    for n in range(501, 551):
        totals.frame(0, n, 500, 1000, n / 10)
    assert totals.speed.per_s() == pytest.approx(10)
    assert totals.left_s == pytest.approx(45)


def test_the_speed_is_that_of_the_last_half_minute() -> None:
    totals = Totals(["a"])
    for n in range(1000):
        totals.frame(0, n, 0, 10_000, n / 100)
    for n in range(400):
        totals.frame(0, 1000 + n, 0, 10_000, 10 + n / 5)
    assert totals.speed.per_s() == pytest.approx(5, rel=0.01)


def test_a_video_that_has_ended_has_nothing_left() -> None:
    totals = Totals(["a", "b"])
    for n in range(1, 21):
        totals.frame(0, n, 0, 100, float(n))
    totals.videos[0].status = "incomplete"  # it was cut off
    totals.videos[1].expected = 30
    assert totals.expected == 50
    assert totals.left_s == pytest.approx(30)


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(["a.mp4", "b.mp4"], "json") as progress:
        progress.expect(1, 7)
        progress.frame(0, 1, 0, 10)
        progress.ended(0, "complete", frames=10)
        progress.ended(1, "failed", problems=["b.mp4: not a video"])
        progress.finished(5)
    start, shown, first, second, end = map(json.loads, capsys.readouterr().err.splitlines())
    assert start == {"event": "start", "videos": 2}
    assert (shown["event"], shown["video"], shown["frames"], shown["expected_frames"]) == ("progress", "a.mp4", 1, 10)
    assert (shown["total"]["expected_frames"], shown["total"]["frames"]) == (17, 1)
    assert first == {"event": "video", "video": "a.mp4", "number": 1, "status": "complete", "frames": 10}
    assert second["problems"] == ["b.mp4: not a video"]
    assert end == {"event": "end", "exit_code": 5, "videos": {"complete": 1, "failed": 1}}


def test_nothing_is_shown_if_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(["a.mp4"], "none") as progress:
        progress.frame(0, 1, 0, 10)
        progress.ended(0, "complete")
        progress.finished(0)
    assert capsys.readouterr().err == ""
