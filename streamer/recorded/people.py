"""Finds the people of a recording after its last frame: which tracks are of one person, and what is known of each."""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from streamer.config import StreamerConfig
from streamer.identity.cluster import Links, Tracklet, cluster
from streamer.identity.combined import PersonEstimates, combined_age, combined_attributes, combined_expression
from streamer.privacy import Mode
from streamer.recorded.presence import BestCrop, Presence
from streamer.recorded.records import Record, person_record
from streamer.values import IdentityStatus, ImpostorScores, TrackSummary, Undescribed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person of a recording."""

    id: str  # opaque, unique over recordings
    number: int  # from 1, in the order of appearance
    name: str  # of the gallery; empty: not identified
    tracks: tuple[TrackSummary, ...]  # by their beginning
    uncertain: bool  # the crops of all tracks are too poor to compare
    undescribed_reasons: tuple[str, ...]  # of all tracks, if none is described; empty: one is
    estimates: PersonEstimates  # from the tracks that are described
    samples: int  # analyses of all tracks
    best: BestCrop | None  # None: no crop was analysed


@dataclass(frozen=True, slots=True, eq=False)
class FoundPeople:
    """The people of a recording, and what they can be compared by."""

    people: tuple[Person, ...]
    tracklets: tuple[Tracklet, ...]  # of the tracks that can be compared


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The people of one recording as its files have them, and what they can be compared by with those of others."""

    folder: Path
    header: Record
    people: Sequence[Record]  # of its people.jsonl
    tracklets: Sequence[Tracklet]  # of the tracks that can be compared
    impostors: ImpostorScores | None  # None: nothing says how similar strangers are

    @property
    def content(self) -> str:
        """What was analysed: the content of the file, which of its videos, and which part."""
        source = self.header["source"]
        return json.dumps([source["sha256"], source["video_stream"], self.header.get("part")], sort_keys=True)


def recording(folder: Path, header: Record, found: FoundPeople, impostors: ImpostorScores | None) -> Recording:
    """Return a recording that was just analysed."""
    return Recording(folder, header, [person_record(one) for one in found.people], found.tracklets, impostors)


def at_least(people: Sequence[Record]) -> int:
    """Return how many people there are at least, by the records of people.jsonl.

    Those who can be compared, and the most others that were in view at once: a face that is too poor to compare may
    be somebody who was there before.
    """
    unsure = [one for one in people if one.get("uncertain")]
    events = [(part["start_s"], 1) for one in unsure for part in one["intervals"]]
    events += [(part["end_s"], -1) for one in unsure for part in one["intervals"]]
    there = most = 0
    for _, change in sorted(events):  # who leaves goes before who comes
        there += change
        most = max(most, there)
    return len(people) - len(unsure) + most


def find_people(
    tracks: Sequence[TrackSummary], presence: Presence, config: StreamerConfig, impostors: ImpostorScores | None
) -> FoundPeople:
    """Return the people that the finished tracks show. Without `impostors` no tracks are joined by their faces.

    False faces are no people. A track that cannot be compared is a person of its own.
    """
    faces = [one for one in tracks if Undescribed.FALSE_FACE not in one.undescribed]
    faces.sort(key=lambda one: (one.first_seen, one.key.number))
    tracklets = [tracklet(one, config) for one in faces]
    links = Links(apart=presence.apart(faces))
    groups = cluster(tracklets, links, impostors, config.people.false_join_rate)
    if len(faces) > 1 and config.privacy.mode is not Mode.AGGREGATE_ONLY:
        _say_if_not_joined(faces, tracklets, impostors)
    people = [
        _person(number, [faces[row] for row in rows], [tracklets[row] for row in rows], presence, config)
        for number, rows in enumerate(groups, 1)
    ]
    return FoundPeople(tuple(people), tuple(one for one in tracklets if one.template is not None))


def _say_if_not_joined(
    tracks: Sequence[TrackSummary], tracklets: Sequence[Tracklet], impostors: ImpostorScores | None
) -> None:
    if any(one.estimates.samples for one in tracks) and not any(one.estimates.identity for one in tracks):
        log.warning("each track is a person of its own: the weights were not trained for identity")
    elif impostors is None and any(one.template is not None for one in tracklets):
        log.warning(
            "each track is a person of its own: nothing says how similar strangers are. Use weights whose card has "
            "impostor_scores, or gallery.cohort"
        )


def tracklet(track: TrackSummary, config: StreamerConfig) -> Tracklet:
    """Return what is compared of a track; it has no template if its crops are too few or too poor."""
    identity, decision, settings = track.estimates.identity, track.decision, config.people
    name = decision.person if decision is not None and decision.status is IdentityStatus.IDENTIFIED else ""
    fits = (
        identity is not None
        and identity.evidence.samples >= settings.min_samples
        and identity.evidence.best_quality >= settings.min_quality
        and not track.undescribed
    )
    if not fits:
        return Tracklet(track.key.id, None, 0.0, name)
    assert identity is not None
    return Tracklet(track.key.id, identity.template, identity.evidence.best_quality, name)


def _person(
    number: int,
    tracks: Sequence[TrackSummary],
    tracklets: Sequence[Tracklet],
    presence: Presence,
    config: StreamerConfig,
) -> Person:
    described = [one.estimates for one in tracks if not one.undescribed]
    reasons = dict.fromkeys(reason.value for track in tracks for reason in track.undescribed)
    best = [crop for crop in map(presence.best_crop, tracks) if crop is not None]
    names = Counter(one.name for one in tracklets if one.name)
    return Person(
        id=person_id(tracks[0].key.id),
        number=number,
        name=names.most_common(1)[0][0] if names else "",
        tracks=tuple(tracks),
        uncertain=all(one.template is None for one in tracklets),
        undescribed_reasons=() if described else tuple(reasons),
        estimates=PersonEstimates(
            combined_age([one.age for one in described if one.age is not None], config.aggregate.age_bias_years),
            combined_expression([one.expression for one in described if one.expression is not None]),
            combined_attributes([one.attributes for one in described if one.attributes is not None]),
        ),
        samples=sum(one.estimates.samples for one in tracks),
        best=min(best, key=lambda one: (-one.quality, one.media_time)) if best else None,
    )


def person_id(first: str) -> str:
    """Return the id of the person whose first track (or, across recordings, appearance) has the id `first`.

    It is a UUIDv8, the same whenever the same file is analysed again.
    """
    digest = int.from_bytes(sha256(f"person {first}".encode()).digest()[:16], "big")
    return str(uuid.UUID(int=digest & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62))
