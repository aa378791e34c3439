"""Protocols from images and a network to numbers; the network of these tests answers with the colour it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceanalytics.errors import InputError, ModelError
from streamer.select.align import TEMPLATE
from workers.research.data.face_set import Bytes, FaceSet, Labels
from workers.research.evaluate.draw_pairs import Pairs
from workers.research.evaluate.faces import evaluate_faces, make_plan
from workers.research.evaluate.ijb import evaluate_ijb
from workers.research.evaluate.ijb_files import IjbFolder, read_faces
from workers.research.evaluate.ijb_images import IjbImages
from workers.research.evaluate.inference import InferenceOptions, infer, mirrored
from workers.research.evaluate.paper import PAPER, published
from workers.research.evaluate.verify import verify
from workers.swinface.labels import ATTRIBUTES

Floats = NDArray[np.float32]


def colour(crops: Bytes) -> dict[str, Floats]:
    """Age: red. Gender: is there more green than blue. Expression: red in steps of ten. Embedding: left half, right."""
    red, green, blue = crops.reshape(len(crops), -1, 3).mean(1).astype(np.float32).T
    steps = -np.abs(red[:, None] / 10 - np.arange(7, dtype=np.float32))
    found = {task.slug: np.stack([green, red], 1) for task in ATTRIBUTES}
    halves = np.concatenate([crops[:, 40:70, 40:56].mean((1, 2)), crops[:, 40:70, 56:72].mean((1, 2))], 1) - 100
    return found | {
        "age": red[:, None],
        "gender": np.stack([blue, green], 1),
        "expression": steps,
        "recognition": halves.astype(np.float32),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Images of one colour each; None: one that cannot be read."""

    colours: Sequence[tuple[int, int, int] | None]

    def __len__(self) -> int:
        return len(self.colours)

    def read(self, index: int) -> Bytes:
        found = self.colours[index]
        if found is None:
            raise InputError(f"{index}.png: not an image")
        return np.full((112, 112, 3), found, np.uint8)

    def name(self, index: int) -> str:
        return f"{index}.png"


def faces(colours: Sequence[tuple[int, int, int] | None], labels: Labels, persons: int = 0) -> FaceSet:
    return FaceSet("drawn", Drawn(colours), labels, [str(person) for person in range(persons)])


def test_images_are_shown_whole_whatever_their_size() -> None:
    seen: list[Bytes] = []

    class Wide(Drawn):
        def read(self, index: int) -> Bytes:
            return np.repeat(np.kron(np.array([[[0], [200]]], np.uint8), np.ones((70, 300, 1), np.uint8)), 3, 2)

    def network(crops: Bytes) -> dict[str, Floats]:
        seen.append(crops)
        return {"age": np.zeros((len(crops), 1), np.float32)}

    infer(Wide([(0, 0, 0)]), network)
    assert seen[0].shape == (1, 112, 112, 3)
    assert (seen[0][0, :, :52] == 0).all()
    assert (seen[0][0, :, 60:] == 200).all()


def test_mirroring_exchanges_columns() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    assert (mirrored(crops)[1, 5, 0] == crops[1, 5, 111]).all()


@pytest.mark.parametrize("readers", [1, 4])
def test_every_image_is_looked_at_once_in_order_whatever_the_batch(readers: int) -> None:
    drawn = Drawn([(number, 0, 0) for number in range(50)])
    sizes: list[int] = []

    def network(crops: Bytes) -> dict[str, Floats]:
        sizes.append(len(crops))
        return {"age": colour(crops)["age"]}

    seen = infer(drawn, network, InferenceOptions(batch=8, readers=readers))
    assert seen.outputs["age"][:, 0].tolist() == list(range(50))
    assert sizes == [8] * 6 + [2]
    assert seen.digest == infer(drawn, colour).digest
    assert seen.digest != infer(Drawn(drawn.colours[::-1]), colour).digest


def test_the_embedding_is_of_the_image_and_its_mirror_image() -> None:
    image: Bytes = np.zeros((1, 112, 112, 3), np.uint8)
    image[:, :, :56] = 200
    left, right = colour(image)["recognition"][0, 0], colour(image)["recognition"][0, 3]

    class Half(Drawn):
        def read(self, index: int) -> Bytes:
            return np.asarray(image[0])

    seen = infer(Half([(0, 0, 0)]), colour)
    assert (left, right) == (100, -100)
    assert seen.outputs["recognition"].tolist() == [[0] * 6]


def test_unreadable_images_are_all_named_and_the_network_stops() -> None:
    drawn = Drawn([(1, 1, 1), None, *[(2, 2, 2)] * 40, None])
    seen: list[int] = []

    def network(crops: Bytes) -> dict[str, Floats]:
        seen.append(len(crops))
        return colour(crops)

    with pytest.raises(InputError, match=r"2 of 43 images .*--skip-unreadable.*\n  1\.png: not.*\n  42\.png: not"):
        infer(drawn, network, InferenceOptions(batch=4))
    assert sum(seen) <= 2  # the one before, and its mirror image


def test_unreadable_images_are_left_out_if_that_is_asked_for() -> None:
    seen = infer(Drawn([(1, 1, 1), None, (3, 3, 3)]), colour, InferenceOptions(skip_unreadable=True))
    assert seen.rows.tolist() == [0, 2]
    assert seen.outputs["age"][:, 0].tolist() == [1, 3]
    assert seen.unreadable == ("1.png: not an image",)
    with pytest.raises(InputError, match="2 of 2 images"):
        infer(Drawn([None, None]), colour, InferenceOptions(skip_unreadable=True))


def test_numbers_that_are_not_finite_are_not_judged() -> None:
    with pytest.raises(ModelError, match="the output age is not finite"):
        infer(Drawn([(1, 1, 1)]), lambda crops: {"age": np.full((len(crops), 1), np.nan, np.float32)})


def pairs_of_colours(count: int) -> tuple[list[tuple[int, int, int] | None], Pairs]:
    """Person n has a colour of its own; pairs 2n are of one person, 2n + 1 of two."""
    random = np.random.default_rng(0)
    shades = random.integers(0, 256, (count, 3))
    shades[:, 0] = np.linspace(0, 255, count)
    row = np.arange(count)
    first, second = np.repeat(row, 2), np.stack([row + count, (row + count // 2) % count], 1).ravel()
    same = np.tile([True, False], count)
    colours = [tuple(int(value) for value in shade) for shade in (*shades, *shades)]
    return [(r, g, b) for r, g, b in colours], Pairs(first, second, same, np.repeat(np.arange(10), count // 5))


def test_pairs_are_verified_by_their_distances() -> None:
    colours, pairs = pairs_of_colours(50)
    result = verify(Drawn(colours), pairs, colour)
    assert result.metrics["accuracy_percent"] > 95
    assert result.metrics["val_at_far_1e-03_percent"] == 100
    assert result.counts == {"faces": 100, "pairs": 100, "pairs_of_one_person": 50}
    assert len(result.details["fold_accuracies_percent"]) == 10
    assert result.data == verify(Drawn(colours), pairs, colour, InferenceOptions(batch=7, readers=4)).data


def test_pairs_with_an_unreadable_image_are_left_out_and_counted() -> None:
    colours, pairs = pairs_of_colours(50)
    colours[3] = None
    result = verify(Drawn(colours), pairs, colour, InferenceOptions(skip_unreadable=True))
    missing = int(((pairs.first == 3) | (pairs.second == 3)).sum())
    assert (result.counts["pairs"], result.counts["pairs_left_out"]) == (100 - missing, missing)
    assert result.unreadable == ("3.png: not an image",)


def test_every_label_of_a_set_is_judged_by_its_output() -> None:
    attributes = np.full((4, 40), -1, np.int8)
    attributes[:, 0] = [1, 1, 0, -1]  # red beats green: 1 1 0
    attributes[:, 3] = [0, 0, 0, 0]
    labels = Labels(
        age=np.array([20, 36, 41, np.nan], np.float32),
        age_spread=np.array([1, 6, np.nan, 3], np.float32),
        gender=np.array([1, 0, -1, 1]),
        attributes=attributes,
        expression=np.array([2, 3, 4, 4]),
    )
    planned = make_plan(faces([(20, 10, 0), (30, 0, 5), (40, 60, 0), (42, 0, 9)], labels), "faces")
    result = evaluate_faces(planned, colour)
    assert planned.absent == ("identity: the set has no such labels",)
    assert "recognition" not in planned.heads
    for name, value in {
        "mae_years": 7 / 3,
        "cs5_percent": 200 / 3,
        "epsilon_error": 1 - (1 + np.exp(-0.5)) / 2,
        "gender_accuracy_percent": 200 / 3,
        "gender_mean_class_percent": 75,
        "attribute_attractive_percent": 100,
        "attribute_heavy_makeup_percent": 25,
        "attributes_mean_percent": 62.5,
        "expression_accuracy_percent": 100,
    }.items():
        assert result.metrics[name] == pytest.approx(value), name
    assert result.counts["faces"] == 4
    assert (result.counts["faces_with_age"], result.counts["faces_with_gender"]) == (3, 3)
    assert any("surprise, fear, anger, neutral: no face" in line for line in result.absent)
    assert any(line.startswith("attributes blurry, chubby") for line in result.absent)


def test_protocols_look_only_at_faces_and_heads_that_they_need() -> None:
    labels = Labels(age=np.array([1, 2, 3], np.float32), expression=np.array([0, -1, 1]))
    planned = make_plan(faces([(0, 0, 0), (9, 9, 9), (10, 0, 0)], labels), "raf-db")
    assert (planned.heads, len(planned.faces), planned.kinds) == (("expression",), 2, ("expression",))
    result = evaluate_faces(planned, colour)
    assert result.metrics["expression_accuracy_percent"] == 100
    assert "mae_years" not in result.metrics


def test_what_the_weights_have_no_head_for_is_said_and_not_computed() -> None:
    labels = Labels(age=np.array([10, 20], np.float32), gender=np.array([0, 1]), attributes=np.zeros((2, 40), np.int8))
    drawn = faces([(10, 0, 0), (20, 0, 0)], labels)
    planned = make_plan(drawn, "faces", ("age", "attractive"))
    assert planned.heads == ("age", "attractive")
    result = evaluate_faces(planned, colour)
    assert "gender: the weights have no head gender" in result.absent
    assert any(line.startswith("attributes: the weights have no head blurry, chubby") for line in result.absent)
    with pytest.raises(ModelError, match=r"clap2015 cannot be measured .* no head age"):
        make_plan(drawn, "clap2015", ("gender",))


def test_a_set_without_the_labels_of_a_protocol_is_an_error() -> None:
    with pytest.raises(InputError, match="drawn has no labels of expression, which raf-db needs"):
        make_plan(faces([(0, 0, 0)], Labels(age=np.array([1], np.float32))), "raf-db")


def test_labels_that_cannot_be_true_are_an_error() -> None:
    with pytest.raises(InputError, match=r"1 labels of drawn cannot be true:\n  drawn: 1\.png: age 130\.0"):
        make_plan(faces([(0, 0, 0)] * 2, Labels(age=np.array([1, 130], np.float32))), "faces")


def test_persons_are_verified_and_searched_for() -> None:
    random = np.random.default_rng(1)
    shades = random.integers(0, 256, (30, 3))
    colours = [(int(r), int(g), int(b)) for r, g, b in np.repeat(shades, 3, 0)]
    labels = Labels(identity=np.repeat(np.arange(30), 3))
    result = evaluate_faces(make_plan(faces(colours, labels, 30), "faces"), colour)
    assert result.metrics["rank1_percent"] > 85  # some colours point the same way
    assert result.metrics["verification_accuracy_percent"] > 85
    assert (result.counts["persons"], result.counts["probes"]) == (30, 60)
    assert result.counts["verification_pairs"] == 180


def test_too_few_persons_are_said_to_be_too_few() -> None:
    labels = Labels(identity=np.array([0, 0, 1]))
    result = evaluate_faces(make_plan(faces([(9, 0, 0), (9, 0, 0), (0, 9, 0)], labels, 2), "faces"), colour)
    assert any(line.startswith("verification: 10 folds need") for line in result.absent)
    assert "rank1_percent" in result.metrics


def test_fg_net_is_judged_over_persons_and_with_a_line_from_the_others() -> None:
    age = np.array([10, 20, 30, 40, 50, 60], np.float32)
    labels = Labels(age=age, identity=np.array([0, 0, 0, 0, 1, 1]))
    drawn = faces([(int(2 * years + 5), 0, 0) for years in age], labels, 2)
    result = evaluate_faces(make_plan(drawn, "fg-net"), colour, leave_one_out=True)
    errors = age + 5
    assert result.metrics["mae_years"] == pytest.approx(errors.mean())
    assert result.metrics["mae_over_persons_years"] == pytest.approx((errors[:4].mean() + errors[4:].mean()) / 2)
    assert result.metrics["left_out_mae_years"] == pytest.approx(0, abs=1e-4)
    assert result.metrics["left_out_cs5_percent"] == 100
    assert "left_out_mae_years" not in evaluate_faces(make_plan(drawn, "fg-net"), colour).metrics


def test_leaving_persons_out_needs_persons() -> None:
    drawn = faces([(1, 0, 0)], Labels(age=np.array([1], np.float32)))
    with pytest.raises(InputError, match="has identities of fewer than two persons"):
        evaluate_faces(make_plan(drawn, "fg-net"), colour, leave_one_out=True)


def test_the_data_hash_changes_with_labels_that_are_used_and_with_no_others() -> None:
    def digest(age: float, gender: int) -> str:
        labels = Labels(age=np.array([age], np.float32), gender=np.array([gender]))
        return evaluate_faces(make_plan(faces([(1, 0, 0)], labels), "clap2015"), colour).data

    assert digest(3, 0) == digest(3, 1)
    assert digest(3, 0) != digest(4, 0)


SHADES = {1: (220, 40, 40), 2: (40, 220, 40), 3: (40, 40, 220), 4: (220, 220, 40)}  # subject -> RGB


def paint(path: Path, shade: tuple[int, int, int], seed: int) -> str:
    """An image of a face of that colour somewhere in it; what the list says of it."""
    random = np.random.default_rng(seed)
    points = TEMPLATE * 1.5 + random.uniform(20, 40, 2)
    image = np.zeros((260, 260, 3), np.uint8)
    (left, top), (right, bottom) = points.min(0).astype(int) - 60, points.max(0).astype(int) + 60
    cv2.rectangle(image, (left, top), (right, bottom), shade[::-1], -1)
    assert cv2.imwrite(str(path), image)
    return " ".join([path.name, *(f"{value:.3f}" for value in points.ravel()), f"{random.uniform(0.5, 1):.3f}"])


def ijb_folder(root: Path) -> IjbFolder:
    """Each of four subjects has a gallery template (number 10 s) and a probe (10 s + 1) of three images each."""
    (root / "loose_crop").mkdir(parents=True)
    (root / "meta").mkdir()
    media, points, number = [], [], 0
    for subject, shade in SHADES.items():
        for template in (10 * subject, 10 * subject + 1):
            for medium in (1, 2, 2):
                number += 1
                points.append(paint(root / "loose_crop" / f"{number}.png", shade, number))
                media.append(f"{number}.png {template} {medium}")
    pairs = [f"{10 * a} {10 * b + 1} {int(a == b)}" for a in SHADES for b in SHADES]
    heading = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    files = {
        "face_tid_mid.txt": media,
        "name_5pts_score.txt": points,
        "template_pair_label.txt": pairs,
        "1N_gallery_G1.csv": [heading, "10,1,a", "20,2,b"],
        "1N_gallery_G2.csv": [heading, "30,3,c", "40,4,d"],
        "1N_probe_mixed.csv": [heading, *(f"{10 * s + 1},{s},x" for s in SHADES for _ in range(3))],
    }
    for name, lines in files.items():
        (root / "meta" / f"ijbc_{name}").write_text("\n".join(lines) + "\n")
    return IjbFolder(root, "ijbc")


def test_ijb_compares_and_searches_templates(tmp_path: Path) -> None:
    result = evaluate_ijb(ijb_folder(tmp_path), colour, options=InferenceOptions(batch=5))
    assert {value for name, value in result.metrics.items() if name.startswith("tar_at_far")} == {100}
    names = ("rank1_percent", "rank5_percent", "tpir_at_fpir_0.01_percent", "tpir_at_fpir_0.1_percent")
    assert [result.metrics[name] for name in names] == [100] * 4
    assert result.counts == {
        "faces": 24, "templates": 8, "pairs": 16, "pairs_of_one_person": 4, "probes": 4, "gallery_templates": 4,
    }  # fmt: skip
    assert [gallery["other_probes"] for gallery in result.details["galleries"]] == [2, 2]


def test_ijb_faces_are_aligned_as_rgb(tmp_path: Path) -> None:
    folder = ijb_folder(tmp_path)
    crop = IjbImages(folder, read_faces(folder)).read(0)
    assert crop.shape == (112, 112, 3)
    assert crop[56, 56].tolist() == list(SHADES[1])


def test_a_task_that_was_not_asked_for_needs_no_files(tmp_path: Path) -> None:
    folder = ijb_folder(tmp_path)
    folder.probes.unlink()
    result = evaluate_ijb(folder, colour, ("1:1",))
    assert result.absent == ("task 1:N: not requested",)
    assert not any(name.startswith("rank") for name in result.metrics)
    with pytest.raises(InputError, match=r"ijbc_1N_probe_mixed\.csv"):
        evaluate_ijb(folder, colour)


def test_ijb_lists_are_checked_before_the_first_image(tmp_path: Path) -> None:
    folder = ijb_folder(tmp_path)
    folder.pairs.write_text("10 11 1\n10 999 0\n")
    with pytest.raises(InputError, match=r"ijbc_template_pair_label\.txt: 1 templates have no image, such as 999"):
        evaluate_ijb(folder, lambda crops: pytest.fail("the network was asked"))


def test_a_template_of_unreadable_images_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = ijb_folder(tmp_path)
    for number in (22, 23, 24, 1):  # all of template 41, and one of template 10
        (folder.images / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="4 of 24 images could not be read"):
        evaluate_ijb(folder, colour)
    result = evaluate_ijb(folder, colour, options=InferenceOptions(skip_unreadable=True))
    assert len(result.unreadable) == 4
    counts = {name: result.counts[name] for name in ("templates_left_out", "pairs_left_out", "pairs", "probes")}
    assert counts == {"templates_left_out": 1, "pairs_left_out": 4, "pairs": 12, "probes": 3}


def test_landmarks_at_one_place_are_named_by_their_line(tmp_path: Path) -> None:
    folder = ijb_folder(tmp_path)
    lines = folder.faces.read_text().splitlines()
    lines[2] = "3.png " + "50 " * 10 + "0.9"
    folder.faces.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"name_5pts_score\.txt:3: 3\.png: the landmarks coincide"):
        evaluate_ijb(folder, colour)


def test_the_paper_gives_an_accuracy_for_each_attribute_and_their_mean() -> None:
    said = published("celeba")
    values = [said[f"attribute_{task.slug}_percent"] for task in ATTRIBUTES]
    assert len(values) == 40
    assert np.mean(values) == pytest.approx(said["attributes_mean_percent"], abs=0.01)
    assert said["attribute_gender_percent"] == 98.96
    assert said["attribute_big_lips_percent"] == 71.26
    assert (published("clap2015", "test")["epsilon_error"], published("fg-net")) == (0.22, {})


def test_the_papers_numbers_bear_the_names_of_what_is_measured(tmp_path: Path) -> None:
    colours, pairs = pairs_of_colours(50)
    measured = {name: set(verify(Drawn(colours), pairs, colour).metrics) for name in ("lfw", "cfp_fp", "cplfw")}
    measured["ijbc"] = set(evaluate_ijb(ijb_folder(tmp_path), colour).metrics)
    labels = Labels(
        age=np.array([1, 2], np.float32), age_spread=np.array([1, 2], np.float32), expression=np.array([0, 1]),
        attributes=np.zeros((2, 40), np.int8),
    )  # fmt: skip
    for protocol, name in (("raf-db", "raf-db"), ("clap2015", "clap2015 test"), ("celeba", "celeba")):
        measured[name] = set(evaluate_faces(make_plan(faces([(1, 2, 3)] * 2, labels), protocol), colour).metrics)
    for name, metrics in measured.items():
        assert set(PAPER[name]) <= metrics
