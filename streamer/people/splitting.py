"""Splits a person who mixes two: some references and tracks go to another person."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamer.people.book import Draft
from streamer.people.curator import Curator, Problem, Refused
from streamer.people.enrolling import MOST_REFERENCES, Enrolling
from streamer.people.entries import Action, Entry, Person


@dataclass(frozen=True, slots=True)
class Split:
    """Who is split, and what goes to whom."""

    person_id: str
    references: Sequence[str]  # ids
    tracks: Sequence[str]  # ids
    other_id: str  # who gets them; empty: the new person
    new: Draft | None = None  # entry that adds the new person
    version: int = 0  # of the person, as the caller knows it; 0: any
    other_version: int = 0


class Splitting:
    """Splits people. Raises as Curator does."""

    def __init__(self, curator: Curator, enrolling: Enrolling) -> None:
        self._curator = curator
        self._enrolling = enrolling

    async def split(self, actor: str, wanted: Split) -> Entry:
        """Split a person; returns the entry that does so."""
        async with self._curator.changing:
            return (await self._curator.write(actor, self.splitting(wanted)))[-1]

    def splitting(self, wanted: Split) -> list[Draft]:
        """Return the entries that split a person."""
        curator = self._curator
        person = curator.changeable(wanted.person_id, wanted.version)
        if wanted.other_id == person.person_id:
            raise Refused(Problem.INVALID, "other_person_id: it is the same person")
        references = self._references(person, wanted)
        if not references and not wanted.tracks:
            raise Refused(Problem.INVALID, "reference_ids, track_ids: name at least one reference or track")
        if references and len(references) == len(person.references):
            raise Refused(
                Problem.INVALID, "reference_ids: nothing would be left to the person; rename them, or merge the two"
            )
        if wanted.new is not None:
            self._enrolling.check_size(None)
            target = wanted.new.person_id
        else:
            other = curator.changeable(wanted.other_id, wanted.other_version)
            if references:
                self._enrolling.check_size(other)
            if len(other.references) + len(references) > MOST_REFERENCES:
                text = f"the other person would have more than {MOST_REFERENCES} references"
                raise Refused(Problem.TOO_MUCH, text)
            target = other.person_id
        data = {"other": person.person_id, "references": references, "tracks": list(dict.fromkeys(wanted.tracks))}
        said = Draft(Action.SPLIT, target, data)
        return [said] if wanted.new is None else [wanted.new, said]

    def _references(self, person: Person, wanted: Split) -> list[str]:
        """Return the references that go: those named, and what was learnt from the tracks. Raises Refused."""
        for name in wanted.references:
            if name not in person.references:
                raise Refused(Problem.INVALID, "reference_ids: a reference is not one of the person's")
        stored, tracks = self._curator.book.references, set(wanted.tracks)
        learnt = [name for name in person.references if stored[name].details.get("track") in tracks]
        return [name for name in person.references if name in {*wanted.references, *learnt}]
