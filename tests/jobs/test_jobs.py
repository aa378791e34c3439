"""Jobs over a real server: uploads, repeated requests, quotas, whose job it is, and which paths are allowed."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from faceanalytics.errors import ConfigError
from faceanalytics.v1 import analysis_pb2
from streamer.access.tokens import Scope
from streamer.jobs import uploads
from streamer.jobs.job import JobOptions, JobState
from tests.api.test_guard import status
from tests.support.guarded_server import guarded
from tests.support.job_server import VIDEO, Client, jobs_in, parts, serving_jobs
from tests.support.patience import WAIT_S

CODE = grpc.StatusCode
QUEUED, CANCELLED = analysis_pb2.JOB_STATE_QUEUED, analysis_pb2.JOB_STATE_CANCELLED


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    code, text = await status(call)
    assert code is not CODE.OK
    return code, text


# --- uploads


async def test_an_upload_becomes_the_recording_of_a_job(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        job = await client.start(upload_id=await client.upload(name="../été [1].mp4"))
        assert (job.recording, job.path, job.state) == ("_t_ _1_.mp4", "", QUEUED)
        (kept,) = files(tmp_path / "jobs")
        assert kept == f"jobs/{job.job_id}/input/_t_ _1_.mp4"
        assert (tmp_path / "jobs" / kept).read_bytes() == VIDEO
        assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("stated", "code", "text"),
    [
        ({"sha256": "0" * 64}, CODE.INVALID_ARGUMENT, "upload.sha256: the bytes that came have another one"),
        ({"sha256": "ABC"}, CODE.INVALID_ARGUMENT, "upload.sha256: write"),
        ({"size": len(VIDEO) + 1}, CODE.INVALID_ARGUMENT, "chunk: 2000 bytes came"),
        ({"size": len(VIDEO) - 1}, CODE.INVALID_ARGUMENT, "chunk: more than the 1999 bytes"),
        ({"size": 0}, CODE.INVALID_ARGUMENT, "upload.size_bytes: the file is empty"),
        ({"size": 10**9}, CODE.RESOURCE_EXHAUSTED, "upload.size_bytes: 1000.0 MB are more than 1 MB"),
        ({"name": "..."}, CODE.INVALID_ARGUMENT, "upload.name"),
    ],
)
async def test_an_upload_that_is_not_what_it_states_leaves_nothing(
    tmp_path: Path, stated: dict[str, Any], code: grpc.StatusCode, text: str
) -> None:
    async with serving_jobs(tmp_path, max_upload_mb=1) as (_, _, channel):
        found, said = await refusal(Client(channel, "").call("UploadRecording", parts(VIDEO, **stated)))
        assert found is code
        assert said.startswith(text)
        assert files(tmp_path / "jobs") == []


async def test_an_upload_needs_its_statement_first_and_only_once(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        first, *chunks = parts(VIDEO)
        for messages in ([], chunks, [first, first]):
            code, _ = await refusal(client.call("UploadRecording", iter(messages)))
            assert code is CODE.INVALID_ARGUMENT
        assert files(tmp_path / "jobs") == []


async def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        began, incoming = asyncio.Event(), tmp_path / "jobs" / "incoming"

        async def half() -> Any:
            for part in list(parts(VIDEO))[:5]:
                yield part
            began.set()
            await asyncio.Event().wait()

        call = Client(channel, "").call("UploadRecording", half())
        await began.wait()
        async with asyncio.timeout(WAIT_S):
            while not files(incoming):
                await asyncio.sleep(0.01)
            call.cancel()
            while list(incoming.iterdir()):
                await asyncio.sleep(0.01)
        assert files(tmp_path / "jobs") == []


async def test_an_upload_that_stands_still_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "STALL_S", 0.1)
    async with serving_jobs(tmp_path) as (_, _, channel):

        async def half() -> Any:
            yield next(parts(VIDEO))
            await asyncio.Event().wait()

        code, _ = await refusal(Client(channel, "").call("UploadRecording", half()))
        assert code is CODE.DEADLINE_EXCEEDED
        assert list((tmp_path / "jobs" / "incoming").iterdir()) == []


async def test_what_a_killed_streamer_left_of_uploads_and_jobs_is_removed_at_the_next_start(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        kept = await client.upload()
        old = await client.upload(b"old")
        job = await client.start(upload_id=await client.upload(b"used"))
    folder = tmp_path / "jobs"
    for place in ("incoming/1/a.mp4", "jobs/unknown/input/a.mp4"):
        (folder / place).parent.mkdir(parents=True)
        (folder / place).write_bytes(b"x")
    os.utime(folder / "uploads" / old, (0, 0))
    async with jobs_in(tmp_path):
        assert files(folder) == [
            f"jobs/{job.job_id}/input/a.mp4", f"uploads/{kept}/.upload.json", f"uploads/{kept}/a.mp4"
        ]  # fmt: skip


# --- requests


async def test_a_request_that_is_repeated_makes_one_job(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(VIDEO)
    (tmp_path / "in" / "b.mp4").write_bytes(VIDEO)
    async with serving_jobs(tmp_path, inputs=[str(tmp_path / "in")]) as (_, _, channel):
        client = Client(channel, "")
        first = await client.start(request_id="r", path="a.mp4")
        assert first.path == str(tmp_path / "in" / "a.mp4")
        assert (await client.start(request_id="r", path=str(tmp_path / "in" / "a.mp4"))).job_id == first.job_id
        for other in ({"path": "b.mp4"}, {"path": "a.mp4", "options": analysis_pb2.JobOptions(effort=2)}):
            code, text = await refusal(client.call("StartJob", request_id="r", **other))
            assert (code, first.job_id in text) == (CODE.ALREADY_EXISTS, True)
        code, _ = await refusal(client.call("StartJob", request_id="r", upload_id=await client.upload()))
        assert code is CODE.ALREADY_EXISTS
        assert len({(await client.start(path="a.mp4")).job_id for _ in range(2)}) == 2
        both = await asyncio.gather(*(client.start(request_id="s", path="a.mp4") for _ in range(5)))
        assert len({job.job_id for job in both}) == 1
        (tmp_path / "in" / "a.mp4").unlink()
        assert (await client.start(request_id="r", path="a.mp4")).job_id == first.job_id


async def test_a_recording_that_is_uploaded_again_for_the_same_request_is_the_same(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        upload = await client.upload()
        first = await client.start(request_id="r", upload_id=upload)
        assert (await client.start(request_id="r", upload_id=upload)).job_id == first.job_id
        assert (await client.start(request_id="r", upload_id=await client.upload())).job_id == first.job_id
        assert files(tmp_path / "jobs") == [f"jobs/{first.job_id}/input/a.mp4"]
        other = await client.upload(b"another")
        code, _ = await refusal(client.call("StartJob", request_id="r", upload_id=other))
        assert code is CODE.ALREADY_EXISTS
        await client.call("CancelJob", job_id=first.job_id)
        assert (await client.start(request_id="r", upload_id=upload)).state == CANCELLED


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"effort": 6}, "options.effort: "),
        ({"sample_fps": -1}, "options.sample_fps: "),
        ({"detect_fps": float("nan")}, "options.detect_fps: "),
        ({"min_face_px": float("inf")}, "options.min_face_px: "),
        ({"region": "1,2,3"}, "options.region: "),
        ({"video_stream": 5000}, "options.video_stream: "),
        ({"start": Duration(seconds=-1)}, "options.start: "),
        ({"start": Duration(seconds=5), "end": Duration(seconds=5)}, "options.end: "),
        ({"start_time": Timestamp(seconds=1 << 60)}, "options.start_time: "),
        ({"tables": [0]}, "options.tables.0: "),
        ({"formats": [99]}, "options.formats.0: "),
    ],
)
async def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        message = analysis_pb2.JobOptions(**options)
        code, said = await refusal(Client(channel, "").call("StartJob", path="a.mp4", options=message))
        assert code is CODE.INVALID_ARGUMENT
        assert said.startswith(text)


async def test_a_request_needs_a_source_and_a_short_id(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        for fields in ({}, {"path": "a", "request_id": "x" * 200}, {"path": "a", "request_id": "a\nb"}):
            assert (await refusal(client.call("StartJob", **fields)))[0] is CODE.INVALID_ARGUMENT
        for name in ("", "x", "../../jobs", "0" * 32):
            code, _ = await refusal(client.call("StartJob", upload_id=name))
            assert code is CODE.NOT_FOUND


async def test_options_come_back_as_they_were_given(tmp_path: Path) -> None:
    given = analysis_pb2.JobOptions(
        start=Duration(seconds=1, nanos=500_000_000),
        end=Duration(seconds=9),
        sample_fps=5,
        effort=3,
        detect_fps=2.5,
        region="0,50%,100%,50%",
        min_face_px=40,
        video_stream=0,
        start_time=Timestamp(seconds=1_700_000_000),
        embeddings=True,
        explain=True,
        annotate=True,
        report=True,
        tables=[analysis_pb2.TABLE_FORMAT_CSV, analysis_pb2.TABLE_FORMAT_PARQUET, analysis_pb2.TABLE_FORMAT_CSV],
        formats=[analysis_pb2.EXPORT_FORMAT_CONTACT_SHEET],
    )
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        job = await client.start(upload_id=await client.upload(), options=given)
        given.tables[:] = [analysis_pb2.TABLE_FORMAT_PARQUET, analysis_pb2.TABLE_FORMAT_CSV]
        assert job.options == given
    options = JobOptions(start=1.5, end=1e-7 + 9, sample_fps=1e-3, region="0,50%,100%,50%", formats=("mot",))
    assert options.arguments()[:1] == ["--start=1.5"]
    assert not any("e-" in one.partition("=")[2] for one in options.arguments())


# --- who may do what


async def test_jobs_belong_to_the_token_that_adds_them(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (at, _, channel):
        one, two = [Client(channel, await at.token(Scope.READ, Scope.OPERATE)) for _ in range(2)]
        admin = Client(channel, await at.token(Scope.ADMIN))
        reader = Client(channel, await at.token(Scope.READ))
        upload = await one.upload()
        assert (await refusal(two.call("StartJob", upload_id=upload)))[0] is CODE.NOT_FOUND
        job = await one.start(upload_id=upload, request_id="r")
        mine = await two.start(upload_id=await two.upload(), request_id="r")  # the same id of another token
        assert mine.job_id != job.job_id
        assert [each.job_id for each in await reader.jobs()] == [job.job_id, mine.job_id]
        assert (await refusal(two.call("CancelJob", job_id=job.job_id)))[0] is CODE.PERMISSION_DENIED
        assert (await refusal(reader.call("CancelJob", job_id=job.job_id)))[0] is CODE.PERMISSION_DENIED
        assert (await one.call("CancelJob", job_id=job.job_id)).job.state == CANCELLED
        assert (await admin.call("CancelJob", job_id=mine.job_id)).job.state == CANCELLED
        assert (await refusal(two.call("DeleteJob", job_id=job.job_id)))[0] is CODE.PERMISSION_DENIED
        await admin.call("DeleteJob", job_id=job.job_id)
        assert [each.job_id for each in await reader.jobs()] == [mine.job_id]
        written = [entry["method"].rpartition("/")[2] for entry in at.audit() if entry["outcome"] == "OK"]
        assert written == [
            "UploadRecording",
            "StartJob",
            "UploadRecording",
            "StartJob",
            *["CancelJob"] * 2,
            "DeleteJob",
        ]


async def test_a_token_that_is_restricted_to_cameras_has_no_jobs(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (at, _, channel):
        client = Client(channel, await at.token(Scope.ADMIN, cameras=("door",)))
        for call in (client.call("ListJobs"), client.call("StartJob", path="a"), client.call("GetJob", job_id="x")):
            code, text = await refusal(call)
            assert (code, text) == (
                CODE.PERMISSION_DENIED,
                "a token that is restricted to cameras may not make this call",
            )
        assert (await refusal(client.call("UploadRecording", parts(VIDEO))))[0] is CODE.PERMISSION_DENIED
        assert files(tmp_path / "jobs") == []


async def test_results_need_both_scopes(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (at, jobs, channel):
        client = Client(channel, await at.token(Scope.OPERATE))
        job = await client.start(upload_id=await client.upload())
        reader = Client(channel, await at.token(Scope.READ))
        assert (await refusal(reader.call("ListResults", job_id=job.job_id)))[0] is CODE.FAILED_PRECONDITION
        content = b"names" * 100_000
        place = tmp_path / "jobs" / "jobs" / job.job_id / "results" / "tracks.jsonl"
        place.parent.mkdir()
        place.write_bytes(content)
        await jobs._end(await jobs.get(job.job_id), JobState.SUCCEEDED)
        (found,) = (await reader.call("ListResults", job_id=job.job_id)).results
        assert (found.name, found.size_bytes, found.sha256) == (
            "tracks.jsonl", len(content), hashlib.sha256(content).hexdigest()
        )  # fmt: skip

        async def fetched(*scopes: Scope, name: str = "tracks.jsonl", offset: int = 0) -> bytes:
            at_once = Client(channel, await at.token(*scopes))
            answers = at_once.call("GetResult", job_id=job.job_id, name=name, offset=offset)
            return b"".join([answer.data async for answer in answers])

        assert await fetched(Scope.READ, Scope.BIOMETRIC) == content
        assert await fetched(Scope.ADMIN, offset=499_999) == content[-1:]
        assert await fetched(Scope.ADMIN, offset=500_000) == b""
        for scopes in ((Scope.READ,), (Scope.BIOMETRIC,), (Scope.OPERATE,)):
            with pytest.raises(aio.AioRpcError) as caught:
                await fetched(*scopes)
            assert caught.value.code() is CODE.PERMISSION_DENIED
        for name in ("", "../../../store/store.sqlite", "/etc/passwd", "tracks.jsonl/", "TRACKS.JSONL", "\0"):
            with pytest.raises(aio.AioRpcError) as caught:
                await fetched(Scope.ADMIN, name=name)
            assert caught.value.code() is (CODE.INVALID_ARGUMENT if name == "\0" else CODE.NOT_FOUND)
        with pytest.raises(aio.AioRpcError) as caught:
            await fetched(Scope.ADMIN, offset=500_001)
        assert caught.value.code() is CODE.OUT_OF_RANGE
        await client.call("DeleteJob", job_id=job.job_id)
        assert files(tmp_path / "jobs") == []
        assert (await refusal(reader.call("GetJob", job_id=job.job_id)))[0] is CODE.NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../store/store.sqlite", "{in}/../store/store.sqlite", "{in}/link", "link",
        "linked/store.sqlite", "a\0b", "", "\x00", "~/x.mp4", "file:///etc/passwd", "http://127.0.0.1/x",
        "{in}/missing.mp4", "{in}", "-", "concat:a.mp4|/etc/passwd", "{in}/" + "x" * 5000, "/proc/self/environ", "loop",
    ],
)  # fmt: skip
async def test_paths_outside_the_folders_are_refused(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link").symlink_to("/etc/passwd")
    (inside / "linked").symlink_to(tmp_path / "store")
    (inside / "loop").symlink_to(inside / "loop")
    async with serving_jobs(tmp_path, inputs=[str(inside)]) as (_, _, channel):
        call = Client(channel, "").call("StartJob", path=path.replace("{in}", str(inside)))
        code, text = await refusal(call)
        if "\0" in path:
            assert (code, text) == (CODE.INVALID_ARGUMENT, "request: path: has a NUL character")
            return
        assert code in (CODE.PERMISSION_DENIED, CODE.NOT_FOUND), text
        assert text.startswith("path: ")


async def test_without_inputs_no_path_is_accepted_and_they_may_not_hold_the_jobs(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        code, text = await refusal(Client(channel, "").call("StartJob", path=str(tmp_path / "a.mp4")))
        assert (code, "jobs.inputs" in text) == (CODE.PERMISSION_DENIED, True)
    with pytest.raises(ConfigError, match=r"jobs\.inputs: .* holds the folder of jobs"):
        async with jobs_in(tmp_path, inputs=[str(tmp_path)]):
            pass


# --- limits


async def test_each_token_has_its_share_of_jobs_and_uploads(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path, per_token=2) as (at, _, channel):
        one, two = [Client(channel, await at.token(Scope.READ, Scope.OPERATE)) for _ in range(2)]
        made = [await one.start(upload_id=await one.upload()) for _ in range(2)]
        waiting = [await one.upload() for _ in range(2)]
        for call in (one.call("UploadRecording", parts(VIDEO)), one.call("StartJob", upload_id=waiting[0])):
            code, text = await refusal(call)
            assert (code, "jobs.per_token" in text) == (CODE.RESOURCE_EXHAUSTED, True)
        assert (await two.start(upload_id=await two.upload())).state == QUEUED
        await one.call("CancelJob", job_id=made[0].job_id)
        assert (await one.start(upload_id=waiting[0])).state == QUEUED
        assert sorted(job.jobs_before for job in await one.jobs(states=[QUEUED])) == [0, 1, 2]


async def test_uploads_and_results_have_limited_room(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path, max_disk_mb=0.005) as (_, _, channel):
        client = Client(channel, "")
        upload = await client.upload(b"x" * 4000)
        code, text = await refusal(client.call("UploadRecording", parts(b"y" * 4000)))
        assert (code, "jobs.max_disk_mb" in text) == (CODE.RESOURCE_EXHAUSTED, True)
        assert (await client.start(upload_id=upload)).state == QUEUED
        assert len(files(tmp_path / "jobs")) == 1


# --- lists and watches


async def test_lists_come_in_pages_and_by_state(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path, per_token=100) as (_, _, channel):
        client = Client(channel, "")
        made = [(await client.start(upload_id=await client.upload())).job_id for _ in range(5)]
        await client.call("CancelJob", job_id=made[1])
        seen, token = [], ""
        while True:
            answer = await client.call("ListJobs", page_size=2, page_token=token)
            seen += [job.job_id for job in answer.jobs]
            token = answer.next_page_token
            if not token:
                break
        assert seen == made
        waiting = await client.call("ListJobs", states=[QUEUED], page_size=3)
        assert [job.job_id for job in waiting.jobs] == [made[0], made[2], made[3]]
        assert [job.job_id for job in await client.jobs(states=[CANCELLED])] == [made[1]]
        for fields in ({"page_token": "x"}, {"states": [77]}):
            assert (await refusal(client.call("ListJobs", **fields)))[0] is CODE.INVALID_ARGUMENT


async def test_a_watch_shows_heartbeats_and_the_end(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, _, channel):
        client = Client(channel, "")
        job = await client.start(upload_id=await client.upload())
        watch = client.call("WatchJob", job_id=job.job_id)
        async with asyncio.timeout(WAIT_S):
            messages = [await watch.read() for _ in range(3)]
            assert [(one.job.state, one.heartbeat) for one in messages] == [
                (QUEUED, False), (QUEUED, True), (QUEUED, True)
            ]  # fmt: skip
            await client.call("CancelJob", job_id=job.job_id)
            while (message := await watch.read()) is not aio.EOF:  # type: ignore[attr-defined]
                last = message
        assert last.job.state == CANCELLED
        assert last.job.HasField("ended_at")
        assert [one.job.state async for one in client.call("WatchJob", job_id=job.job_id)] == [CANCELLED]
        assert (await refusal(client.call("WatchJob", job_id="x").read()))[0] is CODE.NOT_FOUND
        assert (await client.call("CancelJob", job_id=job.job_id)).job.state == CANCELLED  # it stays so


async def test_jobs_that_wait_go_on_after_a_restart_and_watches_end_with_the_streamer(tmp_path: Path) -> None:
    async with serving_jobs(tmp_path) as (_, jobs, channel):
        client = Client(channel, "")
        job = await client.start(upload_id=await client.upload(), request_id="r")
        watch = client.call("WatchJob", job_id=job.job_id)
        await watch.read()
        jobs.close()
        async with asyncio.timeout(WAIT_S):
            while await watch.read() is not aio.EOF:  # type: ignore[attr-defined]
                pass
        assert await watch.code() is CODE.OK
    async with serving_jobs(tmp_path) as (_, _, channel):
        (found,) = await Client(channel, "").jobs()
        assert (found.job_id, found.state, found.request_id) == (job.job_id, QUEUED, "r")


async def test_without_a_store_or_a_folder_there_are_no_jobs_and_the_error_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with guarded(tmp_path, "door") as at, at.channel() as channel:
        code, text = await refusal(Client(channel, "").call("ListJobs"))
        assert (code, "`store`" in text) == (CODE.FAILED_PRECONDITION, True)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError, match=r"jobs\.folder"):
        async with jobs_in(tmp_path, folder=str(blocked / "x")):
            pass
    (tmp_path / "store").mkdir(exist_ok=True)
    (tmp_path / "store" / "jobs").write_text("in the way")
    async with jobs_in(tmp_path, folder=None) as jobs:  # the default folder, which is not worth the cameras
        with pytest.raises(Exception, match="this streamer has no jobs"):
            await jobs.get("x")


async def test_two_streamers_do_not_share_a_folder_of_jobs(tmp_path: Path) -> None:
    async with jobs_in(tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(ConfigError, match="another streamer uses"):
            async with jobs_in(other, folder=str(tmp_path / "jobs")):
                pass
