"""The people of several recordings, from the list that a run over many videos or `streamer people-across` writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from streamer.recorded.filenames import PEOPLE
from streamer.recorded.recording import complaining
from streamer.recorded.records import Record
from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, Part, element, join, table
from streamer.recorded.report.reading import read_lines
from streamer.recorded.report.rows import Row
from streamer.recorded.report.timeline import picture_id

MOST_PEOPLE, MOST_PICTURES = 500, 6
Places = Mapping[tuple[str, int], tuple[str, Row]]  # file and row of a person, by content of the file and number


def read_across(folders: Sequence[Path]) -> list[Record]:
    """Return the people of several recordings that are listed in one of the folders. Raises InputError."""
    for folder in folders:
        path = folder / PEOPLE
        if not path.exists():
            continue
        with complaining(path):
            header, *people = read_lines(path)
            if "recordings" in header:  # else it lists the people of one recording
                return people
    return []


def across(people: Sequence[Record], places: Places, pictured: Mapping[str, Sequence[str]]) -> Markup | None:
    """Return the people who are in more than one of the recordings; `pictured`: the tracks with a picture, by row."""
    found = [(person, _appearances(person, places)) for person in people]
    shared = [(person, seen) for person, seen in found if len({name for name, _, _ in seen}) > 1]
    if not people:
        return None
    lines = [_line(person, seen, pictured) for person, seen in shared[:MOST_PEOPLE]]
    single = sum(1 for _, seen in found if seen) - len(shared)
    text = f"{words.count(len(shared), 'person', 'people')} in more than one recording, {single:,} in one only."
    heads = ("", "Person", "In view", "Recordings", "Appears in")
    return join(
        element("h3", "People across recordings"),
        element("p", text),
        table(heads, lines, class_="across") if lines else None,
    )


def _appearances(person: Record, places: Places) -> list[tuple[str, Row, Record]]:
    keyed = [((one["sha256"], one["person_number"]), one) for one in person["appearances"]]
    return [(*places[key], one) for key, one in keyed if key in places]


def _line(person: Record, seen: Sequence[tuple[str, Row, Record]], pictured: Mapping[str, Sequence[str]]) -> list[Part]:
    images = [
        element("img", data_of=picture_id(row.id, pictured[row.id][0]), alt="")
        for _, row, _ in seen
        if pictured[row.id]
    ]
    links: list[Part] = []
    for name, row, one in seen:
        links += [", " if links else None, element("a", element("bdi", name), href=f"#{row.id}")]
        links.append(f" {words.clock(one['first_seen_s'])}\N{EN DASH}{words.clock(one['last_seen_s'])}")
    return [
        element("span", images[:MOST_PICTURES], class_="strip"),
        element("bdi", person["name"] or f"Person {person['number']}"),
        words.length(sum(one["seen_s"] for _, _, one in seen)),
        str(len({name for name, _, _ in seen})),
        links,
    ]
