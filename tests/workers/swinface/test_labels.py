"""The one table of tasks, against the protocol and against what is published."""

from faceanalytics.v1 import faces_pb2
from workers.swinface.labels import (
    AFFECTNET_TO_EXPRESSION,
    ATTRIBUTES,
    CELEBA_COLUMNS,
    EXPRESSIONS,
    OUTPUTS,
    SUBNETS,
    TASKS,
)

HEADING = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male
Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks
Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace
Wearing_Necktie Young
"""
CELEBA = HEADING.split()  # of list_attr_celeba


def test_the_expressions_are_the_protocols_in_the_same_order() -> None:
    names = [f"EXPRESSION_{name.upper()}" for name in EXPRESSIONS]
    assert names == faces_pb2.Expression.keys()[1:]
    assert faces_pb2.Expression.values() == list(range(len(EXPRESSIONS) + 1))


def test_the_attributes_are_the_protocols_in_the_same_order() -> None:
    names = [f"ATTRIBUTE_{task.score.upper()}" for task in ATTRIBUTES]
    assert names == faces_pb2.Attribute.keys()[1:]
    assert faces_pb2.Attribute.values() == list(range(len(ATTRIBUTES) + 1))


def test_there_are_42_tasks_in_eleven_subnets_and_each_has_a_head_of_its_own() -> None:
    assert len(TASKS) == 42
    assert sorted(task.head for task in TASKS) == list(range(42))
    assert {task.subnet for task in TASKS} == set(range(SUBNETS))
    assert sum(task.width for task in TASKS) == 88
    assert len(set(OUTPUTS)) == 43


def test_the_heads_of_a_subnet_follow_each_other_in_the_checkpoint() -> None:
    in_head_order = sorted(TASKS, key=lambda task: task.head)
    subnets = [task.subnet for task in in_head_order]
    assert subnets == sorted(subnets)


def test_slugs_are_lower_case_words_without_apostrophes() -> None:
    assert TASKS[31].slug == "five_oclock_shadow"
    assert all(slug.replace("_", "").isalpha() and slug.islower() for slug in OUTPUTS)


def test_each_attribute_points_at_its_own_column_of_celeba() -> None:
    named_otherwise = {"gender": "male", "five_oclock_shadow": "5_o_clock_shadow"}
    expected = [named_otherwise.get(task.slug, task.slug) for task in ATTRIBUTES]
    assert [CELEBA[column].lower() for column in CELEBA_COLUMNS] == expected
    assert len(CELEBA_COLUMNS) == 40


def test_affectnet_classes_map_to_ours() -> None:
    affectnet = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
    assert tuple(EXPRESSIONS[place] for place in AFFECTNET_TO_EXPRESSION) == affectnet
