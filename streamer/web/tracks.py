"""The page of a track, and the track as JSON."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from faceanalytics.v1 import tracks_pb2
from streamer.web.calls import as_json
from streamer.web.layout import Site
from streamer.web.people import visitors_on


async def track(request: Request) -> Response:
    """Return the page of a track; its module asks for the rest."""
    site: Site = request.app.state.site
    track_id = request.path_params["track_id"]
    asked = tracks_pb2.GetTrackRequest(track_id=track_id, include_face=True)
    answer = await site.inside.call("TrackService/GetTrack", asked, site.door.who(request))
    data = {
        "track": as_json(answer.track),
        "hasFace": bool(answer.face_jpeg),
        "visitors": await visitors_on(request),
    }
    return await site.page(request, "track", data=data)


async def track_json(request: Request) -> Response:
    """Return a track as the API describes it."""
    site: Site = request.app.state.site
    asked = tracks_pb2.GetTrackRequest(track_id=request.path_params["track_id"])
    answer = await site.inside.call("TrackService/GetTrack", asked, site.door.who(request))
    return JSONResponse(as_json(answer.track))
