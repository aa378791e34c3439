"""Tiers for ELAN: valid by the schema of EAF 3.0, and read by another library."""

from pathlib import Path

import pytest
import xmlschema
from pympi.Elan import Eaf

from streamer.labels import EXPRESSIONS
from streamer.recorded.formats.elan import write_eaf
from streamer.recorded.formats.stays import clock_of, find_stays
from streamer.recorded.stored import Stored
from tests.conftest import ROOT
from tests.support.stored_results import Seen, write_results

TIMES = [frame / 25 for frame in range(100)]
SCHEMA = xmlschema.XMLSchema(str(ROOT / "tests" / "support" / "eaf_3_0.xsd"))


def write(folder: Path, video: str = "clip.mp4") -> Eaf:
    """The tiers of the results in a folder, after they were found valid."""
    results = Stored(folder)
    clock = clock_of(results)
    path = write_eaf(results, clock, find_stays(results, clock), folder, video)
    SCHEMA.validate(str(path))
    return Eaf(str(path))


def spans(eaf: Eaf, tier: str) -> list[tuple[int, int, str]]:
    return sorted(eaf.get_annotation_data_for_tier(tier))


def test_a_person_has_a_tier_of_stays_and_one_of_expressions_within_them(tmp_path: Path) -> None:
    tracks = [
        Seen("a", 1, 1, 0, 24, segments=[("happiness", 0.2, 0.6)]),
        Seen("b", 2, 1, 50, 74, segments=[("neutral", 1.9, 2.4), ("sadness", 2.6, 3.5)]),  # beyond the stay
    ]
    write_results(tmp_path, tracks, times=TIMES, names={1: "Anna Berg"})
    eaf = write(tmp_path)
    age = "34 years (28-41)"
    assert spans(eaf, "Anna Berg") == [(0, 1000, age), (2000, 3000, age)]
    expected = [(200, 600, "happiness"), (2000, 2400, "neutral"), (2600, 3000, "sadness")]
    assert spans(eaf, "expression@Anna Berg") == expected
    parameters = eaf.get_parameters_for_tier("expression@Anna Berg")
    assert parameters["PARENT_REF"] == "Anna Berg"
    assert parameters["PARTICIPANT"] == "Anna Berg"
    assert eaf.get_parameters_for_linguistic_type("expression")["CONSTRAINTS"] == "Included_In"
    assert [values[0][0][0] for values in eaf.get_cv_entries("expression").values()] == list(EXPRESSIONS)


def test_shots_are_a_tier_without_gaps(tmp_path: Path) -> None:
    write_results(tmp_path, [], times=TIMES, cuts=[30, 80])
    eaf = write(tmp_path)
    assert spans(eaf, "shots") == [(0, 1200, "1 start"), (1200, 3200, "2 cut"), (3200, 4000, "3 cut")]


def test_who_is_not_described_says_why_and_has_no_expression(tmp_path: Path) -> None:
    write_results(tmp_path, [Seen("a", 1, 1, 0, 9)], times=TIMES, undescribed={1: ["LOW_QUALITY", "BORDER"]})
    eaf = write(tmp_path)
    assert spans(eaf, "person_1") == [(0, 400, "not described: low quality, border")]
    assert spans(eaf, "expression@person_1") == []


def test_people_of_one_name_and_names_like_other_tiers_have_tiers_of_their_own(tmp_path: Path) -> None:
    tracks = [Seen(str(number), number, number, 0, 9 * number) for number in (1, 2, 3, 4)]
    write_results(tmp_path, tracks, times=TIMES, names={1: "Kim", 2: "Kim", 3: "shots", 4: "A<&\x07>\n\"漢字'"})
    eaf = write(tmp_path)
    names = set(eaf.get_tier_names())
    assert {"Kim", "expression@Kim", "Kim_2", "expression@Kim_2", "shots", "expression@shots", "shots_2"} < names
    assert [end for _, end, _ in (*spans(eaf, "Kim"), *spans(eaf, "Kim_2"))] == [400, 760]
    assert "A<&�> \"漢字'" in names


def test_times_beyond_an_hour_and_stays_of_one_frame(tmp_path: Path) -> None:
    write_results(tmp_path, [Seen("a", 1, 1, 1, 1)], times=[0.0, 7200.0333333, 7200.066667])
    eaf = write(tmp_path)
    assert [span[:2] for span in spans(eaf, "person_1")] == [(7_200_033, 7_200_067)]


@pytest.mark.parametrize("times", [TIMES, []])
def test_a_video_without_faces_is_valid(times: list[float], tmp_path: Path) -> None:
    write_results(tmp_path, [], times=times)
    assert list(write(tmp_path).get_tier_names()) == ["shots"]


@pytest.mark.parametrize(
    ("video", "url", "kind"),
    [
        ("clip.mp4", "./clip.mp4", "video/mp4"),
        ("../my films/a#b%c.MKV", "../my%20films/a%23b%25c.MKV", "video/x-matroska"),
        ("/archive/é.mov", "/archive/%C3%A9.mov", "video/quicktime"),
        ("odd\udce9.gif", "./odd%E9.gif", "unknown"),
    ],
)
def test_the_video_is_found_from_the_file(video: str, url: str, kind: str, tmp_path: Path) -> None:
    write_results(tmp_path, [], times=TIMES)
    (media,) = write(tmp_path, video).media_descriptors
    assert (media["RELATIVE_MEDIA_URL"], media["MIME_TYPE"]) == (url, kind)


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    tracks = [Seen("a", 1, 1, 0, 24, segments=[("happiness", 0.2, 0.6)]), Seen("b", 2, 2, 10, 60)]
    write_results(tmp_path, tracks, times=TIMES, model_id="untrained")
    write(tmp_path)
    first = (tmp_path / "people.eaf").read_bytes()
    write(tmp_path)
    assert (tmp_path / "people.eaf").read_bytes() == first
    assert b"UNTRAINED" in first
