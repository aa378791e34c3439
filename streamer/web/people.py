"""The pages of the people and of unknown visitors, and pictures of people by address."""

from starlette.requests import Request
from starlette.responses import Response

from faceanalytics.v1 import gallery_pb2, visitors_pb2
from streamer.api.inside import CallFailed, described
from streamer.web.layout import Site

LOOKED_AT = 20  # references among which the picture of a person is chosen


async def people(request: Request) -> Response:
    """Return the page of the people, with the tabs that this streamer has."""
    site: Site = request.app.state.site
    data = {"visitors": _offered("VisitorService/ListVisitors"), "audit": _offered("GalleryService/AuditGallery")}
    return await site.page(request, "people", data=data)


async def person(request: Request) -> Response:
    """Return the page of a person; its module asks for the rest."""
    site: Site = request.app.state.site
    data = {"personId": request.path_params["person_id"], "visitors": await visitors_on(request)}
    return await site.page(request, "person", data=data)


async def visitor(request: Request) -> Response:
    """Return the page of an unknown visitor."""
    site: Site = request.app.state.site
    asked = visitors_pb2.GetVisitorRequest(visitor_id=request.path_params["visitor_id"])
    answer = await site.inside.call("VisitorService/GetVisitor", asked, site.door.who(request))
    return await site.page(request, "visitor", data={"visitorId": answer.visitor.visitor_id})


async def visitors_on(request: Request) -> bool:
    """Return whether this streamer has visitors whom the caller may see, so that pages do not ask in vain."""
    site: Site = request.app.state.site
    try:  # no visitor has an empty id: the reason of the refusal says whether there could be one
        await site.inside.call("VisitorService/GetVisitor", visitors_pb2.GetVisitorRequest(), site.door.who(request))
    except CallFailed as error:
        return error.reason == "VISITOR_NOT_FOUND"
    return True


def _offered(method: str) -> bool:
    try:
        described(method)
    except KeyError:
        return False
    return True


async def person_face(request: Request) -> Response:
    """Return the best picture of a person's references, 112 x 112 pixels; nothing if there is none."""
    site: Site = request.app.state.site
    asked = gallery_pb2.ListReferencesRequest(
        person_id=request.path_params["person_id"], page_size=LOOKED_AT, include_face=True
    )
    found = await site.inside.call("GalleryService/ListReferences", asked, site.door.who(request))
    pictures = [one for one in found.references if one.face_jpeg]
    if not pictures:
        return Response(status_code=204)
    best = max(pictures, key=lambda one: (not one.set_aside, one.quality))
    return Response(best.face_jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=10"})
