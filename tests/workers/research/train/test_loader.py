"""Batches: which face with which labels, whoever prepares them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceanalytics.errors import InputError
from tests.support.face_files import draw
from tests.support.training import configured, draw_people, draw_table, settings, stream
from workers.research.data.face_set import UNKNOWN
from workers.research.train.config import load_train_config
from workers.research.train.loader import Batch, batches
from workers.research.train.streams import TaskPlan, open_plan
from workers.swinface.labels import ATTRIBUTES, EMBEDDING

SLUGS = [task.slug for task in ATTRIBUTES]


def opened(folder: Path, **changes: Any) -> TaskPlan:
    return open_plan(load_train_config(configured(folder, **changes), {}))


def prepared(
    plan: TaskPlan, steps: int = 1, rank: int = 0, world: int = 1, loaders: int = 0, first: int = 0, seed: int = 5
) -> list[Batch]:
    slugs = tuple(slug for slug in plan.outputs if slug != EMBEDDING)
    places = {one.name: first * world * one.batch for one in plan.streams}
    found = batches(plan.streams, slugs, seed, range(first, first + steps), places, rank, world, loaders, False)
    return [batch for batch in found if isinstance(batch, Batch)]


def test_labels_of_each_kind_reach_their_task(tmp_path: Path) -> None:
    plan = opened(tmp_path)
    (batch,) = prepared(plan)
    assert batch.faces.shape == (16, 112, 112, 3)
    assert batch.targets.keys() == {*SLUGS, "age", "expression"}
    known = {
        slug: (target.isfinite() if slug == "age" else target != UNKNOWN) for slug, target in batch.targets.items()
    }
    rows = {slug: torch.nonzero(mask)[:, 0].tolist() for slug, mask in known.items()}
    assert rows["age"] == [4, 5, 6, 7]
    assert rows["expression"] == [12, 13, 14, 15]
    assert rows["gender"] == [4, 5, 6, 7, 8, 9, 10, 11]  # from the ages' own column, and from CelebA's attribute
    assert rows["bald"] == rows["young"] == [8, 9, 10, 11]
    assert torch.nonzero(batch.persons != UNKNOWN)[:, 0].tolist() == [0, 1, 2, 3]


def test_a_face_keeps_its_labels(tmp_path: Path) -> None:
    ages, genders, expressions = [3, 40, None, 88], [0, 1, 1, None], [6, 0, 3, 2]
    draw_table(tmp_path / "data" / "labelled.parquet", 4, age=ages, gender=genders, expression=expressions)
    table = {"format": "parquet", "path": str(tmp_path / "data" / "labelled.parquet")}
    columns = {"age": "age", "gender": "gender", "expression": "expression"}
    plan = opened(
        tmp_path, sets={"all": {**table, "columns": columns}},
        streams={"one": {**stream("age", "all", augment="none"), "learns": ["age", "gender", "expression"]}},
    )  # fmt: skip
    (batch,) = prepared(plan)
    images = [torch.from_numpy(plan.streams[0].sets[0].images.read(row)).float().mean() for row in range(4)]
    means = batch.faces.float().mean((1, 2, 3))
    order = [int((means - mean).abs().argmin()) for mean in images]
    assert sorted(order) == [0, 1, 2, 3]
    assert batch.targets["age"][order].nan_to_num(-1).tolist() == [3, 40, -1, 88]
    assert batch.targets["gender"][order].tolist() == [0, 1, 1, UNKNOWN]
    assert batch.targets["expression"][order].tolist() == expressions
    assert (batch.persons == UNKNOWN).all()


def test_people_of_several_sets_are_different_people(tmp_path: Path) -> None:
    draw(tmp_path / "data" / "one", ["anna/1.png", "ben/1.png"])  # shades 10 and 20
    draw(tmp_path / "data" / "two", ["anna/1.png", "carl/1.png", "dora/1.png", "dora/2.png"])
    both = {name: {"format": "folders", "path": str(tmp_path / "data" / name)} for name in ("one", "two")}
    plan = opened(tmp_path, sets=both, streams={"r": stream("identity", "one", "two", batch=6, augment="none")})
    assert plan.people == ("one/anna", "one/ben", "two/anna", "two/carl", "two/dora")
    (batch,) = prepared(plan)
    shades = batch.faces[:, 0, 0, 0].tolist()
    found = sorted(zip(shades, batch.persons.tolist(), strict=True))
    assert found == [(10, 0), (10, 2), (20, 1), (20, 3), (30, 4), (40, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("loaders", [1, 3])
def test_a_batch_is_the_same_whoever_prepares_it(tmp_path: Path, loaders: int) -> None:
    plan = opened(tmp_path)
    for alone, helped in zip(prepared(plan, 4), prepared(plan, 4, loaders=loaders), strict=True):
        assert torch.equal(alone.faces, helped.faces)
        assert torch.equal(alone.persons, helped.persons)
        assert all(torch.equal(target.nan_to_num(), helped.targets[slug].nan_to_num()) for slug, target in
                   alone.targets.items())  # fmt: skip


def test_a_batch_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    plan = opened(tmp_path)
    whole, later = prepared(plan, 6), prepared(plan, 2, first=4)
    assert [torch.equal(one.faces, other.faces) for one, other in zip(whole[4:], later, strict=True)] == [True, True]
    assert not torch.equal(whole[0].faces, prepared(plan, seed=6)[0].faces)


def test_two_processes_prepare_what_one_would(tmp_path: Path) -> None:
    small = opened(tmp_path / "a", streams={"r": stream("identity", "people", batch=3)})
    large = opened(tmp_path / "a", streams={"r": stream("identity", "people", batch=6)})
    pair = [prepared(small, 3, rank, 2) for rank in range(2)]
    for step, batch in enumerate(prepared(large, 3)):
        assert torch.equal(batch.faces, torch.cat([pair[0][step].faces, pair[1][step].faces]))
        assert torch.equal(batch.persons, torch.cat([pair[0][step].persons, pair[1][step].persons]))


def test_each_face_comes_once_in_an_epoch_and_is_changed_otherwise_in_the_next(tmp_path: Path) -> None:
    draw_table(tmp_path / "data" / "labelled.parquet", 8, age=list(range(10, 18)))
    table = {"format": "parquet", "path": str(tmp_path / "data" / "labelled.parquet"), "columns": {"age": "age"}}
    plan = opened(tmp_path, sets={"all": table}, streams={"one": stream("age", "all")})
    found = prepared(plan, 4)
    ages = [batch.targets["age"].tolist() for batch in found]
    assert sorted(ages[0] + ages[1]) == sorted(ages[2] + ages[3]) == list(range(10, 18))
    faces = torch.cat([batch.faces for batch in found])
    first, second = (np.argsort(ages[place] + ages[place + 1]) + 4 * place for place in (0, 2))
    same = [torch.equal(faces[one], faces[other]) for one, other in zip(first, second, strict=True)]
    assert sum(same) <= 4


def test_streams_without_changes_of_colour_stay_bytes(tmp_path: Path) -> None:
    plain = {"a": stream("identity", "people", augment="flip"), "b": stream("age", "ages", augment="none")}
    assert prepared(opened(tmp_path, streams=plain))[0].faces.dtype == torch.uint8
    mixed = {"a": stream("identity", "people", augment="flip"), "b": stream("age", "ages")}
    assert prepared(opened(tmp_path, streams=mixed))[0].faces.dtype == torch.float32


@pytest.mark.parametrize("loaders", [0, 2])
def test_a_image_that_cannot_be_read_is_named_in_place_of_its_batch(tmp_path: Path, loaders: int) -> None:
    people = draw_people(tmp_path / "people", 4, 2)
    (people / "person-002" / "1.png").write_bytes(b"\x89PNG broken")
    known = {**settings(tmp_path)["sets"], "people": {"format": "folders", "path": str(people)}}
    plan = opened(tmp_path, sets=known, streams={"r": stream("identity", "people")})
    places = {"r": 0}
    found = list(batches(plan.streams, (), 5, range(4), places, 0, 1, loaders, False))
    wrong = [str(one) for one in found if isinstance(one, InputError)]
    assert len(found) == 4  # two epochs of two batches
    assert len(wrong) == 2
    assert all("person-002/1.png: not an image" in message for message in wrong)


def test_shares_of_a_mix_hold_over_an_epoch(tmp_path: Path) -> None:
    draw(tmp_path / "data" / "one", [f"anna/{number}.png" for number in range(3)])
    draw(tmp_path / "data" / "two", [f"carl/{number}.png" for number in range(12)])
    both = {name: {"format": "folders", "path": str(tmp_path / "data" / name)} for name in ("one", "two")}
    mix = [{"sets": ["one"], "share": 0.5}, {"sets": ["two"], "share": 0.5}]
    plan = opened(
        tmp_path, sets=both, streams={"r": {**stream("identity", "one", batch=6, augment="none"), "mix": mix}}
    )
    persons = np.concatenate([batch.persons.numpy() for batch in prepared(plan, 4)])
    assert np.bincount(persons).tolist() == [12, 12]
