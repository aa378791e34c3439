"""What the report calls things: times, ages, expressions and reasons in words."""

from collections.abc import Iterable, Mapping

from streamer.labels import EXPRESSIONS
from streamer.recorded.records import Record

NARROW = "\N{NARROW NO-BREAK SPACE}"
APPEARS = {
    "surprise": "surprised",
    "fear": "fearful",
    "disgust": "disgusted",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "neutral": "neutral",
}
# classes of the page's styles, and the letters that tell the colours apart in print
CODES = {name: name[:2].capitalize() for name in EXPRESSIONS}
REASONS = {
    "SMALL_BOUNDING_BOX": "face too small",
    "LOW_SHARPNESS": "blurred",
    "LOW_BRIGHTNESS": "too dark",
    "EXTREME_POSE": "turned away",
    "LOW_CONFIDENCE": "the detector was unsure",
    "BUDGET": "other faces came first",
    "CONFLICTING": "its crops seem to show more than one person",
    "FALSE_FACE": "probably not a face",
    "LOW_QUALITY": "crops too poor",
    "COVERED": "partly covered, such as by a mask",
    "BORDER": "cut off by the border of the picture",
    "TOO_FEW_SAMPLES": "too few usable crops",
    "NOT_ANALYSED": "no crop was analysed",
}
DECISIONS = {
    "SENT": "analysed",
    "UNUSABLE": "not usable",
    "TOO_SOON": "analysed a moment before",
    "NOTHING_TO_GAIN": "the answer would hardly have changed",
    "BETTER_CROP": "a better crop of the same face was waiting",
    "BLENDED": "one shot was fading into the next",
    "BUDGET": "other faces gained more",
}
ENDS = {
    "TIMEOUT": "not seen any longer",
    "LEFT_FRAME": "left the picture",
    "MERGED": "joined to another track",
    "SHUTDOWN": "the analysis was stopped",
    "END_OF_FILE": "end of the video",
    "SPLIT": "continued by another person",
}
TRANSITIONS = {"START": "start", "CUT": "cut", "FADE": "fade"}


def words(name: str) -> str:
    """Return a name of the files as plain words: `five_o_clock_shadow` becomes "five o clock shadow"."""
    return name.lower().replace("_", " ")


def reasons(names: Iterable[str]) -> str:
    """Return reasons in words, or an empty text."""
    return ", ".join(REASONS.get(name, words(name)) for name in names)


def appears(expression: str) -> str:
    """Return "appears happy" for `happiness`: the face may deceive."""
    return f"appears {APPEARS.get(expression, words(expression))}"


def age(record: Record | None) -> str:
    """Return an age with its interval, such as "27 (24\N{EN DASH}30)", or an empty text."""
    if record is None:
        return ""
    years, low, high = (max(0, round(record[key])) for key in ("years", "low_years", "high_years"))
    return f"{years} ({low}\N{EN DASH}{high})"


def clock(seconds: float) -> str:
    """Return a media time as 0:12.3 or 1:02:03.4."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}:{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{text.zfill(7)}" if hours else text


def length(seconds: float) -> str:
    """Return a length of time as 3.2 s, 4 min 5 s or 1 h 2 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 person", "2,000 frames"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share of 1 as a whole percentage; a small one is "<1 %"."""
    return f"<1{NARROW}%" if 0 < share < 0.005 else f"{100 * share:.0f}{NARROW}%"


def counted(counts: Mapping[str, int], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (words, number) of counts, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(names.get(name, words(name)), f"{number:,}") for name, number in ordered]
