"""A gallery of people in this process: enrol, identify, and keep it in one encrypted file; no streamer is needed."""

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import simplejpeg

from faceanalytics.analyzer import FaceAnalyzer
from faceanalytics.errors import ConfigError, InputError
from faceanalytics.gallery_file import check_gallery, read_gallery, write_gallery
from faceanalytics.gallery_values import Judgement, ReferenceFace, ReferenceResult
from faceanalytics.images import Channels, Image
from faceanalytics.local_recogniser import LocalRecogniser
from faceanalytics.people_calls import Given, sources_of_given
from faceanalytics.scratch import scratch_folder
from faceanalytics.tracks import Box, Candidate, Decision
from faceanalytics.v1 import gallery_transfer_pb2 as messages
from streamer.config import StreamerConfig
from streamer.configfile import parse_config
from streamer.identity.chosen import best_faces, chosen
from streamer.identity.enrolment import gallery_of
from streamer.identity.gallery import EmbeddedReference
from streamer.identity.identification import EnrolledGallery, Identifier, Probe
from streamer.identity.one_per_frame import in_one_picture
from streamer.identity.references import STRICT_QUALITY, FoundFace, Unusable
from streamer.identity.references import Judgement as Asked
from streamer.identity.seen import SeenFace, SeenPeople
from streamer.kinds import is_video_content
from streamer.recorded.people_of_video import people_of_video
from streamer.tools.gallery_records import record_of
from streamer.tools.people_sources import Left
from streamer.values import Bytes, Floats, IdentityDecision, IdentityReason, IdentityStatus

MOST_PIXELS = 100_000_000  # of one image
SAME = 0.995  # cosine of two crops of one image, saved twice
JPEG_QUALITY = 95  # percent, of the crops that are kept
TOO_LITTLE = IdentityReason.TOO_LITTLE_EVIDENCE


@dataclass(slots=True, eq=False)
class _Reference:
    """One face of a person."""

    reference_id: str
    model_id: str
    quality: float  # 0..1
    embedding: Floats  # (512,) before normalisation
    jpeg: bytes  # aligned crop; empty: none is kept
    details: Mapping[str, str]
    created: datetime  # UTC
    from_track: bool = False
    set_aside: bool = False


@dataclass(slots=True, eq=False)
class _Person:
    """One person."""

    name: str
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    references: list[_Reference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IdentifiedFace:
    """A face of an image, and who it is."""

    box: Box  # pixels
    score: float  # 0..1, of the detector
    quality: float  # 0..1
    reasons: tuple[str, ...]  # why it cannot be recognised by; empty: it can
    decision: Decision


@dataclass(frozen=True, slots=True)
class IdentifiedPerson:
    """A person of a video, and who it is."""

    number: int  # from 1, in the order of appearance
    first_seen_s: float  # media time
    last_seen_s: float  # media time
    samples: int  # pictures that were compared
    decision: Decision


class Gallery:
    """People by name, with their faces. Use one in one thread."""

    def __init__(
        self,
        device: str = "cpu",
        weights: Path | str = "default",
        detector: Path | str = "default",
        *,
        false_accept_rate: float | None = None,
        twins: Collection[str] | None = None,
    ) -> None:
        """Load a detector and SwinFace, as FaceAnalyzer does; the gallery is empty.

        `false_accept_rate`: share of strangers who may be named, per search; None: gallery.false_accept_rate. `twins`:
        names or labels of people who may be named twice in one image; None: gallery.twins. Raises ModelError if weights
        or a device cannot be used or do not tell people apart; ConfigError; MissingPackage.
        """
        data = parse_config({}, "Gallery").model_dump()
        if str(detector) != "default":
            data["detect"]["weights"] = str(detector)
        if false_accept_rate is not None:
            data["gallery"]["false_accept_rate"] = false_accept_rate
        self._config = parse_config(data, "Gallery")
        self.twins = frozenset(self._config.gallery.twins if twins is None else twins)
        self._analyzer = FaceAnalyzer(device, weights, detector)
        self._recogniser = LocalRecogniser(self._analyzer, self._config)
        self._people: dict[str, _Person] = {}  # by id
        self._known: EnrolledGallery | None = None  # None: it is made when it is needed

    def __len__(self) -> int:
        return len(self._people)

    @property
    def people(self) -> dict[str, int]:
        """The number of references of each person, by name."""
        return {one.name: len(one.references) for one in self._people.values()}

    @property
    def model_id(self) -> str:
        """The weights that embed faces."""
        return self._recogniser.model.id

    def enrol(
        self,
        name: str,
        *given: Given,
        judgement: Judgement = "standard",
        track: int = 0,
        channels: Channels = "BGR",
    ) -> tuple[ReferenceResult, ...]:
        """Add the faces of images and videos to a person, who is new if nobody has the name; see `People.enrol`.

        Raises InputError for a folder or an archive that cannot be read; what is wrong with a file is in its result.
        """
        found = next((one for one in self._people.values() if one.name == name), None)
        person, asked, left = found or _Person(name), Asked(judgement), Left([])
        results = list[ReferenceResult]()
        for source in sources_of_given(given, left, channels):
            try:
                parts = iter(source.read())
                first = next(parts, b"")
                if is_video_content(first[:4096], Path(source.name).suffix):
                    results += self._of_video(person, source.name, _joined(first, parts), asked, track)
                else:
                    results.append(self._of_image(person, source.name, b"".join(_joined(first, parts)), asked))
            except OSError as error:
                left.refused.append((source.name, error.strerror or str(error)))
        if found is None and person.references:
            self._people[str(uuid4())] = person
        self._known = None
        return (*results, *(_result(name, reason=why) for name, why in left.refused))

    def remove(self, name: str) -> None:
        """Forget a person. Raises KeyError."""
        del self._people[next((key for key, one in self._people.items() if one.name == name), name)]
        self._known = None

    def identify(self, image: Image, *, channels: Channels = "BGR") -> list[IdentifiedFace]:
        """Say who the faces of an image are, highest score first; see FaceAnalyzer for `image`.

        Two faces of an image are two people: the less similar one is UNDECIDED with SAME_FRAME, but see `twins`.
        """
        faces, found = self._analyzer(image, channels=channels), list[IdentityDecision]()
        for face in faces:
            usable = face.crop is not None and not face.reasons
            probe = self._recogniser.embed([face.crop])[0] if usable and face.crop is not None else None
            found.append(self._decide(probe, 1, face.quality))
        boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
        twice = {key for key, one in self._people.items() if not self.twins.isdisjoint({key, one.name, *one.labels})}
        return [
            IdentifiedFace(_box(face.box.tolist()), face.score, face.quality, face.reasons, _decision(one))
            for face, one in zip(faces, in_one_picture(found, boxes, twice), strict=True)
        ]

    def identify_video(self, video: Path | str) -> list[IdentifiedPerson]:
        """Say who the people of a video of at most 10 minutes are, in the order of appearance. Raises InputError."""
        seen = _people_of(self._config, self._recogniser, Path(video))
        found = []
        for one in seen.people:
            best = one.best
            usable = one.certain and not one.conflicting and best is not None
            quality = best.quality if best is not None else 0.0
            decision = _decision(self._decide(one.template if usable else None, one.samples, quality))
            found.append(IdentifiedPerson(one.number, one.first_seen, one.last_seen, one.samples, decision))
        return found

    def save(self, file: Path | str, passphrase: str) -> None:
        """Write everybody into a new encrypted file, which `streamer people import` reads, too. Raises ConfigError."""
        write_gallery(Path(file), passphrase, (one.SerializeToString() for one in self._records()))

    def load(self, file: Path | str, passphrase: str) -> None:
        """Add everybody of an encrypted file, all or nothing; pictures of other weights are embedded again.

        Raises InputError for a wrong passphrase and for a file that was changed or cut off, ConfigError if other
        weights have embedded somebody of whom no picture is kept.
        """
        path = Path(file)
        check_gallery(path, passphrase)
        people, newest = dict[str, _Person](), ""
        for data in read_gallery(path, passphrase):
            record = record_of(data, str(path))
            kind = record.WhichOneof("record")
            if kind == "person":
                newest, given = record.person.person_id, record.person
                people[newest] = _Person(given.display_name, (*given.labels,), dict(given.metadata))
            elif kind == "reference":
                if newest not in people:
                    raise InputError(f"{path}: a reference stands before the first person")
                people[newest].references.append(self._reference(record.reference))
        for key, person in people.items():
            there = self._people.setdefault(key, _Person(person.name, person.labels, person.metadata))
            known = {one.reference_id for one in there.references}
            there.references += [one for one in person.references if one.reference_id not in known]
        self._known = None

    def _records(self) -> Iterator[messages.GalleryRecord]:
        count = sum(len(one.references) for one in self._people.values())
        head = messages.GalleryHead(model_id=self.model_id, people=len(self._people), references=count)
        head.created_at.FromDatetime(datetime.now(UTC))
        yield messages.GalleryRecord(head=head)
        for key, person in self._people.items():
            given = messages.GalleryPerson(
                person_id=key, display_name=person.name, labels=person.labels, metadata=dict(person.metadata)
            )
            yield messages.GalleryRecord(person=given)
            for one in person.references:
                made = messages.GalleryReference(
                    reference_id=one.reference_id,
                    model_id=one.model_id,
                    from_track=one.from_track,
                    quality=one.quality,
                    embedding=one.embedding.tolist(),
                    face_jpeg=one.jpeg,
                    set_aside=one.set_aside,
                    details=dict(one.details),
                )
                made.created_at.FromDatetime(one.created)
                yield messages.GalleryRecord(reference=made)

    def _reference(self, one: messages.GalleryReference) -> _Reference:
        """Return a reference of a file, embedded by these weights. Raises ConfigError."""
        embedding, model_id = np.array(one.embedding, np.float32), one.model_id
        if model_id != self.model_id:
            if not one.face_jpeg:
                raise ConfigError(f"a reference was embedded by {model_id} and has no picture: use those weights")
            pixels = simplejpeg.decode_jpeg(one.face_jpeg, colorspace="RGB")
            embedding, model_id = self._recogniser.embed([np.asarray(pixels, np.uint8)])[0], self.model_id
        created = one.created_at.ToDatetime(UTC)
        parts = (one.quality, embedding, one.face_jpeg, dict(one.details), created, one.from_track, one.set_aside)
        return _Reference(one.reference_id, model_id, *parts)

    def _of_image(self, person: _Person, name: str, data: bytes, asked: Asked) -> ReferenceResult:
        try:
            quality, pixels = self._recogniser.read(data, name, MOST_PIXELS, asked)
        except Unusable as error:
            return _result(name, reason=str(error), faces=error.faces)
        return self._add(person, name, hashlib.sha256(data).hexdigest(), quality, pixels)

    def _of_video(
        self, person: _Person, name: str, content: Iterator[bytes], asked: Asked, number: int
    ) -> list[ReferenceResult]:
        with scratch_folder() as folder:
            path = folder / "video"
            with path.open("wb") as file:
                file.writelines(content)
            try:
                seen = _people_of(self._config, self._recogniser, path)
            except InputError as error:
                return [_result(name, reason=str(error).removeprefix(f"{path}: "))]
        whom = chosen(seen, asked, number)
        if isinstance(whom, str):
            best = [(one, one.best) for one in seen.people]
            faces = [_found(face, one.number, one.first_seen, one.last_seen) for one, face in best if face is not None]
            return [_result(name, reason=whom, faces=faces)]
        faces_used = best_faces(whom, STRICT_QUALITY if asked is Asked.STRICT else 0.0)
        if not faces_used:
            return [_result(name, reason=f"no picture has the quality {STRICT_QUALITY} that strict asks for")]
        return [
            self._add(
                person,
                f"{name} at {one.media_time:.2f} s",
                hashlib.sha256(one.pixels.tobytes()).hexdigest(),
                one.quality,
                one.pixels,
            )
            for one in faces_used
        ]

    def _add(self, person: _Person, name: str, digest: str, quality: float, pixels: Bytes) -> ReferenceResult:
        (embedding,) = self._recogniser.embed([pixels])
        for known in person.references:
            alike = float(_unit(known.embedding) @ _unit(embedding)) >= SAME
            if known.details.get("digest") == digest or (alike and not known.from_track):
                reason = f"the same image is reference {known.reference_id} already"
                return _result(name, quality, reason=reason, duplicate_of=known.reference_id)
        jpeg = simplejpeg.encode_jpeg(pixels, quality=JPEG_QUALITY, colorspace="RGB")
        details = {"file": name, "digest": digest}
        made = _Reference(str(uuid4()), self.model_id, quality, embedding, jpeg, details, datetime.now(UTC))
        person.references.append(made)
        return _result(name, quality, reference_id=made.reference_id)

    def _decide(self, vector: Floats | None, samples: int, quality: float) -> IdentityDecision:
        """Return who a face is; `vector`: its embedding (512,), None: it cannot be used."""
        before = IdentityDecision(
            IdentityStatus.UNDECIDED, "", TOO_LITTLE, (), None, None, samples, quality, revision=0
        )
        if vector is None or quality < self._config.gallery.min_quality:
            return before
        identifier = Identifier(self._config.gallery)
        identifier.use(self._enrolled())
        return identifier.decide_past(before, Probe(_unit(vector), samples, quality, ()))

    def _enrolled(self) -> EnrolledGallery:
        if self._known is None:
            references = [
                EmbeddedReference(key, one.reference_id, one.embedding, one.quality)
                for key, person in self._people.items()
                for one in person.references
                if not one.set_aside
            ]
            found, _ = gallery_of(self._config, self._recogniser.model, references, [])
            names = {key: person.name for key, person in self._people.items()}
            self._known = EnrolledGallery(found.gallery, found.threshold, names)
        return self._known


def _people_of(config: StreamerConfig, recogniser: LocalRecogniser, path: Path) -> SeenPeople:
    """Find the people of a video, in an event loop of its own: the caller's thread may have one already."""
    with ThreadPoolExecutor(1, "detect") as detecting, ThreadPoolExecutor(1, "gallery") as pool:
        found = people_of_video(config, recogniser.detector, path, recogniser.known, detecting)
        return pool.submit(asyncio.run, found).result()


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _unit(vector: Floats) -> Floats:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))


def _box(corners: Sequence[float]) -> Box:
    x1, y1, x2, y2 = corners
    return Box(x1, y1, x2 - x1, y2 - y1)


def _found(face: SeenFace, number: int, first_seen: float, last_seen: float) -> FoundFace:
    return FoundFace(face.box, face.score, face.quality, number, face.frame, face.media_time, first_seen, last_seen)


def _result(
    name: str,
    quality: float = 0.0,
    *,
    reference_id: str | None = None,
    reason: str | None = None,
    faces: Sequence[FoundFace] = (),
    duplicate_of: str | None = None,
) -> ReferenceResult:
    return ReferenceResult(
        file_name=name,
        reference_id=reference_id,
        quality=quality,
        reason=reason,
        faces=tuple(_face(one) for one in faces),
        duplicate_of=duplicate_of,
        resembles=(),
        at=None,
    )


def _face(one: FoundFace) -> ReferenceFace:
    times = [
        timedelta(seconds=each) if one.number else None for each in (one.media_time, one.first_seen, one.last_seen)
    ]
    return ReferenceFace(
        box=_box(one.box),
        score=one.score,
        quality=one.quality,
        track=one.number,
        frame=one.frame,
        at=times[0],
        first_seen=times[1],
        last_seen=times[2],
    )


def _decision(found: IdentityDecision) -> Decision:
    return Decision(
        status=found.status.value,
        person=found.person or None,
        reason=found.reason.value if found.reason is not None else None,
        candidates=tuple(Candidate(one.person, one.similarity) for one in found.candidates),
        margin=found.margin,
        threshold=found.threshold,
        samples=found.samples,
        best_quality=found.best_quality,
    )
