"""Decides past tracks by other settings, from their stored templates and the gallery as it is now."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import yaml

from faceanalytics.errors import ConfigError
from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.identity.identification import EnrolledGallery, Identifier, Probe
from streamer.people.book import Book
from streamer.people.fold import People
from streamer.people.past import CHUNK
from streamer.people.past_index import OWNER
from streamer.people.recognition import FolderPeople, build
from streamer.people.track_faces import NO_FACE, NOT_SEARCHED
from streamer.store.past import PastTrack, each_past
from streamer.store.reader import StoreReader
from streamer.values import Floats, IdentityDecision, Model

# settings of the section gallery that do not change what a replay finds, and why
UNCHANGING = {
    "folder": "the people of the folder are those of the configuration",
    "cohort": "the similarity of strangers is the one that the store or the weights have",
    "hysteresis": "a replay searches once for each track, by its final template",
    "switch_searches": "a replay searches once for each track, by its final template",
    "candidates": "it changes who is listed beside a decision, not the decision",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """One past track, decided by two settings."""

    track_id: str
    camera: str
    began: datetime  # UTC
    stored: IdentityDecision | None
    before: IdentityDecision  # by the settings as they are
    after: IdentityDecision  # by the other ones

    @property
    def changed(self) -> bool:
        """Whether the other settings give another status or person."""
        return (self.before.status, self.before.person_id) != (self.after.status, self.after.person_id)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the gallery was searched with."""

    people: int
    before: float  # cosine
    after: float
    model_id: str


@dataclass(slots=True)
class LeftOut:
    """Numbers of tracks that cannot be decided."""

    other_model: int = 0  # their template was made by other weights


def changed_settings(config: StreamerConfig, texts: Sequence[str]) -> StreamerConfig:
    """Return the configuration with values such as `gallery.false_accept_rate=0.001`. Raises ConfigError."""
    data: dict[str, Any] = config.model_dump()
    for text in texts:
        path, sign, value = text.partition("=")
        section, _, name = path.strip().partition(".")
        if not sign or not name:
            raise ConfigError(f"--set {text}: write it as gallery.false_accept_rate=0.001")
        if section not in data or (isinstance(data[section], dict) and name.split(".")[0] not in data[section]):
            raise ConfigError(f"--set {text}: there is no setting {path.strip()}; `streamer config show` lists them")
        if section != "gallery":
            raise ConfigError(
                f"--set {text}: it does not apply: a replay decides by the stored templates of tracks, which "
                f"{section} does not change; settings of gallery can be set"
            )
        if name in UNCHANGING:
            raise ConfigError(f"--set {text}: it does not apply: {UNCHANGING[name]}")
        try:
            data[section][name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: {value} is no value") from error
    return parse_config(data, "--set")


class Replay:
    """The gallery of a store by two settings."""

    def __init__(
        self, config: StreamerConfig, other: StreamerConfig, book: Book, model: Model, folder: FolderPeople
    ) -> None:
        """Raises ConfigError if one of the settings cannot be guaranteed, or if nobody is in the gallery."""
        people, stored = book.people, book.references
        self._people = people
        self._settings = config.gallery, other.gallery
        self._known = tuple(build(one, model, folder, people, stored)[0] for one in (config, other))
        if not len(self._known[0].gallery):
            raise ConfigError("replay: nobody in the store has a reference of its weights; enrol somebody first")
        self._identifiers = tuple(Identifier(one) for one in self._settings)
        for identifier, known in zip(self._identifiers, self._known, strict=True):
            identifier.use(known)

    @property
    def thresholds(self) -> Thresholds:
        """What the gallery is searched with."""
        gallery = self._known[0].gallery
        return Thresholds(len(gallery), self._known[0].threshold, self._known[1].threshold, gallery.model_id)

    def decide(self, track: PastTrack, template: Floats | None, began: datetime) -> Replayed:
        """Decide a track by both settings."""
        before, after = (self._decided(which, track, template) for which in (0, 1))
        stored = track.decision
        if stored is not None:
            stored = replace(stored, person_id=self._people.root(stored.person_id))
        return Replayed(track.track_id, track.camera, began, stored, before, after)

    def _decided(self, which: int, track: PastTrack, template: Floats | None) -> IdentityDecision:
        settings = self._settings[which]
        enough = track.samples >= settings.min_samples and track.quality >= settings.min_quality
        face = template if template is not None and enough else NO_FACE
        return self._identifiers[which].decide_past(
            NOT_SEARCHED, Probe(face, track.samples, track.quality, track.joined)
        )

    def searches(self, track: PastTrack) -> bool:
        """Return whether a track has a template of the gallery's weights."""
        known: EnrolledGallery = self._known[0]
        return bool(track.sealed_template) and track.model_id == known.gallery.model_id


async def replayed(
    store: StoreReader,
    book: Book,
    replay: Replay,
    cameras: Collection[str],
    since: datetime | None,
    until: datetime | None,
    left_out: LeftOut,
) -> list[Replayed]:
    """Decide the past tracks of these cameras (empty: all) that began in a time.

    Raises StoreUnavailable and NotReadable.
    """
    found = list[Replayed]()
    sealed = await book.sealed_of(OWNER)
    people: People = book.people
    also = {*people.confirmed, *people.rejected}
    async for rows in each_past(store.database, store.columns, also, CHUNK):
        known = [one for one in rows if one.sealed_template or one.track_id in also]
        for track in _wanted(known, cameras, since, until):
            if track.sealed_template and not replay.searches(track):
                left_out.other_model += 1
                continue
            template = sealed.read_vector(track.sealed_template, track.track_id) if track.sealed_template else None
            found.append(replay.decide(track, template, began(track)))
    return found


def _wanted(
    rows: Sequence[PastTrack], cameras: Collection[str], since: datetime | None, until: datetime | None
) -> Iterator[PastTrack]:
    for track in rows:
        at = began(track)
        in_time = (since is None or at >= since) and (until is None or at < until)
        if in_time and (not cameras or track.camera in cameras):
            yield track


def began(track: PastTrack) -> datetime:
    """Return when a track began, UTC: by the clock of its camera, or when its id was made."""
    if track.message.HasField("first_captured_at"):
        return track.message.first_captured_at.ToDatetime(UTC)
    return datetime.fromtimestamp(int(track.track_id.replace("-", "")[:12], 16) / 1000, UTC)
