"""Adds references to people: from images, and from tracks, together with what was said about these tracks."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import numpy as np

from faceanalytics.errors import ConfigError, LostDependency
from streamer.config import StreamerConfig
from streamer.identity.references import FoundFace, Judgement
from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused, new_id
from streamer.people.entries import FOLDER, Action, Entry, Person
from streamer.people.images import Face, Images, Unfit, shown_name
from streamer.people.past import Past
from streamer.people.stored import StoredReference
from streamer.people.track_faces import TrackFace
from streamer.people.videos import ReadVideo, faces_of_video
from streamer.privacy import Mode
from streamer.values import Candidate, Floats

MOST_REFERENCES = 500  # of a person
SAME = 0.995  # cosine of two crops of one image, saved twice
FULL = f"the person has {MOST_REFERENCES} references, which is the most a person may have"
WORKER_S = 30.0  # longest wait for a worker that embeds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an image."""

    file: str
    reference_id: str = ""  # empty: it gives no reference
    quality: float = 0.0  # 0..1
    reason: str = ""  # why it gives none
    faces: tuple[FoundFace, ...] = ()  # that explain the reason
    duplicate_of: str = ""  # reference of the person with the same image
    resembles: tuple[Candidate, ...] = ()  # other people who are as similar as one person
    media_time: float | None = None  # s, in a video; None: it is of an image


class Enrolling:
    """Adds references. Raises as Curator does."""

    def __init__(
        self, config: StreamerConfig, curator: Curator, past: Past, read_video: ReadVideo | None = None
    ) -> None:
        """`read_video` finds the people of a video file; None: videos are refused."""
        self._read_video = read_video
        self._curator = curator
        self._past = past
        self._images = Images(config.detect, config.crop)
        self._settings = config.gallery
        self._mode = config.privacy.mode

    def close(self) -> None:
        """End the thread that reads images."""
        self._images.close()

    async def read(self, file: str, data: bytes, judgement: Judgement) -> Face | Unfit:
        """Return the face in an image, or why no face is used."""
        return await self._images.read(file, data, judgement)

    async def read_video(
        self, file: str, path: Path, judgement: Judgement, number: int
    ) -> Sequence[Face] | Sequence[Unfit]:
        """Return some faces of one person in a video, or why there are none; `number`: which one, 0: the only one."""
        if self._read_video is None:
            return [Unfit(shown_name(file, "video"), "this streamer reads no videos")]
        return await faces_of_video(self._read_video, file, path, judgement, number)

    def known(self, person_id: str, file: str, data: bytes, faces: int) -> Unfit | None:
        """Return why an image need not be read: the person has the same file, or no room for more; None: it need.

        `faces`: those that were read before it, in the same call.
        """
        person, stored = self._curator.get(person_id), self._curator.book.references
        digest, name = hashlib.sha256(data).hexdigest(), shown_name(file, "image")
        for one in person.references:
            if stored[one].details.get("digest") == digest:
                return Unfit(name, f"the same image is reference {one} already", duplicate_of=one)
        return Unfit(name, FULL) if len(person.references) + faces >= MOST_REFERENCES else None

    async def add(
        self, actor: str, person_id: str, version: int, found: Sequence[Face | Unfit]
    ) -> tuple[Person, list[Outcome]]:
        """Add the faces of images to a person, all or none."""
        self._curator.changeable(person_id, version)
        faces = [one for one in found if isinstance(one, Face)]
        model_id, embeddings = await self.embedded(faces)
        async with self._curator.changing:
            person = self._curator.changeable(person_id, version)
            outcomes, made = self._judged(person, found, model_id, embeddings)
            if made:
                self.check_size(person)
                ids = [one.reference_id for one, _ in made]
                await self._curator.write(actor, [Draft(Action.ENROL, person.person_id, {"references": ids})], made)
        return self._curator.get(person_id), outcomes

    async def embedded(self, faces: Sequence[Face]) -> tuple[str, list[Floats]]:
        """Return the id of the workers' model and the embeddings (512,) of faces."""
        if not faces:
            return "", []
        if self._mode is Mode.AGGREGATE_ONLY:
            text = "the streamer is in the privacy mode aggregate_only, in which faces are not embedded (privacy.mode)"
            raise Refused(Problem.PRIVACY, text)
        try:
            async with asyncio.timeout(WORKER_S):
                return await self._curator.live.embedded([one.pixels for one in faces], [one.file for one in faces])
        except TimeoutError:
            raise Refused(Problem.NOT_NOW, f"no worker has embedded the images within {WORKER_S:g} s") from None
        except (ConfigError, LostDependency) as error:
            raise Refused(Problem.NOT_NOW, str(error)) from error

    def _judged(
        self, person: Person, found: Sequence[Face | Unfit], model_id: str, embeddings: Sequence[Floats]
    ) -> tuple[list[Outcome], list[tuple[StoredReference, bytes]]]:
        """Return what becomes of each image, and the references that are new."""
        known = Same(model_id, [self._curator.book.references[name] for name in person.references])
        outcomes, made, vectors = [], list[tuple[StoredReference, bytes]](), iter(embeddings)
        for one in found:
            if isinstance(one, Unfit):
                outcomes.append(Outcome(one.file, reason=one.reason, faces=one.faces, duplicate_of=one.duplicate_of))
                continue
            embedding, at = next(vectors), one.media_time
            same = known.find(one.digest, embedding)
            if same:
                reason, quality = f"the same image is reference {same} already", one.quality
                outcomes.append(Outcome(one.file, quality=quality, reason=reason, duplicate_of=same, media_time=at))
            elif len(known) >= MOST_REFERENCES:
                outcomes.append(Outcome(one.file, quality=one.quality, reason=FULL, media_time=at))
            else:
                details = {"file": one.file, "digest": one.digest}
                parts = (person.person_id, model_id, "IMAGE", one.quality, embedding, True, details, datetime.now(UTC))
                reference = StoredReference(new_id(), *parts)
                known.add(reference)
                made.append((reference, one.jpeg))
                others = self._others(person.person_id, embedding)
                outcome = Outcome(one.file, reference.reference_id, one.quality, resembles=others, media_time=at)
                outcomes.append(outcome)
        return outcomes, made

    def _others(self, person_id: str, embedding: Floats) -> tuple[Candidate, ...]:
        """Return the other people to whom a face is as similar as to one person."""
        known = self._curator.live.known
        if known is None:
            return ()
        probe = embedding / np.float32(np.linalg.norm(embedding))
        found = known.gallery.search(probe, self._settings.candidates, {person_id})
        shown = self._curator.shown
        return tuple(
            Candidate((shown(one.person) or ("", ""))[1], one.similarity, one.person)
            for one in found
            if one.similarity >= known.threshold
        )

    def check_size(self, person: Person | None) -> None:
        """Refuse somebody (None: a new person) who makes the gallery larger than its false-accept rate allows."""
        live, book = self._curator.live, self._curator.book
        if person is not None and any(name not in person.set_aside for name in person.references):
            return
        faces = [one for one in book.people.people.values() if one.references]
        problem = live.problem_with(len(faces) + len(live.folder.names) + 1)
        if problem:
            raise Refused(Problem.NOT_NOW, problem)

    async def confirm(
        self, actor: str, face: TrackFace, person_id: str, version: int, new: Draft | None = None
    ) -> Entry:
        """Say that a track shows a person, or a new one, and learn their face from it."""
        async with self._curator.changing:
            drafts, references = await self.confirming(face, person_id, version, new)
            return (await self._curator.write(actor, drafts, references))[-1]

    async def reject(self, actor: str, face: TrackFace, person_id: str, version: int) -> Entry:
        """Say that a track does not show a person."""
        async with self._curator.changing:
            drafts, references = await self.rejecting(face, person_id, version)
            return (await self._curator.write(actor, drafts, references))[-1]

    def refuse_face(self, face: TrackFace) -> NoReturn:
        """Say that the face of a track is not good enough, or not known."""
        raise Refused(Problem.NOT_NOW, f"track_id: {_no_face(face)}")

    async def confirming(
        self, face: TrackFace, person_id: str, version: int, new: Draft | None = None
    ) -> tuple[list[Draft], list[tuple[StoredReference, bytes]]]:
        """Return the entries that say that a track shows a person, and the reference."""
        if new is None and not person_id.startswith(FOLDER):
            person = self._curator.changeable(person_id, version)
            if len(person.references) >= MOST_REFERENCES:
                raise Refused(Problem.TOO_MUCH, f"the person has {MOST_REFERENCES} references")
            self.check_size(person)
        elif new is None:
            self._curator.get(person_id)
        else:
            self.check_size(None)
        target = person_id if new is None else new.person_id
        made = [] if target.startswith(FOLDER) else await self._learnt(face, target, "TRACK")
        said = Draft(Action.CONFIRM, target, {"track": face.track_id, "reference": _id_of(made)})
        return [*([] if new is None else [new]), said], made

    async def rejecting(
        self, face: TrackFace, person_id: str, version: int
    ) -> tuple[list[Draft], list[tuple[StoredReference, bytes]]]:
        """Return the entry that says that a track does not show a person, and the reference to learn from."""
        if person_id.startswith(FOLDER):
            self._curator.get(person_id)
        else:
            self._curator.changeable(person_id, version)
        made = await self._learnt(face, person_id, "REJECTED")
        return [Draft(Action.REJECT, person_id, {"track": face.track_id, "reference": _id_of(made)})], made

    async def _learnt(self, face: TrackFace, person_id: str, source: str) -> list[tuple[StoredReference, bytes]]:
        """Return the template of a track as a reference with its picture, if it is good enough."""
        settings = self._settings
        if face.template is None or face.samples < settings.min_samples or face.quality < settings.min_quality:
            return []
        jpeg = await self._curator.book.store.history.face(face.track_id)
        parts = (face.model_id, source, face.quality, face.template, bool(jpeg), {"track": face.track_id})
        return [(StoredReference(new_id(), person_id, *parts, datetime.now(UTC)), jpeg)]


def _no_face(face: TrackFace) -> str:
    return (
        f"{face.samples} analyses with a best quality of {face.quality:.2f} are too little to recognise somebody by "
        "(gallery.min_samples, gallery.min_quality), or its face is no longer stored (store.templates)"
    )


def _id_of(made: Sequence[tuple[StoredReference, bytes]]) -> str:
    return made[0][0].reference_id if made else ""


class Same:
    """The references of a person, and which of them is the same image as another one."""

    def __init__(self, model_id: str, references: Sequence[StoredReference]) -> None:
        self._model_id = model_id
        self._count = 0
        self._digests: dict[str, str] = {}  # of files -> id of the reference
        self._ids: list[str] = []  # of the rows
        self._units = np.zeros((0, 512), np.float32)  # embeddings of this model
        for one in references:
            self.add(one)

    def __len__(self) -> int:
        return self._count

    def add(self, one: StoredReference) -> None:
        """Take in a reference."""
        self._count += 1
        if "digest" in one.details:
            self._digests.setdefault(one.details["digest"], one.reference_id)
        if one.model_id == self._model_id and one.source == "IMAGE":
            if len(self._ids) == len(self._units):
                more = np.zeros((len(self._units) + 64, 512), np.float32)
                self._units = np.concatenate([self._units, more])
            self._units[len(self._ids)] = _unit(one.embedding)
            self._ids.append(one.reference_id)

    def find(self, digest: str, embedding: Floats) -> str:
        """Return the id of the reference that is the same image; empty: none is."""
        if digest in self._digests or not self._ids:
            return self._digests.get(digest, "")
        scores = self._units[: len(self._ids)] @ _unit(embedding)
        row = int(scores.argmax())
        return self._ids[row] if scores[row] >= SAME else ""


def _unit(vector: Floats) -> Floats:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-12))
