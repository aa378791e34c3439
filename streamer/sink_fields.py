"""What the settings of every sink have in common."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from streamer.kinds import redact
from streamer.section import Section

Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
EventKind = Literal["NEW", "END", "MERGE", "SPLIT", "DECISION", "CAMERA", "GALLERY", "AGGREGATE", "JOURNEY", "REVISION"]
NEEDS_PERMISSION: dict[EventKind, str] = {
    "GALLERY": "names people",
    "JOURNEY": "says where somebody was before",
    "REVISION": "says that a track shows somebody else",
}
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Retry(Section):
    initial_s: Seconds = 1.0
    """Delay before the first retry, in seconds. It doubles with each failure."""
    max_s: Seconds = 60.0
    """Longest delay between two attempts, in seconds."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Vary each delay at random by up to this share, so that streamers do not all return at once."""


class SinkFields(Section):
    """Settings of a sink. Fields with `repr=False` are secrets: addresses are shown without passwords, others never."""

    name: Name
    """Name of the sink in logs, metrics and the store, which keeps its position under it: letters, digits, `.`, `_` and
    `-`, at most 63."""
    events: Annotated[tuple[EventKind, ...], Field(min_length=1)] = ("NEW", "END", "MERGE", "SPLIT")
    """Kinds of events to deliver: NEW, END, MERGE and SPLIT of tracks, DECISION (a track was identified, or identified
    differently), CAMERA (a stream was added, changed or removed), GALLERY (the gallery was changed), AGGREGATE (counts
    of an interval, of cameras in the privacy mode aggregate_only), JOURNEY (a person or visitor has appeared in another
    stream than before; visitors.journeys), REVISION (a track that has ended shows somebody else after a change of the
    gallery, or nobody any longer, because the person was erased)."""
    cameras: tuple[Name, ...] = ()
    """Deliver only events of these cameras, by id. Empty: of all."""
    biometric: bool = False
    """Deliver who a person is, too: names, candidates and visitors. Without it these fields are left out, and the event
    kinds GALLERY, JOURNEY and REVISION cannot be chosen."""
    start: Literal["now", "oldest"] = "now"
    """Where a sink begins that the store does not know yet: with the next event, or with the oldest that is stored."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 100
    """Most events to deliver at once."""
    retry: Retry = Retry()
    """Delays between two attempts while the receiver takes nothing."""

    @model_validator(mode="after")
    def _names_need_permission(self) -> "SinkFields":
        for kind, what in NEEDS_PERMISSION.items():
            if kind in self.events and not self.biometric:
                raise ValueError(f"events: {kind} {what}, which needs `biometric: true`")
        return self


def shown(sink: SinkFields) -> dict[str, Any]:
    """Return the settings of a sink for printing: addresses without passwords, other secrets as `***`."""
    data = sink.model_dump(mode="json")
    for name, field in type(sink).model_fields.items():
        if not field.repr and data[name]:
            data[name] = redact(data[name]) if isinstance(data[name], str) and "://" in data[name] else "***"
    return data
