"""Looking closer: cameras before they are added, the doctor, tokens, the audit log, recordings."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from faceanalytics.v1 import inspection_pb2, inspection_pb2_grpc, streams_pb2
from streamer.access.tokens import Scope
from streamer.api.inspection import Finding, Inspector, Looked
from streamer.config import Store as StoreConfig
from streamer.config import Stream
from tests.support.guarded_server import Guarded, bearer, guarded

LOOKED = Looked(None, "", ("video h264",), ("set both by NTP",), (640, 480), "h264", 25.0, 0.5)


def asking(found: Guarded) -> Any:
    return inspection_pb2_grpc.InspectionServiceStub(found.channel())


def probing(stream_id: str = "new", **settings: Any) -> inspection_pb2.ProbeStreamRequest:
    return inspection_pb2.ProbeStreamRequest(stream_id=stream_id, settings=streams_pb2.StreamSettings(**settings))


async def refusal(call: Any) -> str:
    with pytest.raises(aio.AioRpcError) as error:
        await call
    return f"{error.value.code().name}: {error.value.details()}"


async def test_a_look_at_a_camera_uses_the_password_that_is_known_only_for_its_own_address(tmp_path: Path) -> None:
    looked: list[tuple[Stream, float]] = []

    def probe(stream: Stream, wait_s: float) -> Looked:
        looked.append((stream, wait_s))
        return LOOKED

    async with guarded(tmp_path, "door", inspector=Inspector(probe)) as found:
        found.cameras.replace(Stream(id="door", uri="rtsp://user:secret@10.0.0.5/main"))
        service = asking(found)
        answer = await service.ProbeStream(probing("door", uri="rtsp://10.0.0.5/main"))
        assert looked[-1][0].uri == "rtsp://user:secret@10.0.0.5/main"
        assert looked[-1][1] == 8
        assert (answer.usable, list(answer.facts), list(answer.notes)) == (True, ["video h264"], ["set both by NTP"])
        assert answer.clock_offset.ToSeconds() == 0
        await service.ProbeStream(probing("door", uri="rtsp://10.0.0.6/main"))
        assert looked[-1][0].uri == "rtsp://10.0.0.6/main"
        assert "settings.uri" in await refusal(service.ProbeStream(probing()))
        assert (await refusal(service.ProbeStream(probing(uri="/etc/passwd")))).startswith("PERMISSION_DENIED")
        request = probing(uri="rtsp://10.0.0.5/main")
        request.wait.CopyFrom(Duration(seconds=31))
        assert "wait: must be above 0 and at most 30 s" in await refusal(service.ProbeStream(request))


async def test_the_worst_findings_come_first_and_are_kept_for_a_while(tmp_path: Path) -> None:
    looks = 0

    def examine() -> list[Finding]:
        nonlocal looks
        looks += 1
        return [Finding("clock", "OK", "fine", ""), Finding("disk", "FAIL", "full", "make room")]

    async with guarded(tmp_path, "door", inspector=Inspector(examine=examine)) as found:
        service = asking(found)
        for _ in range(2):
            answer = await service.GetFindings(inspection_pb2.GetFindingsRequest())
        assert [(one.check, one.advice) for one in answer.findings] == [("disk", "make room"), ("clock", "")]
        assert looks == 1


@pytest.mark.parametrize("stored", [False, True])
async def test_tokens_and_what_was_done_are_listed_for_administrators(tmp_path: Path, stored: bool) -> None:
    store = StoreConfig(folder=str(tmp_path / "store")) if stored else None
    async with guarded(tmp_path, "door", store=store) as found:
        who = bearer(await found.token(Scope.ADMIN))
        reader = bearer(await found.token(Scope.READ))
        channel = found.channel()
        streams = streams_pb2.DeleteStreamRequest(stream_id="door")
        delete = channel.unary_unary(
            "/faceanalytics.v1.StreamService/DeleteStream",
            request_serializer=streams_pb2.DeleteStreamRequest.SerializeToString,
            response_deserializer=streams_pb2.DeleteStreamResponse.FromString,
        )
        await delete(streams, metadata=who)
        service = asking(found)
        tokens = (await service.ListTokens(inspection_pb2.ListTokensRequest(), metadata=who)).tokens
        assert [(one.display_name, list(one.scopes)) for one in tokens] == [("admin", ["admin"]), ("read", ["read"])]
        request = inspection_pb2.ListTokensRequest()
        assert (await refusal(service.ListTokens(request, metadata=reader))).startswith("PERMISSION_DENIED")
        methods: list[str] = []
        while len(methods) < 2:  # a store writes them a moment later
            methods, asked = [], inspection_pb2.ListAuditEntriesRequest(page_size=1)
            while not methods or asked.page_token:
                answer = await service.ListAuditEntries(asked, metadata=who)
                methods += [f"{one.method.split('/')[-1]} {one.outcome.split(':')[0]}" for one in answer.entries]
                asked.page_token = answer.next_page_token
                if not answer.entries:
                    break
        assert methods == ["ListTokens PERMISSION_DENIED", "DeleteStream OK"]  # looking is no change
        await channel.close(None)


async def test_recordings_are_videos_below_the_folders_and_no_links(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret.mp4").write_bytes(b"1")
    for name in ("a.mp4", "inner/b.MKV", "notes.txt"):
        (folder / name).write_bytes(b"12345")
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    async with guarded(tmp_path, inspector=Inspector(inputs=(str(folder),))) as found:
        answer = await asking(found).ListRecordings(inspection_pb2.ListRecordingsRequest())
        found_there = [(Path(one.path).relative_to(folder).as_posix(), one.size_bytes) for one in answer.recordings]
        assert found_there == [("a.mp4", 5), ("inner/b.MKV", 5)]


async def test_too_many_looks_at_a_time_are_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path, "door") as found:
        with pytest.raises(aio.AioRpcError) as error:
            await asking(found).ProbeStream(probing(uri="rtsp://10.0.0.5/main"))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
