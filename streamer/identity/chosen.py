"""Chooses whom a video shows, never one of several people unless that is asked for, and the pictures to learn from."""

from collections.abc import Sequence

from streamer.identity.references import DOMINATES, Judgement
from streamer.identity.seen import SeenFace, SeenPeople, SeenPerson

MOST_FACES = 5  # of a video, as many as a person has exemplars
WORST = 0.5  # of the quality of the best picture: poorer ones are not used
ALIKE = 0.95  # cosine to one that is used, from which a picture adds nothing


def chosen(seen: SeenPeople, judgement: Judgement, number: int) -> SeenPerson | str:
    """Return the person whom a video shows, or why it is nobody: never one of several, unless that is asked for."""
    people = seen.people
    if not people:
        return "no face is found in it"
    clear = [one for one in people if one.certain and one.faces]
    if number:
        found = next((one for one in people if one.number == number), None)
        if found is None:
            return f"it has no face {number}: choose one of 1 to {len(people)}"
    elif not clear:
        return "its faces are too few or too poor to recognise somebody by"
    elif judgement is Judgement.OFF:
        found = max(clear, key=lambda one: (one.samples, -one.number))
    else:
        found = max(clear, key=_weight)
        others = [one for one in people if one is not found]
        if judgement is not Judgement.STRICT:  # poor faces beside one that stands out do not count
            others = [one for one in others if one in clear or DOMINATES * _weight(one) > _weight(found)]
        if others:
            return f"it shows {1 + len(others)} people: choose one by number (track). {_listed([found, *others])}"
    if found.conflicting:
        return f"the pictures of face {found.number} resemble each other so little that they may show several people"
    if not found.certain or not found.faces:
        return f"the pictures of face {found.number} are too few or too poor to recognise somebody by"
    return found


def _weight(person: SeenPerson) -> float:
    return person.samples * (person.best.quality if person.best is not None else 0.0)


def best_faces(person: SeenPerson, least: float) -> list[SeenFace]:
    """Return the picture of the highest quality, and in turn the one least similar to those taken, by time."""
    best = person.best
    if best is None or best.quality < least:
        return []
    usable = [one for one in person.faces if one.quality >= max(least, WORST * best.quality)]
    taken = [best]
    while len(taken) < min(MOST_FACES, len(usable)):
        nearest = [max(float(one.embedding @ each.embedding) for each in taken) for one in usable]
        row = min(range(len(usable)), key=lambda at: (nearest[at], usable[at].media_time))
        if nearest[row] > ALIKE:
            break
        taken.append(usable[row])
    return sorted(taken, key=lambda one: one.media_time)


def _listed(people: Sequence[SeenPerson]) -> str:
    parts = []
    for one in sorted(people, key=lambda each: each.number):
        face = one.best
        where = "" if face is None else f", best in frame {face.frame} at {face.media_time:.2f} s, {_box(face)}"
        parts.append(f"{one.number}: {one.first_seen:.2f} to {one.last_seen:.2f} s{where}")
    return "; ".join(parts)


def _box(face: SeenFace) -> str:
    x1, y1, x2, y2 = (round(value) for value in face.box)
    return f"x {x1} y {y1} {x2 - x1}x{y2 - y1}"
