"""From a video to a few references of one person: the pictures that show them well and differ most."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import simplejpeg

from faceanalytics.errors import ConfigError, InputError, LostDependency
from streamer.identity.chosen import best_faces, chosen
from streamer.identity.references import STRICT_QUALITY, FoundFace, Judgement
from streamer.identity.seen import SeenFace, SeenPeople, SeenPerson
from streamer.people.curator import Problem, Refused
from streamer.people.images import JPEG_QUALITY, Face, Unfit, shown_name

ReadVideo = Callable[[Path], Awaitable[SeenPeople]]


async def faces_of_video(
    read: ReadVideo, file: str, path: Path, judgement: Judgement, number: int
) -> list[Face] | list[Unfit]:
    """Return the faces of one person of a video, or why there are none.

    `number`: which person, by an earlier answer; 0: the only one. Raises Refused if nobody can analyse it now.
    """
    name = shown_name(file, "video")
    try:
        seen = await read(path)
    except InputError as error:
        return [Unfit(name, str(error).removeprefix(f"{path}: "))]
    except (ConfigError, LostDependency) as error:
        raise Refused(Problem.NOT_NOW, str(error)) from error
    person = chosen(seen, judgement, number)
    if isinstance(person, str):
        return [Unfit(name, person, _shown(seen.people))]
    faces = best_faces(person, STRICT_QUALITY if judgement is Judgement.STRICT else 0.0)
    if not faces:
        return [Unfit(name, f"no picture has the quality {STRICT_QUALITY} that strict asks for", _shown([person]))]
    return [_face(one, name) for one in faces]


def _face(one: SeenFace, name: str) -> Face:
    jpeg = simplejpeg.encode_jpeg(one.pixels, quality=JPEG_QUALITY, colorspace="RGB")
    digest = hashlib.sha256(one.pixels.tobytes()).hexdigest()
    return Face(f"{name} at {one.media_time:.2f} s", digest, one.quality, one.pixels, jpeg, one.media_time)


def _shown(people: Sequence[SeenPerson]) -> tuple[FoundFace, ...]:
    found = []
    for one in people:
        face = one.best
        if face is not None:
            when = (one.number, face.frame, face.media_time, one.first_seen, one.last_seen)
            found.append(FoundFace(face.box, face.score, face.quality, *when))
    return tuple(found)
