"""What each method of the API needs: one table, by full name. A method that is not in it is refused.

`tests/api/test_authorisation.py` compares the table with the descriptors of all services, and the biometric fields with
the fields of all answers.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from streamer.access.tokens import Scope
from streamer.api.problems import no_track


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method needs, and where it names cameras, for tokens that are restricted to some."""

    scope: Scope | None  # None: open to everybody, also without a token
    asks: tuple[str, ...] = ()  # paths of the request's fields with ids of cameras; if repeated ones are all empty: all
    answers: str = ""  # path of the answer's field with the id of a camera
    missing: Callable[[Message], str] | None = None  # NOT_FOUND if the answer is about another camera; None: left out
    all_cameras: bool = False  # it is not about cameras, so that every token may use it
    unrestricted: bool = False  # only tokens that are restricted to no cameras may use it
    looks: bool = False  # it changes nothing, so that only its refusals are written to the audit log


_V1 = "/faceanalytics.v1."
_JOBS = _V1 + "AnalysisService/"
_LOOKING = _V1 + "InspectionService/"
_HEALTH = "/grpc.health.v1.Health/"  # load balancers and orchestrators have no token; the answers name only services
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/"

_GALLERY = _V1 + "GalleryService/"  # where a call names a track, the service checks its camera
GALLERY_METHODS = (
    *("CreatePerson", "GetPerson", "ListPeople", "UpdatePerson", "MergePeople", "ErasePerson", "SearchPeople"),
    *("AddReferences", "ListReferences", "SetReferenceAside", "DeleteReference"),
    *("EnrollFromTrack", "ConfirmMatch", "RejectMatch", "Undo", "ListLedger"),
    *("AuditGallery", "RestoreAudit", "DistinguishPeople"),
    *("SplitPerson", "ExportGallery", "ImportGallery"),
)
_LISTS = frozenset({"GetPerson", "ListPeople", "ListReferences", "ListLedger"})

_VISITORS = _V1 + "VisitorService/"  # the service shows the appearances at the cameras of the caller
VISITOR_METHODS = {
    **dict.fromkeys(("ListVisitors", "GetVisitor", "ListAppearances", "ListJourneys"), Scope.BIOMETRIC),
    **dict.fromkeys(("MergeVisitors", "SplitVisitor", "NameVisitor", "EraseVisitor"), Scope.ENROL),
    **dict.fromkeys(("JoinTracks", "PartTracks"), Scope.ENROL),
    "CountVisitors": Scope.READ,  # numbers only
}

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        _V1 + "TrackService/WatchTracks": Rule(Scope.READ, asks=("stream_ids", "filter.stream_ids")),
        _V1 + "TrackService/GetTrack": Rule(
            Scope.READ,
            answers="track.stream_id",
            missing=lambda request: no_track(request.track_id),  # type: ignore[attr-defined]
        ),
        _V1 + "TrackService/ListTracks": Rule(
            Scope.READ, asks=("stream_ids", "filter.stream_ids"), answers="tracks.stream_id"
        ),
        _V1 + "TrackService/CountTracks": Rule(Scope.READ, asks=("filter.stream_ids",)),
        _V1 + "FrameService/WatchFrames": Rule(Scope.READ, asks=("stream_ids",)),
        _V1 + "FrameService/GetFrame": Rule(Scope.READ, asks=("stream_id",)),
        _V1 + "StreamService/CreateStream": Rule(Scope.OPERATE, asks=("stream_id",)),
        _V1 + "StreamService/GetStream": Rule(Scope.READ, asks=("stream_id",)),
        _V1 + "StreamService/ListStreams": Rule(Scope.READ, answers="streams.stream_id"),
        _V1 + "StreamService/UpdateStream": Rule(Scope.OPERATE, asks=("stream_id",)),
        _V1 + "StreamService/DeleteStream": Rule(Scope.OPERATE, asks=("stream_id",)),
        _V1 + "AggregateService/ListAggregates": Rule(Scope.READ, asks=("stream_ids",), answers="aggregates.stream_id"),
        _V1 + "SystemService/ListModels": Rule(Scope.READ, all_cameras=True),
        **{_GALLERY + name: Rule(Scope.ENROL, all_cameras=True, looks=name in _LISTS) for name in GALLERY_METHODS},
        **{
            _VISITORS + name: Rule(scope, all_cameras=True, looks=name in _LISTS)
            for name, scope in VISITOR_METHODS.items()
        },
        _VISITORS + "RegroupVisitors": Rule(Scope.ENROL, unrestricted=True),
        _V1 + "SystemService/GetStats": Rule(Scope.READ, all_cameras=True),  # counts the cameras of the caller
        _V1 + "SystemService/GetCapacity": Rule(Scope.READ, all_cameras=True),
        _V1 + "SystemService/GetStore": Rule(Scope.READ, unrestricted=True),
        _JOBS + "UploadRecording": Rule(Scope.OPERATE, unrestricted=True),
        _JOBS + "StartJob": Rule(Scope.OPERATE, unrestricted=True),
        _JOBS + "GetJob": Rule(Scope.READ, unrestricted=True),
        _JOBS + "ListJobs": Rule(Scope.READ, unrestricted=True),
        _JOBS + "WatchJob": Rule(Scope.READ, unrestricted=True),
        _JOBS + "CancelJob": Rule(Scope.OPERATE, unrestricted=True),
        _JOBS + "DeleteJob": Rule(Scope.OPERATE, unrestricted=True),
        _JOBS + "ListResults": Rule(Scope.READ, unrestricted=True),
        _JOBS + "GetResult": Rule(Scope.BIOMETRIC, unrestricted=True),  # and `read`, which the service checks
        _LOOKING + "ProbeStream": Rule(Scope.OPERATE, asks=("stream_id",)),
        _LOOKING + "GetFindings": Rule(Scope.READ, unrestricted=True),
        _LOOKING + "ListTokens": Rule(Scope.ADMIN, unrestricted=True, looks=True),
        _LOOKING + "ListAuditEntries": Rule(Scope.ADMIN, unrestricted=True, looks=True),
        _LOOKING + "ListRecordings": Rule(Scope.OPERATE, unrestricted=True, looks=True),
        _HEALTH + "Check": Rule(None, all_cameras=True),
        _HEALTH + "List": Rule(None, all_cameras=True),
        _HEALTH + "Watch": Rule(None, all_cameras=True),
        _REFLECTION + "ServerReflectionInfo": Rule(Scope.READ, all_cameras=True),
    }
)
CHANGING = {Scope.OPERATE, Scope.ENROL, Scope.ADMIN}  # calls that need one of these are written to the audit log

# Fields that say who a person is or how to recognise them: only for tokens with the scope `biometric`.
BIOMETRIC = frozenset(
    {
        "faceanalytics.v1.IdentityEstimate.embedding",
        "faceanalytics.v1.IdentityDecision.person",
        "faceanalytics.v1.IdentityDecision.candidates",
        "faceanalytics.v1.IdentityDecision.person_id",
        "faceanalytics.v1.IdentityDecision.pseudonym",
        "faceanalytics.v1.FramePicture.jpeg",
        "faceanalytics.v1.GetTrackResponse.face_jpeg",
        "faceanalytics.v1.Track.visitor",
        "faceanalytics.v1.Track.journey",
        "faceanalytics.v1.LedgerEntry.track_ids",
        "faceanalytics.v1.LedgerEntry.other_track_ids",
        "faceanalytics.v1.LedgerEntry.visitor_id",
        "faceanalytics.v1.Visitor.person",
        "faceanalytics.v1.Visitor.person_id",
        "faceanalytics.v1.Appearance.person",
        "faceanalytics.v1.Appearance.person_id",
        "faceanalytics.v1.Journey.person",
        "faceanalytics.v1.Journey.person_id",
        "faceanalytics.v1.Person.display_name",
        "faceanalytics.v1.Person.metadata",
        "faceanalytics.v1.PersonReference.face_jpeg",
        "faceanalytics.v1.PersonReference.file_name",
        "faceanalytics.v1.PersonReference.track_id",
        "faceanalytics.v1.LedgerEntry.track_id",
        "faceanalytics.v1.ReferenceResult.resembles",
        "faceanalytics.v1.LedgerEntry.display_name",
        "faceanalytics.v1.AuditedPerson.display_name",
        "faceanalytics.v1.AuditedPerson.face_jpeg",
        "faceanalytics.v1.DoubtfulReference.face_jpeg",
        "faceanalytics.v1.DoubtfulReference.file_name",
        "faceanalytics.v1.SearchPeopleResponse.people",
        "faceanalytics.v1.SearchPeopleResponse.tracks",
        "faceanalytics.v1.ListTracksResponse.faces_jpeg",
        "faceanalytics.v1.GetResultResponse.data",
        "faceanalytics.v1.ExportGalleryResponse.record",
        "faceanalytics.v1.GalleryExport.file_name",
    }
)
# Fields of requests that ask who is where: refused without that scope, because also the number of answers would say it.
BIOMETRIC_QUESTIONS = frozenset(
    {
        "faceanalytics.v1.TrackFilter.persons",
        "faceanalytics.v1.ListPeopleRequest.display_name",
        "faceanalytics.v1.ListPeopleRequest.text",
        "faceanalytics.v1.SearchPeopleRequest.image",
        "faceanalytics.v1.SearchPeopleRequest.embedding",
        "faceanalytics.v1.SearchPeopleRequest.track_id",
    }
)
# Fields of requests that may hold the name of a person, which the audit log must not keep longer than the store.
NAMING = BIOMETRIC_QUESTIONS | {
    "faceanalytics.v1.AddReferencesRequest.file_name",
    "faceanalytics.v1.ExportGalleryRequest.file_name",
}


def biometric_question(message: Message) -> str:
    """Return the name of a field of a request, at any depth, that only the scope `biometric` may ask; empty: none."""
    for field, value in message.ListFields():
        if field.full_name in BIOMETRIC_QUESTIONS:
            return str(field.name)
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            found = biometric_question(inner)
            if found:
                return found
    return ""


def without_biometrics(message: Message) -> Message:
    """Return the message without its biometric fields: a copy, because others may get the same message in full."""
    if not _holds_biometrics(message.DESCRIPTOR, ()):
        return message
    copy = type(message)()
    copy.CopyFrom(message)
    _clear(copy)
    return copy


def _clear(message: Message) -> None:
    for field, value in message.ListFields():
        if field.full_name in BIOMETRIC:
            message.ClearField(field.name)
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"].message_type
            for one in value.values() if inner is not None else ():
                _clear(one)
        elif field.is_repeated:
            for one in value:
                _clear(one)
        else:
            _clear(value)


_HOLDING: dict[str, bool] = {}


def _holds_biometrics(message: Any, above: tuple[str, ...]) -> bool:
    """Return whether messages of a type, given by its descriptor, can have biometric fields, at any depth."""
    if message.full_name in above:  # a type within itself is searched each time
        return True
    if message.full_name not in _HOLDING:
        inner = (*above, message.full_name)
        _HOLDING[message.full_name] = any(
            field.full_name in BIOMETRIC
            or (field.message_type is not None and _holds_biometrics(field.message_type, inner))
            for field in message.fields
        )
    return _HOLDING[message.full_name]


def narrow(request: Message, paths: Collection[str], cameras: Collection[str]) -> str | None:
    """Make a request ask for these cameras only. Return the camera that it names although it may not; None: it may.

    `paths` are a Rule's `asks`. If no field has an id, which means all cameras, the first one gets these.
    """
    values = [_at(request, path) for path in paths]
    named = [one for value in values for one in ([value] if isinstance(value, str) else value)]
    if not named:
        values[0].extend(sorted(cameras))
    return next((str(one) for one in named if one not in cameras), None)


def _at(message: Any, path: str) -> Any:
    """Return the value of the field at a path such as `filter.stream_ids`."""
    for step in path.split("."):
        message = getattr(message, step)
    return message


def is_about(answer: Message, path: str, cameras: Collection[str]) -> bool:
    """Return whether an answer, whose camera is at `path`, is about one of these; its lists lose what is not."""
    step, _, rest = path.partition(".")
    value = getattr(answer, step)
    if isinstance(value, str):
        return value in cameras
    if isinstance(value, Message):
        return is_about(value, rest, cameras)
    kept = [one for one in value if is_about(one, rest, cameras)]
    if len(kept) < len(value):
        copies = [type(one)() for one in kept]
        for copy, one in zip(copies, kept, strict=True):
            copy.CopyFrom(one)
        del value[:]
        value.extend(copies)
    return True
