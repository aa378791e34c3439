"""Makes the short texts that are drawn beside a face from the records of its track or person."""

from dataclasses import dataclass

from streamer.recorded.records import Record

# after Okabe and Ito: told apart with any colour vision, and black text is readable on them; the dashboard has the same
COLOURS = (
    *("#56b4e9", "#e69f00", "#2fc29b", "#f0e442", "#d98cb8"),
    *("#ff7a33", "#8fb8ff", "#c7a6ff", "#b8e06a", "#ffffff"),
)
LOOKS = {
    "surprise": "surprised",
    "fear": "afraid",
    "disgust": "disgusted",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is known about a face, as texts: name first, then age and expression."""

    name: str  # of a person in the gallery, else P and the person's number, or # and the track's number
    age: str = ""  # years; empty: not known
    described: bool = True

    def texts(self, appears: str | None = None, details: str = "") -> tuple[str, str, str]:
        """Return the full, the shorter and the shortest text; `appears` is the expression."""
        if not self.described:
            return f"{self.name} ?{details}", f"{self.name} ?", self.name
        known = " ".join(filter(None, (self.name, self.age)))
        full = f"{known} {LOOKS.get(appears, appears)}" if appears else known
        return full + details, known, self.name


def caption(record: Record, name: str | None = None) -> Caption:
    """Make the caption from the record of a track or person, or from an answer so far.

    `name` replaces the person of the gallery and the number of the track.
    """
    decision, age = record.get("decision"), record["age"]
    known = decision["person"] if decision else None
    years = f"{max(0, round(age['years']))}" if age else ""
    return Caption(name or known or f"#{record['number']}", years, record.get("described", True))


def colour(number: int) -> tuple[int, int, int]:
    """Return a bright colour (BGR) per number, one of ten."""
    text = COLOURS[(number - 1) % len(COLOURS)]
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return blue, green, red


def words(name: str) -> str:
    """Return the name of an enum in plain words."""
    return name.lower().replace("_", " ")
