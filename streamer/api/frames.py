"""FrameService: sends pictures, each with the tracks of its frame, to those who watch."""

import asyncio
import math
import time
from collections import OrderedDict

from grpc import aio

from faceanalytics.v1 import faces_pb2, frames_pb2, frames_pb2_grpc, tracks_pb2
from streamer.api.callers import visible_cameras
from streamer.api.errors import Why, refuse
from streamer.api.messages import timestamp
from streamer.api.problems import SHOWN, shown
from streamer.api.streams import Cameras
from streamer.api.track_messages import to_proto
from streamer.hub import Hub
from streamer.pictures import Pictures, Shot
from streamer.values import Track, TrackSummary

KEPT = 512  # newest summaries whose messages are kept
DEFAULT_WIDTH = 640  # px
MAX_WIDTH = 8192  # px
LOOK_S = 0.5  # time between two looks whether the streamer stops

_Watch = aio.ServicerContext[frames_pb2.WatchFramesRequest, frames_pb2.WatchFramesResponse]


class FrameService(frames_pb2_grpc.FrameServiceServicer):
    """Serves the pictures of `Pictures`; the methods are described in frames.proto."""

    def __init__(self, pictures: Pictures, hub: Hub, cameras: Cameras, heartbeat_s: float) -> None:
        """`heartbeat_s`: send an empty message after this many seconds without a picture."""
        self._pictures = pictures
        self._heartbeat_s = heartbeat_s
        self._hub = hub
        self._cameras = cameras
        self._facts: OrderedDict[str, tuple[TrackSummary, tracks_pb2.Track]] = OrderedDict()  # by track id

    async def WatchFrames(  # type: ignore[override]  # noqa: N802  # writes instead of yielding
        self, request: frames_pb2.WatchFramesRequest, context: _Watch
    ) -> None:
        if not math.isfinite(request.max_fps) or request.max_fps < 0:
            await refuse(context, Why.INVALID_FIELD, "max_fps: must not be negative")
        if request.width > MAX_WIDTH:
            await refuse(context, Why.INVALID_FIELD, f"width: at most {MAX_WIDTH}")
        if self._hub.closed:
            await refuse(context, Why.STOPPING, "the streamer is stopping")
        known = {stream.id for stream, _ in await asyncio.to_thread(self._cameras.list)}
        unknown = sorted(set(request.stream_ids) - known)
        if unknown:
            text = f"stream_ids: there is no stream {shown(unknown[0])}"
            await refuse(context, Why.STREAM_NOT_FOUND, text, stream_id=unknown[0][:SHOWN])
        interval_s = 1 / request.max_fps if request.max_fps else 0.0
        cameras = request.stream_ids or visible_cameras.get()
        viewer = self._pictures.watch(cameras, request.width or DEFAULT_WIDTH, interval_s)
        silent_until = time.monotonic() + self._heartbeat_s
        try:
            while not self._hub.closed:
                try:
                    async with asyncio.timeout(min(LOOK_S, self._heartbeat_s)):
                        shot = await viewer.next()
                except TimeoutError:  # look whether the streamer stops
                    if time.monotonic() < silent_until:
                        continue
                    await context.write(frames_pb2.WatchFramesResponse())
                else:
                    await context.write(frames_pb2.WatchFramesResponse(frame=self._message(shot)))
                silent_until = time.monotonic() + self._heartbeat_s
        finally:
            self._pictures.leave(viewer)

    async def GetFrame(  # noqa: N802
        self,
        request: frames_pb2.GetFrameRequest,
        context: aio.ServicerContext[frames_pb2.GetFrameRequest, frames_pb2.GetFrameResponse],
    ) -> frames_pb2.GetFrameResponse:
        name = request.stream_id
        try:
            await asyncio.to_thread(self._cameras.get, name)
        except KeyError:
            text = f"stream_id: there is no stream {shown(name)}"
            await refuse(context, Why.STREAM_NOT_FOUND, text, stream_id=name[:SHOWN])
        shot = self._pictures.still(name)
        if shot is None:
            await refuse(context, Why.NO_PICTURE, f"stream_id: {shown(name)} has shown no picture yet")
        return frames_pb2.GetFrameResponse(frame=self._message(shot))

    def _message(self, shot: Shot) -> frames_pb2.FramePicture:
        picture = shot.seen.picture
        width, height = picture.size
        return frames_pb2.FramePicture(
            stream_id=picture.camera,
            stream_epoch=picture.epoch,
            media_time_s=picture.media_time,
            captured_at=timestamp(picture.captured_at),
            clock_source=tracks_pb2.ClockSource.Value(f"CLOCK_SOURCE_{picture.clock_source.value}"),
            received_at=timestamp(shot.seen.received_at),
            frame_width=width,
            frame_height=height,
            jpeg=shot.jpeg,
            concealment=frames_pb2.Concealment.Value(f"CONCEALMENT_{shot.concealment.value}"),
            tracks=[self._track(track) for track in shot.seen.shown()],
            searched=shot.seen.searched,
        )

    def _track(self, track: Track) -> frames_pb2.FrameTrack:
        left, top, right, bottom = (float(side) for side in track.box)
        message = frames_pb2.FrameTrack(
            track_id=track.key.id,
            number=track.key.number,
            state=tracks_pb2.TrackState.Value(f"TRACK_STATE_{track.state.value}"),
            box=faces_pb2.Box(x=left, y=top, width=right - left, height=bottom - top),
            predicted=track.detection is None,
        )
        facts = self._known(track.key.id)
        if facts is not None:
            message.revision, message.quality = facts.revision, facts.quality
            message.expression = facts.expression.appears
            if facts.HasField("age"):
                message.age.CopyFrom(facts.age)
            if facts.HasField("decision"):
                message.decision.CopyFrom(facts.decision)
        return message

    def _known(self, track_id: str) -> tracks_pb2.Track | None:
        """Return what is published of a track: the same as TrackService says."""
        summary = self._hub.get(track_id, time.monotonic())
        if summary is None:
            return None
        kept = self._facts.pop(track_id, None)
        if kept is None or kept[0] is not summary:
            kept = summary, to_proto(summary)
        self._facts[track_id] = kept
        if len(self._facts) > KEPT:
            self._facts.popitem(last=False)
        return kept[1]
