"""Write people and expressions as tiers of an ELAN annotation file (EAF 3.0)."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from faceanalytics.files import replacing
from streamer.labels import EXPRESSIONS
from streamer.recorded.formats.stays import Clock, Stay, age_text, label, notice, reasons_text
from streamer.recorded.records import Record
from streamer.recorded.stored import Stored

EAF = "people.eaf"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
DATE = "1970-01-01T00:00:00Z"  # the schema asks for one, and the same results must give the same bytes
MIME_TYPES = {
    ".avi": "video/x-msvideo",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}
CONSTRAINTS = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, no time gaps allowed within this "
    "interval",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation. Annotations refering to the same parent are "
    "ordered",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time interval, gaps are allowed",
}  # in ELAN's own words
PRESENCE, EXPRESSION, SHOT = "presence", "expression", "shot"  # linguistic types

_Span = tuple[float, float, str]  # start s, end s, value


def write_eaf(results: Stored, clock: Clock, stays: Mapping[int, tuple[Stay, ...]], folder: Path, video: str) -> Path:
    """Write people.eaf into `folder` and return its path. `video`: its path, relative to `folder`. Raises ConfigError.

    Each person has a tier of stays, with the age as their value, and a tier of expressions within them; a further
    tier has the shots. Times are milliseconds.
    """
    tiers = _Tiers()
    for person in results.people:
        name = tiers.unused(label(person) if person["name"] else f"person_{person['number']}")
        seen = stays[person["number"]]
        value = age_text(person["age"]) or reasons_text(person) or "present"
        participant = label(person)
        tiers.add(name, PRESENCE, [(one.start_s, one.end_s, value) for one in seen], participant)
        runs = [(run.start_s, run.end_s, run.appears) for one in seen for run in one.runs if run.appears is not None]
        tiers.add(tiers.unused(f"expression@{name}"), EXPRESSION, runs, participant, parent=name)
    tiers.add(tiers.unused("shots"), SHOT, _shots(results.shots, clock))
    document = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "faceanalytics",
            "DATE": DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": XSI,
            "xsi:noNamespaceSchemaLocation": SCHEMA,
        },
    )
    document.append(_header(results.header, video, tiers.annotations))
    document.append(tiers.time_order())
    document.extend(tiers.elements)
    _types(document)
    ET.indent(document, " ")
    with replacing(folder / EAF) as partial:
        ET.ElementTree(document).write(partial, encoding="UTF-8", xml_declaration=True)
    return folder / EAF


class _Tiers:
    """The tiers, the ids of their annotations, and the time slots that these refer to."""

    def __init__(self) -> None:
        self.elements: list[ET.Element] = []
        self.annotations = 0
        self._slots: list[tuple[int, ET.Element]] = []  # ms, and the annotation whose border it is
        self._names: set[str] = set()

    def unused(self, name: str) -> str:
        """Return the name, or the name with a number if a tier has it already: two people may be called the same."""
        names = (name, *(f"{name}_{number}" for number in range(2, len(self._names) + 3)))
        return next(one for one in names if one not in self._names)

    def add(self, name: str, kind: str, spans: Sequence[_Span], participant: str = "", parent: str = "") -> None:
        self._names.add(name)
        optional = {"PARTICIPANT": participant, "PARENT_REF": parent}
        given = {key: _text(value) for key, value in optional.items() if value}
        tier = ET.Element("TIER", {"LINGUISTIC_TYPE_REF": kind, "TIER_ID": _text(name), **given})
        for start, end, value in spans:
            first, last = round(1000 * start), round(1000 * end)
            if first == last:  # ELAN knows no annotation without a length
                continue
            self.annotations += 1
            annotation = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                {"ANNOTATION_ID": f"a{self.annotations}", "TIME_SLOT_REF1": "", "TIME_SLOT_REF2": ""},
            )
            if kind == EXPRESSION:
                annotation.set("CVE_REF", _entry(value))
            ET.SubElement(annotation, "ANNOTATION_VALUE").text = _text(value)
            self._slots += [(first, annotation), (last, annotation)]
        self.elements.append(tier)

    def time_order(self) -> ET.Element:
        """Number the slots in the order of time, and refer to them in the annotations."""
        order = ET.Element("TIME_ORDER")
        for number, (time, annotation) in enumerate(sorted(self._slots, key=lambda slot: slot[0]), 1):
            which = "TIME_SLOT_REF1" if not annotation.get("TIME_SLOT_REF1") else "TIME_SLOT_REF2"
            annotation.set(which, f"ts{number}")
            ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(time)})
        return order


def _header(header: Record, video: str, annotations: int) -> ET.Element:
    element = ET.Element("HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    url = quote(video, safe="/-._~!$'()*,;=@:+", errors="surrogateescape")
    mime = MIME_TYPES.get(Path(video).suffix.lower(), "unknown")
    relative = url if url.startswith((".", "/")) else f"./{url}"
    ET.SubElement(
        element, "MEDIA_DESCRIPTOR", {"MEDIA_URL": relative, "MIME_TYPE": mime, "RELATIVE_MEDIA_URL": relative}
    )
    properties = {
        "lastUsedAnnotationId": str(annotations),
        "faceanalytics run_id": header["run_id"],
        "faceanalytics source_sha256": header["source"]["sha256"],
        "faceanalytics notice": notice(header),
    }
    for name, value in properties.items():
        if value:
            ET.SubElement(element, "PROPERTY", {"NAME": name}).text = value
    return element


def _shots(shots: Sequence[Record], clock: Clock) -> list[_Span]:
    """Return the shots, each up to the next one."""
    starts = [float(shot["start_s"]) for shot in shots[1:]]
    ends = [*starts, *(clock.after(float(shot["end_s"])) for shot in shots[-1:])]
    return [
        (float(shot["start_s"]), end, f"{shot['shot']} {shot['transition'].lower()}")
        for shot, end in zip(shots, ends, strict=True)
    ]


def _types(document: ET.Element) -> None:
    """Add the kinds of tiers and the vocabulary of expressions, in the order that the schema asks for."""
    common = {"GRAPHIC_REFERENCES": "false", "TIME_ALIGNABLE": "true"}
    within = {"CONSTRAINTS": "Included_In", "CONTROLLED_VOCABULARY_REF": EXPRESSION}
    for kind, more in ((PRESENCE, {}), (EXPRESSION, within), (SHOT, {})):
        ET.SubElement(document, "LINGUISTIC_TYPE", {"LINGUISTIC_TYPE_ID": kind, **common, **more})
    english = {
        "LANG_DEF": "http://cdb.iso.org/lg/CDB-00138502-001",
        "LANG_ID": "eng",
        "LANG_LABEL": "English (eng)",
    }
    ET.SubElement(document, "LANGUAGE", english)
    for stereotype, description in CONSTRAINTS.items():
        ET.SubElement(document, "CONSTRAINT", {"STEREOTYPE": stereotype, "DESCRIPTION": description})
    vocabulary = ET.SubElement(document, "CONTROLLED_VOCABULARY", {"CV_ID": EXPRESSION})
    ET.SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": "eng"}).text = "What a face appears to show"
    for name in EXPRESSIONS:
        entry = ET.SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": _entry(name)})
        ET.SubElement(entry, "CVE_VALUE", {"DESCRIPTION": "", "LANG_REF": "eng"}).text = name


def _entry(expression: str) -> str:
    return f"cveid_{expression}"


def _text(value: str) -> str:
    """Return text that XML can hold: control characters become a replacement character."""
    return "".join(
        one if one >= " " and not "\ud800" <= one <= "\udfff" else "\N{REPLACEMENT CHARACTER}" for one in value
    )
