"""Recorded results are written in the order of the frames, whatever the order and timing of the answers."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.files import JsonLines
from streamer.config import StreamerConfig
from streamer.identity.persons import Persons
from streamer.recorded.batches import CropBatches
from streamer.recorded.writer import ResultWriter, VideoResult
from streamer.values import (
    Bytes,
    ClockSource,
    Detections,
    EndReason,
    FaceAnalysis,
    Observation,
    Track,
    TrackEnd,
    TrackState,
)
from tests.support.builders import analysis, crop, key, split_key

SIZE = (640, 480)
CONFIG = StreamerConfig()


class Desk:
    """Answers the crops of each batch when it is asked to, in any order."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Bytes], asyncio.Future[list[FaceAnalysis | None]]]] = []

    async def analyse(self, crops: Sequence[Bytes]) -> list[FaceAnalysis | None]:
        answer: asyncio.Future[list[FaceAnalysis | None]] = asyncio.get_running_loop().create_future()
        self.waiting.append((crops, answer))
        return await answer

    def answer(self, place: int) -> None:
        crops, waiting = self.waiting.pop(place)
        waiting.set_result([answer(pixels) for pixels in crops])


def observation(index: int, names: str, ended: str = "") -> Observation:
    boxes = np.array([[10, 10, 50, 60]] * len(names), np.float32).reshape(-1, 4)
    found = Detections(boxes, np.full(len(names), 0.9, np.float32), np.zeros((len(names), 5, 2), np.float32))
    time = index / 25
    tracks = [Track(key(name), TrackState.CONFIRMED, boxes[row], 0.9, row, 0.0, time) for row, name in enumerate(names)]
    return Observation(
        camera="cam", epoch=0, media_time=time, captured_at=None, clock_source=ClockSource.FILE_PTS, received=0.0,
        frame_size=(640, 480), detections=found, tracks=tuple(tracks),
        crops=tuple(crop(name, time, fill=index) for name in names),
        ended=tuple(TrackEnd(key(name), EndReason.TIMEOUT, time, True) for name in ended),
    )  # fmt: skip


def answer(pixels: Bytes) -> FaceAnalysis:
    index = int(pixels[0, 0, 0])  # of its frame
    return analysis(age=20 + 7 * index / 25, expression=index % 7)


def record(folder: Path, seed: int) -> tuple[bytes, bytes]:
    """Ten frames of two tracks, answered in an order and at times that the seed decides."""
    folder.mkdir()
    random_order = random.Random(seed)
    result = VideoResult(folder / "video", folder)

    async def run() -> None:
        with JsonLines(folder / "tracks.jsonl") as tracks, JsonLines(folder / "observations.jsonl") as observations:
            writer = ResultWriter(Persons(CONFIG, split_key), tracks, observations, result, lambda: None, SIZE)
            desk = Desk()
            async with asyncio.TaskGroup() as group:
                batches = CropBatches(group, desk.analyse, writer.on_result, size=1, max_waiting=100)
                for index in range(10):
                    ended = {5: "a", 9: "b"}.get(index, "")
                    names = "ab" if index < 5 else "b"
                    await writer.accept(batches, observation(index, "" if index == 9 else names, ended))
                    await asyncio.sleep(0)  # the batches go out
                    while desk.waiting and random_order.random() < 0.4:
                        desk.answer(random_order.randrange(len(desk.waiting)))
                        await asyncio.sleep(0)
                while desk.waiting:
                    desk.answer(random_order.randrange(len(desk.waiting)))

    asyncio.run(run())
    assert (result.frames, result.tracks, result.crops, result.lost_crops) == (10, 2, 14, 0)
    return (folder / "tracks.jsonl").read_bytes(), (folder / "observations.jsonl").read_bytes()


def test_the_order_of_answers_does_not_show_in_the_files(tmp_path: Path) -> None:
    first, *others = [record(tmp_path / str(seed), seed) for seed in range(6)]
    assert others == [first] * 5
    tracks = [json.loads(line) for line in first[0].splitlines()]
    assert [(track["track_id"], track["samples"], track["final"]) for track in tracks] == [
        ("a", 5, True),
        ("b", 9, True),
    ]
    lines = [json.loads(line) for line in first[1].splitlines()]
    times = [line["media_time_s"] for line in lines if line["type"] == "observation"]
    assert times == sorted(times)
    assert sum(line["type"] == "analysis" for line in lines) == 14


def test_each_frame_has_a_record_before_those_of_its_faces_and_crops_say_theirs(tmp_path: Path) -> None:
    _, observations = record(tmp_path / "one", seed=1)
    lines = [json.loads(line) for line in observations.splitlines()]
    frames = [line for line in lines if line["type"] == "frame"]
    assert [(frame["frame"], frame["faces"]) for frame in frames] == [
        *((index, 2) for index in range(5)), *((index, 1) for index in range(5, 9)), (9, 0)
    ]  # fmt: skip
    assert [frame["media_time_s"] for frame in frames] == [round(index / 25, 6) for index in range(10)]
    seen = -1
    for line in lines:
        seen = line["frame"] if line["type"] == "frame" else seen
        assert line["frame"] == seen if line["type"] == "observation" else line["frame"] <= seen
        assert line["frame"] == round(line["media_time_s"] * 25)


def test_a_crop_that_was_given_up_is_in_the_files_and_in_the_count(tmp_path: Path) -> None:
    result = VideoResult(tmp_path / "video", tmp_path)

    async def run() -> None:
        with JsonLines(tmp_path / "tracks.jsonl") as tracks, JsonLines(tmp_path / "observations.jsonl") as observations:
            writer = ResultWriter(Persons(CONFIG, split_key), tracks, observations, result, lambda: None, SIZE)

            async def lose(crops: Sequence[Bytes]) -> list[FaceAnalysis | None]:
                return [None] * len(crops)

            async with asyncio.TaskGroup() as group:
                batches = CropBatches(group, lose, writer.on_result, size=4, max_waiting=8)
                await writer.accept(batches, observation(0, "a"))
                await batches.seal()

    asyncio.run(run())
    assert not result.whole
    assert result.lost_crops == 1
    *_, line = (tmp_path / "observations.jsonl").read_text().splitlines()
    assert json.loads(line)["analysis"] is None


def test_files_keep_their_partial_name_after_an_error(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with JsonLines(tmp_path / "tracks.jsonl") as lines:
            lines.write({"type": "header"})
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.jsonl.partial"]
    assert json.loads((tmp_path / "tracks.jsonl.partial").read_text()) == {"type": "header"}


async def test_batches_are_full_and_in_order_and_the_caller_waits_while_too_many_are_unanswered() -> None:
    desk, answered = Desk(), list[float]()
    faces = [crop("a", index / 25, fill=index) for index in range(20)]
    async with asyncio.TaskGroup() as group:
        batches = CropBatches(
            group, desk.analyse, lambda face, _: answered.append(face.media_time), size=4, max_waiting=8
        )

        async def feed() -> None:
            for face in faces:
                await batches.add(face)
            await batches.seal()

        feeding = group.create_task(feed())
        for _ in range(20):
            await asyncio.sleep(0)
        assert [len(crops) for crops, _ in desk.waiting] == [4, 4]  # and the third batch waits for room
        assert not feeding.done()
        while len(answered) < len(faces):
            if desk.waiting:
                desk.answer(0)
            await asyncio.sleep(0)
    assert answered == [face.media_time for face in faces]
