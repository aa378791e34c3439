"""The live pictures of a page: each one with the tracks of its frame, over one WebSocket.

To the page: binary messages, 4 bytes for the length of a JSON text, the text, the JPEG; and JSON texts
`{"cameras": [...]}` and `{"error": {...}}`. From the page: `{"watch": {"cameras": [...], "width": 640}}`, which
replaces what was watched, and `{"ack": 1}` for each picture that was shown. At most WINDOW pictures are under way.
"""

import asyncio
import json
import struct
from contextlib import aclosing, suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from faceanalytics.v1 import faces_pb2, frames_pb2, streams_pb2, tracks_pb2
from streamer.api.inside import CallFailed
from streamer.web.calls import as_json
from streamer.web.layout import Site

WINDOW = 4  # pictures under way to a page
STATES_S = 1.0  # time between two looks at the states of the cameras
NOT_SIGNED_IN, BAD_MESSAGE, STOPPING = 4401, 4400, 1001  # why the socket closes
MOST_CAMERAS = 1000


async def socket(websocket: WebSocket) -> None:
    """Serve the live pictures of one page."""
    await _Live(websocket, websocket.app.state.site).run()


class _Live:
    def __init__(self, websocket: WebSocket, site: Site) -> None:
        self._socket = websocket
        self._inside = site.inside
        self._who = site.door.who(websocket)
        self._under_way = 0  # pictures sent and not acknowledged
        self._room = asyncio.Event()
        self._room.set()
        self._sending = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._problem: asyncio.Future[CallFailed] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        await self._socket.accept()
        tasks = [asyncio.ensure_future(one) for one in (self._read(), self._send_states(), self._fail())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in [*tasks, *([self._watching] if self._watching else [])]:
                task.cancel()
                with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await task

    async def _read(self) -> None:
        """Take in what the page says, until it leaves."""
        while True:
            try:
                message = json.loads(await self._socket.receive_text())
                watch = message.get("watch")
                if watch is not None:
                    self._watch([str(one) for one in watch["cameras"]][:MOST_CAMERAS], int(watch.get("width", 0)))
                self._under_way = max(0, self._under_way - max(0, int(message.get("ack", 0))))
                if self._under_way < WINDOW:
                    self._room.set()
            except (ValueError, TypeError, KeyError, AttributeError):
                await self._socket.close(BAD_MESSAGE, "not a message of this dashboard")
                return

    def _watch(self, cameras: list[str], width: int) -> None:
        if self._watching is not None:
            self._watching.cancel()
        request = frames_pb2.WatchFramesRequest(stream_ids=cameras, width=max(0, min(8192, width)))
        self._watching = asyncio.ensure_future(self._send_pictures(request)) if cameras else None

    async def _send_pictures(self, request: frames_pb2.WatchFramesRequest) -> None:
        try:
            async with aclosing(self._inside.watch("FrameService/WatchFrames", request, self._who)) as frames:
                while True:
                    await self._room.wait()  # before a picture is chosen, so that it is a new one
                    answer = await anext(frames, None)
                    if answer is None:
                        return
                    if not answer.HasField("frame"):
                        continue
                    header = json.dumps(frame_json(answer.frame), separators=(",", ":")).encode()
                    self._under_way += 1
                    if self._under_way >= WINDOW:
                        self._room.clear()
                    async with self._sending:
                        await self._socket.send_bytes(struct.pack(">I", len(header)) + header + answer.frame.jpeg)
        except CallFailed as error:
            if not self._problem.done():
                self._problem.set_result(error)
        except (WebSocketDisconnect, RuntimeError):  # the page has left
            return

    async def _send_states(self) -> None:
        """Send the states of the cameras when they change."""
        before: Any = None
        while True:
            try:
                asked = streams_pb2.ListStreamsRequest(page_size=1000)
                answer = await self._inside.call("StreamService/ListStreams", asked, self._who)
            except CallFailed as error:
                if not self._problem.done():
                    self._problem.set_result(error)
                return
            cameras = [as_json(stream) for stream in answer.streams]
            if cameras != before:
                before = cameras
                async with self._sending:
                    await self._socket.send_text(json.dumps({"cameras": cameras}))
            await asyncio.sleep(STATES_S)

    async def _fail(self) -> None:
        """Say why the pictures have ended, and close the socket."""
        error = await self._problem
        about = {"code": error.code.name, "reason": error.reason, "text": error.text}
        async with self._sending:
            await self._socket.send_text(json.dumps({"error": about}))
        code = {"UNAUTHENTICATED": NOT_SIGNED_IN, "UNAVAILABLE": STOPPING}.get(error.code.name, BAD_MESSAGE)
        await self._socket.close(code)


def frame_json(frame: frames_pb2.FramePicture) -> dict[str, Any]:
    """Return what the page needs to know of a frame; boxes are x, y, width, height in pixels of the source frame."""
    return {
        "camera": frame.stream_id,
        "epoch": frame.stream_epoch,
        "time": frame.media_time_s,
        "captured": frame.captured_at.ToJsonString() if frame.HasField("captured_at") else None,
        "received": frame.received_at.ToJsonString(),
        "clock": tracks_pb2.ClockSource.Name(frame.clock_source).removeprefix("CLOCK_SOURCE_"),
        "size": [frame.frame_width, frame.frame_height],
        "concealment": frames_pb2.Concealment.Name(frame.concealment).removeprefix("CONCEALMENT_"),
        "searched": frame.searched,
        "tracks": [_track(track) for track in frame.tracks],
    }


def _track(track: frames_pb2.FrameTrack) -> dict[str, Any]:
    box, age, looks = track.box, track.age, track.expression
    return {
        "id": track.track_id,
        "number": track.number,
        "box": [round(side, 2) for side in (box.x, box.y, box.width, box.height)],
        "lost": track.state == tracks_pb2.TRACK_STATE_LOST,
        "predicted": track.predicted,
        "revision": track.revision,
        "quality": round(track.quality, 3),
        "age": [round(one, 1) for one in (age.years, age.low_years, age.high_years)] if track.HasField("age") else None,
        "looks": faces_pb2.Expression.Name(looks).removeprefix("EXPRESSION_").lower() if looks else None,
        "decision": _decision(track.decision) if track.HasField("decision") else None,
    }


def _decision(decision: tracks_pb2.IdentityDecision) -> dict[str, Any]:
    return {
        "status": tracks_pb2.IdentityStatus.Name(decision.status).removeprefix("IDENTITY_STATUS_"),
        "person": decision.person,
        "personId": decision.person_id,
        "confirmed": decision.confirmed,
        "candidates": [
            {"person": one.person, "similarity": round(one.similarity, 3)} for one in decision.candidates[:2]
        ],
    }
