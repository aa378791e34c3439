"""A folder of people's images names the faces of videos: what is taken from it, and from the file to the answer."""

import asyncio
import json
import logging
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from faceanalytics.errors import ConfigError
from faceanalytics.internal.v1 import faces_pb2
from faceanalytics.v1 import streams_pb2, streams_pb2_grpc, tracks_pb2, tracks_pb2_grpc
from streamer.api.server import Server
from streamer.app import LiveService
from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.detect.detector import Detector
from streamer.identity.references import Unusable, read_people, subject_of
from streamer.recorded.analysis import Analysis
from streamer.tools.watch import event_line
from streamer.values import Detections, Quality
from tests.support.painted_people import painted_worker, person, write_image, write_video
from tests.support.patch_detector import write_lite_patch_detector
from tests.support.patience import WAIT_S

ADA, BOB, STRANGER = person(1), person(2), person(7)
COHORT = 12  # people


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector, a gallery of two, a cohort, and a video: ada goes and returns, a stranger stays."""
    folder = tmp_path_factory.mktemp("gallery")
    write_lite_patch_detector(folder / "patches.onnx")
    write_image(folder / "people" / "ada" / "front.png", [ADA])
    write_image(folder / "people" / "ada" / "older" / "2.jpg", [ADA])
    write_image(folder / "people" / "bob" / "1.png", [BOB])
    for number in range(COHORT):
        write_image(folder / "cohort" / f"stranger {number}" / "1.png", [person(100 + number)])
    write_video(folder / "clip.mp4", {ADA: [(0, 1.6), (4, 6)], STRANGER: [(0, 6)]}, 6)
    return folder


def config(place: Path, bind: Path, **changes: Any) -> StreamerConfig:
    data: dict[str, Any] = {
        "detect": {"weights": str(place / "patches.onnx")},
        "dispatch": {"bind": f"ipc://{bind}/w"},
        "publish": {"listen": "127.0.0.1:0"},
        "gallery": {"folder": str(place / "people"), "cohort": str(place / "cohort"), "false_accept_rate": 0.25},
        "relink": {"false_link_rate": 0.25},
    }
    return parse_config({**data, **changes}, "test")


async def analyse(settings: StreamerConfig, video: Path, out: Path, **worker: Any) -> list[dict[str, Any]]:
    """The lines of tracks.jsonl."""
    async with asyncio.timeout(WAIT_S), painted_worker(settings.dispatch.bind, **worker):
        (result,) = await Analysis(settings, None).run([(video, out)], lambda *_: None)
    assert result.whole, result.problem
    return [json.loads(line) for line in (out / "tracks.jsonl").read_text().splitlines()]


async def test_a_recording_names_who_is_in_the_gallery_and_joins_who_returns(place: Path, tmp_path: Path) -> None:
    header, *tracks = await analyse(config(place, tmp_path), place / "clip.mp4", tmp_path / "one")
    assert (header["gallery"]["people"], header["gallery"]["false_accept_rate"]) == (2, 0.25)
    stranger, ada = sorted(tracks, key=lambda track: len(track["intervals"]))
    decision = ada["decision"]
    assert (decision["status"], decision["person"], decision["reason"]) == ("IDENTIFIED", "ada", None)
    assert [one["person"] for one in decision["candidates"]] == ["ada", "bob"]
    assert decision["candidates"][0]["similarity"] > 0.95 > decision["threshold"]
    assert decision["threshold"] == round(header["gallery"]["threshold"], 4)
    assert [round(one["last_seen_s"]) for one in ada["intervals"]] == [1, 6]
    decision = stranger["decision"]
    assert (decision["status"], decision["person"], decision["reason"]) == ("UNKNOWN", None, "BELOW_THRESHOLD")


async def test_the_weights_own_table_serves_without_a_cohort_and_nothing_without_either(
    place: Path, tmp_path: Path
) -> None:
    gallery = {"folder": str(place / "people"), "false_accept_rate": 0.1}
    settings = config(place, tmp_path, gallery=gallery)
    table = faces_pb2.ImpostorScores(
        pairs=1000, people=50, shares=[0.01, 0.1, 1], cosines=[0.8, 0.5, -1], source="card"
    )
    header, *tracks = await analyse(settings, place / "clip.mp4", tmp_path / "card", impostors=table)
    assert header["gallery"]["threshold"] == 0.8  # 1 - 0.9^(1/2) = 0.0513, of which the table has 0.01
    assert {track["decision"]["person"] for track in tracks} == {"ada", None}
    with pytest.raises(ExceptionGroup) as caught:
        await analyse(settings, place / "clip.mp4", tmp_path / "none")
    assert caught.group_contains(
        ConfigError, match=r"gallery\.cohort: missing, and the card of the weights colours has no impostor_scores"
    )


async def test_a_live_track_gets_its_name_as_soon_as_the_gallery_is_embedded(place: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", {ADA: [(0, 60)]}, 60)
    streams: Any = [{"id": "door", "uri": str(tmp_path / "long.mp4"), "loop": True}]
    settings = config(place, tmp_path, streams=streams)
    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    live = LiveService(settings, started.set_result)
    request = tracks_pb2.WatchTracksRequest()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(live.run())
        server = await started
        async with painted_worker(settings.dispatch.bind), grpc.aio.insecure_channel(server.address) as channel:
            async for event in tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(request):
                if event.track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
                    live.stop()
                    break
            await running
    decision = event.track.decision
    assert (decision.person, decision.candidates[0].person, len(decision.candidates)) == ("ada", "ada", 2)
    assert decision.candidates[0].similarity > 0.85 > decision.threshold
    assert "  ada  " in (event_line(event) or "")


async def test_a_person_whose_folder_is_not_utf_8_reaches_every_subscriber(place: Path, tmp_path: Path) -> None:
    rene = tmp_path / "people" / os.fsdecode(b"Ren\xe9")
    write_image(tmp_path / "1.png", [ADA])
    rene.mkdir(parents=True)
    (tmp_path / "1.png").rename(rene / "1.png")
    write_image(tmp_path / "people" / "bob" / "1.png", [BOB])
    write_video(tmp_path / "long.mp4", {ADA: [(0, 60)]}, 60)
    video = (tmp_path / "long.mp4").rename(tmp_path / os.fsdecode(b"vid\xe9o.mp4"))
    gallery = {"folder": str(tmp_path / "people"), "cohort": str(place / "cohort"), "false_accept_rate": 0.25}
    streams: Any = [{"id": "door", "uri": str(video), "loop": True}]
    settings = config(place, tmp_path, streams=streams, gallery=gallery)
    started: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    live = LiveService(settings, started.set_result)
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(live.run())
        server = await started
        async with painted_worker(settings.dispatch.bind), grpc.aio.insecure_channel(server.address) as channel:
            async for event in tracks_pb2_grpc.TrackServiceStub(channel).WatchTracks(tracks_pb2.WatchTracksRequest()):
                if event.track.decision.status == tracks_pb2.IDENTITY_STATUS_IDENTIFIED:
                    break
            listed = await streams_pb2_grpc.StreamServiceStub(channel).ListStreams(streams_pb2.ListStreamsRequest())
            live.stop()
            await running
    assert event.track.decision.person == r"Ren\xe9"
    assert [stream.settings.uri for stream in listed.streams] == [rf"{tmp_path}/vid\xe9o.mp4"]


def test_people_are_found_as_folders_of_images_and_what_systems_leave_is_skipped(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector, settings = Detector(config(place, tmp_path).detect), StreamerConfig().crop
    for name in ("ada/1.png", "ada/.ipynb_checkpoints/1.png", "__MACOSX/ada/1.png", ".ipynb_checkpoints/1.png"):
        write_image(tmp_path / "people" / name, [ADA])
    write_image(tmp_path / "people" / "ada" / "@eaDir" / "1.png" / "thumb.png", [BOB])
    (tmp_path / "people" / "ada" / "Thumbs.db").write_bytes(b"x")
    caplog.set_level(logging.INFO)
    (only,) = read_people(tmp_path / "people", "gallery.folder", detector, settings, lambda: False)
    assert (only.person, only.name) == ("ada", "ada/1.png")
    assert "hidden files and folders, skipped: 5 (" in caplog.text


def test_accents_are_of_one_form_and_two_folders_that_look_the_same_are_refused(place: Path, tmp_path: Path) -> None:
    detector, settings = Detector(config(place, tmp_path).detect), StreamerConfig().crop
    composed, apart = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    write_image(tmp_path / "people" / apart / "1.png", [ADA])
    (only,) = read_people(tmp_path / "people", "gallery.folder", detector, settings, lambda: False)
    assert only.person == composed
    write_image(tmp_path / "people" / composed / "1.png", [BOB])
    with pytest.raises(ConfigError, match=f"two folders are called {composed}"):
        read_people(tmp_path / "people", "gallery.folder", detector, settings, lambda: False)


def test_images_that_are_no_use_are_named_with_the_reason(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector, settings = Detector(config(place, tmp_path).detect), StreamerConfig().crop
    write_image(tmp_path / "people" / "ada" / "good.png", [ADA])
    write_image(tmp_path / "people" / "ada" / "nobody.png", [])
    write_image(tmp_path / "people" / "ada" / "two.png", [ADA, BOB])
    (tmp_path / "people" / "ada" / "notes.txt").write_text("no image")
    (tmp_path / "people" / "ada" / ".hidden").write_text("")
    caplog.set_level(logging.INFO)
    (only,) = read_people(tmp_path / "people", "gallery.folder", detector, settings, lambda: False)
    assert (only.person, only.name, only.pixels.shape) == ("ada", "ada/good.png", (112, 112, 3))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == [
        "gallery.folder: ada/nobody.png left out: no face is found in it",
        "gallery.folder: ada/notes.txt left out: not an image, or of an unknown or damaged format (8 bytes)",
    ]
    assert lines[2].startswith(
        "gallery.folder: ada/two.png left out: 2 faces, and none is much larger and clearer than the others: "
        "cut it down to one. x, y, width x height in pixels: "
    )
    assert re.search(r": (\d+, \d+, 6\dx6\d score [01]\.\d\d quality 0\.\d\d(, )?){2}$", lines[2])
    blurred = settings.model_copy(update={"min_sharpness": 1.0})
    with pytest.raises(ConfigError, match="no usable image of ada"):
        read_people(tmp_path / "people", "gallery.folder", detector, blurred, lambda: False)
    assert "ada/good.png left out: its face is not good enough: LOW_SHARPNESS" in caplog.text
    for folder, message in (("none", "cannot read the folder"), ("people/ada", "has no sub-folders")):
        with pytest.raises(ConfigError, match=message):
            read_people(tmp_path / folder, "gallery.folder", detector, settings, lambda: False)


def test_a_image_that_ends_at_the_face_is_taken_with_a_margin_around_it(place: Path, tmp_path: Path) -> None:
    import cv2

    write_image(tmp_path / "whole.png", [ADA])
    whole = cv2.imread(str(tmp_path / "whole.png"))
    assert whole is not None
    (tmp_path / "people" / "ada").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "people" / "ada" / "cut.png"), np.ascontiguousarray(whole[200:264, 100:164]))
    detector = Detector(config(place, tmp_path).detect.model_copy(update={"max_upscale": 1.0}))
    (only,) = read_people(tmp_path / "people", "gallery.folder", detector, StreamerConfig().crop, lambda: False)
    assert only.person == "ada"


def seen(*rows: tuple[float, float, float]) -> tuple[Detections, list[Quality]]:
    """Faces side by side: width in pixels, score, quality."""
    widths, scores = (np.array(column, np.float32) for column in list(zip(*rows, strict=True))[:2])
    left = np.arange(len(rows), dtype=np.float32) * 400
    boxes = np.stack([left, np.zeros_like(left), left + widths, widths], axis=1)
    return Detections(boxes, scores, np.zeros((len(rows), 5, 2), np.float32)), [Quality(row[2]) for row in rows]


@pytest.mark.parametrize(
    ("rows", "subject"),
    [
        ([(100, 0.8, 0.8)], 0),
        ([(100, 0.8, 0.8), (40, 0.8, 0.8)], 0),
        ([(80, 0.6, 0.1), (100, 0.8, 0.8)], 1),  # a blurred box that is no face, or a poor one
        ([(100, 0.8, 0.8), (80, 0.8, 0.7)], None),
        ([(100, 0.8, 0.8), (160, 0.8, 0.1)], None),  # the larger of two people looks away
        ([(100, 0.8, 0.0), (60, 0.8, 0.0)], None),
    ],
)
def test_the_face_of_an_image_is_larger_and_clearer_than_the_others(
    rows: list[tuple[float, float, float]], subject: int | None
) -> None:
    faces, qualities = seen(*rows)
    if subject is not None:
        assert subject_of(faces, qualities) == subject
        return
    with pytest.raises(Unusable, match="2 faces, and none is much larger and clearer") as raised:
        subject_of(faces, qualities)
    for row, (width, score, quality) in enumerate(rows):
        assert f"{400 * row}, 0, {width}x{width} score {score:.2f} quality {quality:.2f}" in str(raised.value)
