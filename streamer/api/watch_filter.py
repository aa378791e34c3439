"""Decides which events a watch with a filter gets: those of a track from when it first fits until its end.

So the END of each track that was sent comes exactly once, also if the track no longer fits then. A watch that goes on
after an interruption has to know which tracks were sent: short marks of those that are open travel in the resume token.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from faceanalytics.v1 import tracks_pb2
from streamer.api.track_filter import matches
from streamer.hub import Kind
from streamer.store.resume_token import ALL, MARK, MAX_MARKS
from streamer.store.values import TrackQuery


def mark(track_id: str) -> bytes:
    """Return the mark of a track: two tracks have the same one by a chance of 1 in 10^12."""
    return hashlib.blake2b(track_id.encode(), digest_size=MARK).digest()


class Wanted:
    """The tracks of one watch that fit its filter, or did."""

    def __init__(self, query: TrackQuery, sent: frozenset[bytes]) -> None:
        """`sent`: marks of the tracks whose events the client has; with ALL, it has those of every earlier track."""
        self._query = query
        self._sent = set(sent - {ALL})
        self._knows_earlier = ALL in sent
        self._hidden: set[bytes] = set()  # of the tracks that began in this watch and have not fitted yet

    def kinds(self, kind: Kind, track: tracks_pb2.Track) -> Iterator[Kind]:
        """Yield the events to send for one of a track: none, itself, or a NEW in its place or before it.

        An update is one that may make the track fit; `marks` is right for each event when it is yielded.
        """
        if kind is Kind.REVISION:  # also of a track that no longer shows a person who is wanted
            if matches(track, replace(self._query, persons=()), datetime.now(UTC)):
                yield kind
            return
        if kind is Kind.JOURNEY:
            if matches(track, self._query, datetime.now(UTC)):
                yield kind
            return
        one = mark(track.track_id)
        earlier = self._knows_earlier and kind in (Kind.UPDATE, Kind.END, Kind.MERGE) and one not in self._hidden
        known = one in self._sent or earlier
        if not known and not matches(track, self._query, datetime.now(UTC)):
            self._hidden.add(one)
            if kind in (Kind.END, Kind.MERGE):
                self._hidden.discard(one)
            return
        self._hidden.discard(one)
        self._sent.add(one)
        if not known and kind is not Kind.SNAPSHOT:
            yield Kind.NEW
            if kind in (Kind.NEW, Kind.UPDATE):
                return
        if kind in (Kind.END, Kind.MERGE):
            self._sent.discard(one)
        if kind is Kind.MERGE:
            self._sent.add(mark(track.merged_into))  # the face that the client follows
        yield kind

    def keep(self, track_ids: Iterable[str]) -> None:
        """Forget all tracks but these, which are live and began earlier: the ends of others were in a gap."""
        live = {mark(track_id) for track_id in track_ids}
        self._sent = live - self._hidden if self._knows_earlier else self._sent & live
        self._knows_earlier = False

    @property
    def marks(self) -> frozenset[bytes]:
        """The marks for a token; ALL if they are too many."""
        return frozenset({ALL}) if self._knows_earlier or len(self._sent) > MAX_MARKS else frozenset(self._sent)
