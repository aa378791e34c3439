"""The Python API, and what the streamer and the workers share: errors, files, settings, progress, and protocols.

    import faceanalytics as fa

Each name of the API is imported when it is first used, so importing this package costs nothing. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceanalytics import aio
    from faceanalytics.aio import AioWatch, watch_async
    from faceanalytics.analysis import analyze
    from faceanalytics.analyzer import Face, FaceAnalyzer
    from faceanalytics.connection import Connection, connect
    from faceanalytics.detection import Detector
    from faceanalytics.errors import ConfigError, InputError, LostDependency, ModelError, StreamerError, UserError
    from faceanalytics.events import (
        Disconnected,
        Event,
        Heartbeat,
        Missed,
        Snapshot,
        TrackEnded,
        TrackMerged,
        TrackRevised,
        TrackStarted,
        TrackTravelled,
        TrackUpdated,
    )
    from faceanalytics.extras import MissingPackage
    from faceanalytics.gallery import Gallery, IdentifiedFace, IdentifiedPerson
    from faceanalytics.gallery_values import (
        Correction,
        Enrolled,
        ErasureReport,
        IdentityChange,
        KnownPerson,
        LedgerEntry,
        Matches,
        PersonReference,
        ReferenceFace,
        ReferenceResult,
        TrackMatch,
    )
    from faceanalytics.people import Person, Shot
    from faceanalytics.results import Analysed, AnalysedFrame, Observation, Results, Summary, read_results
    from faceanalytics.system_values import Capacity, ModelStatus, Stats, StoreStatus, StreamStatus
    from faceanalytics.tracking import TrackedEnd, TrackedFace, Tracker
    from faceanalytics.tracks import (
        Age,
        Attributes,
        Box,
        Decision,
        Expression,
        Identity,
        JourneyStep,
        LiveTrack,
        Point,
        Track,
        VisitorSighting,
    )
    from faceanalytics.video import read_video
    from faceanalytics.watching import Watch, watch
    from streamer.values import Detections, Frame

    __version__: str

__all__ = [
    "Age",
    "AioWatch",
    "Analysed",
    "AnalysedFrame",
    "Attributes",
    "Box",
    "Capacity",
    "ConfigError",
    "Connection",
    "Correction",
    "Decision",
    "Detections",
    "Detector",
    "Disconnected",
    "Enrolled",
    "ErasureReport",
    "Event",
    "Expression",
    "Face",
    "FaceAnalyzer",
    "Frame",
    "Gallery",
    "Heartbeat",
    "IdentifiedFace",
    "IdentifiedPerson",
    "Identity",
    "IdentityChange",
    "InputError",
    "JourneyStep",
    "KnownPerson",
    "LedgerEntry",
    "LiveTrack",
    "LostDependency",
    "Matches",
    "Missed",
    "MissingPackage",
    "ModelError",
    "ModelStatus",
    "Observation",
    "Person",
    "PersonReference",
    "Point",
    "ReferenceFace",
    "ReferenceResult",
    "Results",
    "Shot",
    "Snapshot",
    "Stats",
    "StoreStatus",
    "StreamStatus",
    "StreamerError",
    "Summary",
    "Track",
    "TrackEnded",
    "TrackMatch",
    "TrackMerged",
    "TrackRevised",
    "TrackStarted",
    "TrackTravelled",
    "TrackUpdated",
    "TrackedEnd",
    "TrackedFace",
    "Tracker",
    "UserError",
    "VisitorSighting",
    "Watch",
    "__version__",
    "aio",
    "analyze",
    "connect",
    "read_results",
    "read_video",
    "watch",
    "watch_async",
]

_MODULES = {
    "faceanalytics.aio": ("AioWatch", "watch_async"),
    "faceanalytics.analysis": ("analyze",),
    "faceanalytics.analyzer": ("Face", "FaceAnalyzer"),
    "faceanalytics.connection": ("Connection", "connect"),
    "faceanalytics.detection": ("Detector",),
    "faceanalytics.errors": (
        *("ConfigError", "InputError", "LostDependency", "ModelError", "StreamerError", "UserError"),
    ),
    "faceanalytics.events": (
        *("Disconnected", "Event", "Heartbeat", "Missed", "Snapshot", "TrackEnded", "TrackMerged", "TrackRevised"),
        *("TrackStarted", "TrackTravelled", "TrackUpdated"),
    ),
    "faceanalytics.extras": ("MissingPackage",),
    "faceanalytics.gallery": ("Gallery", "IdentifiedFace", "IdentifiedPerson"),
    "faceanalytics.gallery_values": (
        *("Correction", "Enrolled", "ErasureReport", "IdentityChange", "KnownPerson", "LedgerEntry", "Matches"),
        *("PersonReference", "ReferenceFace", "ReferenceResult", "TrackMatch"),
    ),
    "faceanalytics.people": ("Person", "Shot"),
    "faceanalytics.results": ("Analysed", "AnalysedFrame", "Observation", "Results", "Summary", "read_results"),
    "faceanalytics.tracking": ("TrackedEnd", "TrackedFace", "Tracker"),
    "faceanalytics.tracks": (
        *("Age", "Attributes", "Box", "Decision", "Expression", "Identity", "JourneyStep", "LiveTrack", "Point"),
        *("Track", "VisitorSighting"),
    ),
    "faceanalytics.video": ("read_video",),
    "faceanalytics.system_values": ("Capacity", "ModelStatus", "Stats", "StoreStatus", "StreamStatus"),
    "faceanalytics.watching": ("Watch", "watch"),
    "streamer.values": ("Detections", "Frame"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # it would give every misspelt name a type

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("faceanalytics")
        if name == "aio":
            return import_module("faceanalytics.aio")
        if name not in _HOME:
            raise AttributeError(f"module 'faceanalytics' has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value  # the next use finds it at once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
