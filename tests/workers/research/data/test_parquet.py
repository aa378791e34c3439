"""Parquet files with columns that the configuration names."""

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceanalytics.errors import ConfigError, InputError
from tests.support.face_files import draw, names, opened, shade, shades, values
from workers.research.data.face_set import impossible

ALL = {"name": "file", "identity": "who", "age": "years", "gender": "sex", "expression": "mood"}


def parquet(path: Path, **changes: list[Any]) -> Path:
    columns: dict[str, list[Any]] = {
        "image": [shade(10), shade(20), shade(30), shade(40)],
        "file": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        "who": ["Zoe", None, "Adam", "Zoe"],
        "years": [20, None, 30, 41],
        "sex": ["male", "F", None, "Female"],
        "mood": ["happiness", "Sad", None, "neutral"],
        "split": ["train", "val", "train", "test"],
    }
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns | changes), path, row_group_size=3)
    return path


def test_columns_are_those_that_the_configuration_names(tmp_path: Path) -> None:
    faces = opened(format="parquet", path=parquet(tmp_path / "faces.parquet"), columns=ALL)
    assert names(faces) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert shades(faces) == [10, 20, 30, 40]
    assert (values(faces.labels.identity), faces.identities) == ([1, -1, 0, 1], ("Adam", "Zoe"))
    assert values(faces.labels.gender) == [1, 0, -1, 0]
    assert values(faces.labels.expression) == [3, 4, -1, 6]
    assert faces.labels.count() == {"identity": 3, "age": 3, "gender": 3, "expression": 3}


def test_without_names_an_image_is_a_row_of_a_file(tmp_path: Path) -> None:
    faces = opened(format="parquet", path=parquet(tmp_path / "faces.parquet"), where={"split": ["val", "test"]})
    assert (names(faces), shades(faces)) == (["faces/000001", "faces/000003"], [20, 40])
    assert list(faces.labels.columns()) == []


def test_the_files_of_a_folder_are_one_set(tmp_path: Path) -> None:
    parquet(tmp_path / "shards" / "b.parquet")
    parquet(tmp_path / "shards" / "a.parquet", image=[shade(value) for value in (1, 2, 3, 4)])
    faces = opened(format="parquet", path=tmp_path / "shards", where={"split": "train"}, columns={"identity": "who"})
    assert names(faces) == ["a/000000", "a/000002", "b/000000", "b/000002"]
    assert shades(faces) == [1, 3, 10, 30]
    assert values(faces.labels.identity) == [1, 0, 1, 0]


def test_a_value_asked_for_need_not_be_in_every_file(tmp_path: Path) -> None:
    parquet(tmp_path / "shards" / "b.parquet")
    parquet(tmp_path / "shards" / "a.parquet", split=["train"] * 4)
    faces = opened(format="parquet", path=tmp_path / "shards", where={"split": ["val", "test"]})
    assert names(faces) == ["b/000001", "b/000003"]


def with_classes(path: Path, features: Any, **columns: list[Any]) -> Path:
    """A file as Hugging Face writes it: `features` by column, in the metadata of the schema."""
    table = pq.read_table(parquet(path, **columns))
    metadata = json.dumps({"info": {"features": features}}).encode()
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), path)
    return path


def class_label(*names: str) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


MOODS = class_label("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def test_class_numbers_are_read_by_the_names_that_the_file_holds(tmp_path: Path) -> None:
    features = {"mood": MOODS, "sex": class_label("Male", "Female"), "who": class_label("Zoe", "Adam")}
    path = with_classes(tmp_path / "a.parquet", features, mood=[0, 4, -1, None], sex=[0, 1, 1, -1], who=[1, 0, 0, None])
    faces = opened(format="parquet", path=path, columns={"expression": "mood", "gender": "sex", "identity": "who"})
    assert values(faces.labels.expression) == [5, 6, -1, -1]
    assert values(faces.labels.gender) == [1, 0, 0, -1]
    assert (values(faces.labels.identity), faces.identities) == ([0, 1, 1, -1], ("Adam", "Zoe"))
    chosen = opened(format="parquet", path=path, where={"mood": "neutral"})
    assert names(chosen) == names(opened(format="parquet", path=path, where={"mood": 4})) == ["a/000001"]


def test_files_of_one_set_may_number_their_classes_differently(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    with_classes(shards / "a.parquet", {"mood": MOODS}, mood=[0, 0, 3, 3])
    with_classes(shards / "b.parquet", {"mood": class_label("happy", "angry")}, mood=[0, 0, 1, 1])
    faces = opened(format="parquet", path=shards, columns={"expression": "mood"})
    assert values(faces.labels.expression) == [5, 5, 3, 3, 3, 3, 5, 5]


def test_an_order_that_contradicts_the_names_of_the_file_is_refused(tmp_path: Path) -> None:
    path = with_classes(tmp_path / "a.parquet", {"mood": MOODS}, mood=[0, 1, 2, 3])
    columns = {"expression": "mood"}
    for meaning in ("surprise", "unknown"):
        message = f"the class 0 of the column mood is called angry in the file, but `values` says {meaning}"
        with pytest.raises(InputError, match=message):
            opened(format="parquet", path=path, columns=columns, values={"expression": {0: meaning}})
    agreed = opened(
        format="parquet", path=path, columns=columns, values={"expression": {0: "anger", "fear": "unknown"}}
    )
    assert values(agreed.labels.expression) == [5, 2, -1, 3]


def test_class_names_without_a_meaning_and_numbers_without_a_name_are_refused(tmp_path: Path) -> None:
    columns = {"expression": "mood"}
    contempt = with_classes(tmp_path / "a.parquet", {"mood": class_label("happy", "contempt")}, mood=[0, 1, 0, 0])
    with pytest.raises(InputError, match="the meaning of 'contempt' is not known"):
        opened(format="parquet", path=contempt, columns=columns)
    beyond = with_classes(tmp_path / "b.parquet", {"mood": class_label("happy", "sad")}, mood=[0, 1, 2, 0])
    with pytest.raises(InputError, match=r"mood holds 2, but the file names only the classes 0\.\.1: happy, sad"):
        opened(format="parquet", path=beyond, columns=columns)
    groups = with_classes(tmp_path / "c.parquet", {"years": class_label("0-2", "3-9")}, years=[0, 1, 0, 1])
    with pytest.raises(InputError, match="the column of ages holds '0-2', which is not a number"):
        opened(format="parquet", path=groups, columns={"age": "years"})


def test_names_that_are_numbers_stand_for_them(tmp_path: Path) -> None:
    features = {"mood": class_label("0", "1", "2"), "years": class_label("30", "20")}
    path = with_classes(tmp_path / "a.parquet", features, mood=[0, 1, 2, 2], years=[0, 0, 1, 1])
    faces = opened(format="parquet", path=path, columns={"expression": "mood", "age": "years"})
    assert values(faces.labels.expression) == [0, 1, 2, 2]
    assert values(faces.labels.age) == [30, 30, 20, 20]


@pytest.mark.parametrize("features", [{"mood": {"_type": "ClassLabel"}}, {"mood": class_label() | {"names": 3}}, []])
def test_metadata_that_cannot_be_understood_are_refused(features: Any, tmp_path: Path) -> None:
    path = with_classes(tmp_path / "a.parquet", features)
    with pytest.raises(InputError, match=r"metadata of Hugging Face|are not a list of texts"):
        opened(format="parquet", path=path, columns={"expression": "mood"})


def test_what_a_mac_leaves_beside_the_files_is_no_part_of_the_set(tmp_path: Path) -> None:
    parquet(tmp_path / "shards" / "a.parquet")
    (tmp_path / "shards" / "._a.parquet").write_bytes(b"AppleDouble")
    assert len(opened(format="parquet", path=tmp_path / "shards")) == 4


def test_images_of_hugging_face_are_in_a_struct(tmp_path: Path) -> None:
    images = [{"bytes": shade(value), "path": "x.jpg"} for value in (1, 2, 3, 4)]
    assert shades(opened(format="parquet", path=parquet(tmp_path / "faces.parquet", image=images))) == [1, 2, 3, 4]


def test_a_set_goes_to_another_process_without_its_images(tmp_path: Path) -> None:
    images = [shade(value) + bytes(50_000) for value in (1, 2, 3, 4)]
    faces = opened(format="parquet", path=parquet(tmp_path / "faces.parquet", image=images))
    assert shades(faces) == [1, 2, 3, 4]
    sent = pickle.dumps(faces)
    assert len(sent) < 2000
    assert shades(pickle.loads(sent)) == [1, 2, 3, 4]


def test_words_without_a_meaning_are_all_listed(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", mood=["", "contempt", "happy", "contempt"])
    with pytest.raises(InputError, match=r"expression: the meaning of '', 'contempt' is not known"):
        opened(format="parquet", path=path, columns={"expression": "mood"})
    meanings = {"expression": {"": "unknown", "contempt": "anger"}}
    faces = opened(format="parquet", path=path, columns={"expression": "mood"}, values=meanings)
    assert values(faces.labels.expression) == [-1, 5, 3, 5]
    with pytest.raises(InputError, match="the meaning of 'contempt' is not known"):
        opened(
            format="parquet",
            path=path,
            columns={"expression": "mood"},
            values={"expression": {"": "unknown", "contempt": "scorn"}},
        )


def test_numbers_are_in_our_order_unless_explained(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", mood=[0, 6, 3, 9], sex=[0, 1, 0, 1])
    faces = opened(format="parquet", path=path, columns={"expression": "mood", "gender": "sex"})
    assert values(faces.labels.expression) == [0, 6, 3, 9]
    assert [row for row, _ in impossible(faces)] == [3]
    meanings = {"gender": {0: "male", 1: "female"}}
    faces = opened(format="parquet", path=path, columns={"gender": "sex"}, values=meanings)
    assert values(faces.labels.gender) == [1, 0, 1, 0]


def test_whole_numbers_with_gaps_are_numbers(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", mood=[0.0, float("nan"), 3.0, 6.0])
    faces = opened(format="parquet", path=path, columns={"expression": "mood"})
    assert values(faces.labels.expression) == [0, -1, 3, 6]


@pytest.mark.parametrize("value", [-1, 0.5, True])
def test_a_value_that_would_have_to_be_guessed_is_refused(value: object, tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", sex=[value] * 4)
    with pytest.raises(InputError, match=f"gender: the meaning of {value} is not known"):
        opened(format="parquet", path=path, columns={"gender": "sex"})
    faces = opened(format="parquet", path=path, columns={"gender": "sex"}, values={"gender": {value: "unknown"}})
    assert values(faces.labels.gender) == [-1] * 4


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet")
    with pytest.raises(InputError, match=r"faces\.parquet: there is no column mod among image, file"):
        opened(format="parquet", path=path, columns={"expression": "mod"})
    with pytest.raises(ConfigError, match=r"where\.split: no row has 'training'; it has 'test', 'train', 'val'"):
        opened(format="parquet", path=path, where={"split": "training"})
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no \*\.parquet in "):
        opened(format="parquet", path=tmp_path / "none")
    with pytest.raises(InputError, match=r"none\.parquet: "):
        opened(format="parquet", path=tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table" * 10)
    with pytest.raises(InputError, match=r"text\.parquet: not a Parquet file"):
        opened(format="parquet", path=tmp_path / "text.parquet")


def test_names_must_tell_images_apart(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", file=["a", "b", "a", "c"])
    with pytest.raises(InputError, match="the column file does not name each image"):
        opened(format="parquet", path=path, columns={"name": "file"})


@pytest.mark.parametrize("image", [b"no image", b"", None])
def test_a_row_without_an_image_is_named(image: bytes | None, tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet", image=[shade(1), image, shade(2), shade(3)])
    with pytest.raises(InputError, match=r"faces\.parquet: row 1"):
        opened(format="parquet", path=path).images.read(1)


def test_aligned_images_are_found_by_name(tmp_path: Path) -> None:
    path = parquet(tmp_path / "faces.parquet")
    draw(tmp_path / "aligned", [f"faces/00000{row}.jpg" for row in range(4)])
    faces = opened(format="parquet", path=path, images=tmp_path / "aligned", where={"split": "train"})
    assert (names(faces), shades(faces)) == (["faces/000000", "faces/000002"], [10, 30])


# --- the data folder ---


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "options", "count", "labels", "people"),
    [
        (
            "train/utkface_aligned.parquet",
            {"columns": {"age": "age", "gender": "gender"}, "where": {"split": "train"}},
            14017,
            {"age": 14017, "gender": 14017},
            0,
        ),
        (
            "train/lfw_grey_aligned.parquet",
            {
                "columns": {"name": "source_name", "identity": "person", "expression": "expression"},
                "values": {"expression": {"": "unknown", "contempt": "unknown"}},
            },
            10204,
            {"identity": 10204, "expression": 10165},
            4740,
        ),
        ("train/fer2013.parquet", {"columns": {"expression": "expression"}}, 32298, {"expression": 32298}, 0),
        (
            "train/congress_portraits.parquet",
            {"columns": {"identity": "person", "gender": "gender", "age": "approx_age"}},
            429,
            {"identity": 429, "gender": 429, "age": 429},
            293,
        ),
        ("stills/orl-40x10.parquet", {"columns": {"identity": "person"}}, 400, {"identity": 400}, 40),
    ],
)
def test_the_sets_of_the_data_folder_are_read(
    file: str, options: dict[str, Any], count: int, labels: dict[str, int], people: int, shared: Path
) -> None:
    faces = opened(format="parquet", path=shared / "data" / file, **options)
    assert (len(faces), len(faces.identities)) == (count, people)
    assert faces.labels.count() == labels
    assert impossible(faces) == []
    assert faces.images.read(count - 1).shape[2] == 3
