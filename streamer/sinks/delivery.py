"""What a sink is: it delivers events of the log, in order, and says when the receiver has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from streamer.store.values import LogKind


@dataclass(frozen=True, slots=True)
class SinkEvent:
    """One event of the log, as sinks deliver it."""

    id: str  # opaque, the same at each repetition: consumers drop doubles by it
    sequence: int  # of the log, from 1, ascending
    at: datetime  # UTC, when the event was made
    kind: LogKind
    camera: str  # empty for GALLERY
    track_id: str  # empty for CAMERA and GALLERY
    body: dict[str, Any]  # the track as JSON, see faceanalytics/json_form.py; what has changed for CAMERA and GALLERY.
    # Sinks share it, so nobody may change it.


class Undelivered(Exception):
    """The receiver does not take events now; the text says why, without secrets. They are delivered again."""

    def __init__(self, reason: str, delivered: int = 0, after_s: float | None = None) -> None:
        """`delivered`: that many events of the batch, from its beginning, are acknowledged and not delivered again.

        `after_s`: how long the receiver asks to be left alone, in seconds.
        """
        super().__init__(reason)
        self.delivered = delivered
        self.after_s = after_s


class Refused(Exception):
    """The receiver will never take an event; the text says why, without secrets. It is counted and skipped."""

    def __init__(self, reason: str, place: int | None = None) -> None:
        """`place`: index in the batch of the event that is refused; those before it are acknowledged.

        None: it is not known which one. Then the runner delivers the events of the batch one by one.
        """
        super().__init__(reason)
        self.place = place


class Sink(Protocol):
    """A receiver of events, in another system.

    The runner calls one method at a time: `open`, then `deliver` for each batch, and `close` after a failure of either
    and at the end. Then it may begin again with `open`. Each wait of `open` and `deliver` needs an end of its own (a
    timeout that becomes Undelivered); both may be cancelled, when the streamer stops.
    """

    name: str  # setting `name`; label of the metrics

    async def open(self) -> None:
        """Connect. Raises Undelivered."""

    async def deliver(self, events: Sequence[SinkEvent]) -> None:
        """Return once the receiver has acknowledged all of these events, which it must get in this order.

        Raises Undelivered: those that are not acknowledged are delivered again later. Raises Refused.
        """

    async def close(self) -> None:
        """Disconnect, within a second or so. It does not raise, also if `open` failed."""


@runtime_checkable
class ShowsCameras(Protocol):
    """What a sink has in addition if it shows the states of cameras beside the events."""

    async def cameras(self, states: Mapping[str, str]) -> None:
        """Show the present states of all cameras, names of SourceState by id. A camera that is absent was removed.

        It is called after each `open`, whenever a state changes, and every few seconds without events. Raises
        Undelivered, also if the connection is lost.
        """
