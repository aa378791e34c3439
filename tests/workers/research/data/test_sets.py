"""The configuration of sets, and the part of a set that it asks for."""

from pathlib import Path
from typing import Any

import pytest

from faceanalytics.errors import ConfigError, InputError
from tests.support.face_files import draw, names, opened, values, write
from workers.research.data.sets import load_sets, open_set


def people(root: Path, count: int = 40, images: int = 3) -> Path:
    """Folders p00, p01, ... of empty images: they are not read."""
    for person in range(count):
        for image in range(images):
            path = root / f"p{person:02d}" / f"{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


# --- load_sets ---


def test_sets_are_read_and_other_sections_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACES", "/data/faces")
    path = write(
        tmp_path / "train.yaml",
        "steps: {anything: [1, 2]}",
        "sets:",
        "  people: {format: folders, path: below/here, images: ~/aligned}",
        "  ages: {format: utkface, path: '${FACES}/utk', split: {part: train}}",
    )
    sets = load_sets(path)
    assert list(sets) == ["people", "ages"]
    assert sets["people"].path == tmp_path / "below" / "here"
    assert sets["people"].images == tmp_path / "home" / "aligned"
    assert sets["ages"].path == Path("/data/faces/utk")
    assert sets["ages"].split is not None
    assert sets["ages"].split.share == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sets: {a: {format: folders, path: x, image: y}}", "1 problem.*\n  sets.a.image: unknown key"),
        ("sets: {a: {format: folders}}", "sets.a.path: Field required"),
        ("sets: {folders: {format: folders}}", "sets.folders.path: Field required"),
        ("sets: {a: {format: celeba, path: x, parts: [all]}}", r"sets.a.parts.0: Input should be 'train'"),
        ("sets: {a: {format: utkface, path: x, split: {part: train, share: 1}}}", "sets.a.split.share: "),
        ("sets: {a: {format: jpeg, path: x}}", "sets.a: Input tag 'jpeg' found using 'format' does not match"),
        ("sets: {a: {path: x}}", "sets.a: Unable to extract tag using discriminator 'format'"),
        ("sets: {a: 5}", "sets.a: "),
        ("sets: {a b: {format: folders, path: x}}", "sets.a b: the name of a set may only have letters"),
        ("sets: {a: {format: folders}, b: {format: fgnet}}", "2 problem.*\n  sets.a.path: .*\n  sets.b.path: "),
        ("sets: {a: {format: folders, path: '${NOT_SET_AT_ALL}/x'}}", "variable NOT_SET_AT_ALL is not set"),
        ("sets: {a: {format: folders, path: x}, a: {format: fgnet, path: x}}", "'a' stands twice"),
        ("sets: [a]", "expected a section `sets:`"),
        ("steps: 5", "expected a section `sets:`"),
        ("", "expected a section `sets:`"),
        ("- a", "found list"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_path(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_sets(write(tmp_path / "a.yaml", text))
    assert str(tmp_path / "a.yaml") in str(caught.value)


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_sets(tmp_path / "none.yaml")


def test_a_loaded_set_is_opened(tmp_path: Path) -> None:
    draw(tmp_path / "faces", ["001A02.JPG"])
    path = write(tmp_path / "a.yaml", f"sets: {{old: {{format: fgnet, path: {tmp_path / 'faces'}}}}}")
    faces = open_set("old", load_sets(path)["old"])
    assert (faces.name, values(faces.labels.age)) == ("old", [2])


# --- split ---


def part(root: Path, part: str, **options: Any) -> Any:
    return opened(format="folders", path=root, split={"part": part, "share": 0.25, **options})


def test_the_two_parts_are_the_whole_and_no_one_is_in_both(tmp_path: Path) -> None:
    root = people(tmp_path)
    train, validation = part(root, "train"), part(root, "validation")
    assert sorted(names(train) + names(validation)) == names(opened(format="folders", path=root))
    assert not set(train.identities) & set(validation.identities)
    assert len(train.identities) + len(validation.identities) == 40
    assert 3 <= len(validation.identities) <= 17


def test_who_is_held_out_is_the_same_everywhere(tmp_path: Path) -> None:
    assert part(people(tmp_path, 12), "validation").identities == ("p02", "p03", "p10")
    assert part(people(tmp_path, 12), "validation", seed=1).identities == ("p03", "p04")


def test_who_is_held_out_does_not_depend_on_the_others(tmp_path: Path) -> None:
    few, many = people(tmp_path / "few", 12), people(tmp_path / "many", 40)
    of_the_first = {name for name in part(many, "validation").identities if int(name[1:]) < 12}
    assert set(part(few, "validation").identities) == of_the_first


def test_people_who_are_left_are_numbered_without_gaps(tmp_path: Path) -> None:
    train = part(people(tmp_path), "train")
    numbers = values(train.labels.identity)
    assert sorted(set(numbers)) == list(range(len(train.identities)))
    assert all(
        train.identities[number] == name.split("/")[0] for number, name in zip(numbers, names(train), strict=True)
    )


def test_images_may_be_held_out_instead_of_people(tmp_path: Path) -> None:
    root = people(tmp_path)
    train, validation = part(root, "train", by="image"), part(root, "validation", by="image")
    assert sorted(names(train) + names(validation)) == names(opened(format="folders", path=root))
    assert set(train.identities) & set(validation.identities)


def test_images_are_held_out_where_nobody_is_known(tmp_path: Path) -> None:
    draw(tmp_path, [f"{age}_0_0_1.jpg" for age in range(1, 25)])
    kept = {"part": "validation", "share": 0.5}
    held_out = names(opened(format="utkface", path=tmp_path, split=kept))
    assert 5 <= len(held_out) <= 19
    with pytest.raises(ConfigError, match=r"split\.by: this set has no identities"):
        opened(format="utkface", path=tmp_path, split=kept | {"by": "person"})


def test_the_split_does_not_depend_on_the_labels_used(tmp_path: Path) -> None:
    draw(tmp_path, [f"{person:03d}A{age:02d}.JPG" for person in range(20) for age in (1, 2)])
    split = {"part": "train", "share": 0.5}
    with_people = opened(format="fgnet", path=tmp_path, split=split)
    without = opened(format="fgnet", path=tmp_path, split=split, labels=["age"])
    assert names(without) == names(with_people)
    assert (without.labels.identity, without.identities) == (None, ())


# --- exclude, labels, images ---


def test_excluded_images_are_left_out(tmp_path: Path) -> None:
    root = people(tmp_path / "faces", 3, 1)
    exclude = write(tmp_path / "exclude.txt", "# not a face", "", "p01/0.jpg  # a dog")
    faces = opened(format="folders", path=root, exclude=exclude)
    assert names(faces) == ["p00/0.jpg", "p02/0.jpg"]
    assert (values(faces.labels.identity), faces.identities) == ([0, 1], ("p00", "p02"))


def test_an_excluded_name_that_is_not_in_the_set_is_an_error(tmp_path: Path) -> None:
    root = people(tmp_path / "faces", 3, 1)
    exclude = write(tmp_path / "exclude.txt", "p01/0.jpg", "p01/1.jpg", "p7")
    with pytest.raises(ConfigError) as caught:
        opened(format="folders", path=root, exclude=exclude)
    assert str(caught.value).endswith(f"2 names are not in the set\n  {exclude}:2: p01/1.jpg\n  {exclude}:3: p7")
    with pytest.raises(ConfigError, match=r"exclude: cannot read .*none\.txt"):
        opened(format="folders", path=root, exclude=tmp_path / "none.txt")


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    root = people(tmp_path / "faces", 1, 1)
    with pytest.raises(InputError, match="no face is left"):
        opened(format="folders", path=root, exclude=write(tmp_path / "exclude.txt", "p00/0.jpg"))


def test_only_labels_that_the_set_has_can_be_asked_for(tmp_path: Path) -> None:
    draw(tmp_path, ["26_0_2_20170116.jpg"])
    faces = opened(format="utkface", path=tmp_path, labels=["gender"])
    assert faces.labels.count() == {"gender": 1}
    with pytest.raises(ConfigError, match="labels: the set has no expression; it has age, gender"):
        opened(format="utkface", path=tmp_path, labels=["gender", "expression"])


def test_an_image_listed_twice_is_an_error_until_it_is_excluded(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "a.jpg;20;3", "b.jpg;30;3", "a.jpg;40;3")
    draw(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"1 images are listed more than once.*\n  a\.jpg: lines 1, 3"):
        opened(format="lap", path=table)
    faces = opened(format="lap", path=table, exclude=write(tmp_path / "exclude.txt", "a.jpg"))
    assert (names(faces), values(faces.lines)) == (["b.jpg"], [2])


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "sub/a.jpg;20;3")
    draw(tmp_path / "aligned", ["sub/a.jpg"])
    faces = opened(format="lap", path=table, images=tmp_path / "aligned")
    assert faces.images.read(0)[0, 0].tolist() == [10, 10, 10]
    with pytest.raises(InputError, match="no folder of images"):
        opened(format="lap", path=table, images=tmp_path / "none")


def test_a_repeated_key_of_a_worker_is_refused(tmp_path: Path) -> None:
    from workers.serve.config import load_config

    with pytest.raises(ConfigError, match="'device' stands twice"):
        load_config(write(tmp_path / "worker.yaml", "device: cpu", "device: cuda:0"), {})


# --- min_images ---


def test_people_with_few_images_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = people(people(tmp_path, count=5, images=2), count=2, images=4)
    faces = opened(format="folders", path=root, min_images=3)
    assert list(faces.identities) == ["p00", "p01"]
    assert faces.labels.identity is not None
    assert faces.labels.identity.tolist() == [0] * 4 + [1] * 4
    assert "6 of 14 faces are left out: 6 faces of 3 people with fewer than 3 images" in caplog.text


def test_excluded_images_do_not_count(tmp_path: Path) -> None:
    root = people(tmp_path / "people", count=2, images=3)
    exclude = write(tmp_path / "exclude.txt", "p01/0.jpg")
    faces = opened(format="folders", path=root, exclude=exclude, min_images=3)
    assert list(faces.identities) == ["p00"]


def test_a_set_that_knows_nobody_has_no_people_to_leave_out(tmp_path: Path) -> None:
    (tmp_path / "10_0_0_1.jpg").touch()
    with pytest.raises(ConfigError, match="min_images: this set has no identities"):
        opened(format="utkface", path=tmp_path, min_images=2)
