"""Labels find free space: never over a face or another label, and without jumping between frames."""

import random

import pytest

from streamer.recorded.placing import STEADY_S, TEXTS, LabelPlacer, Place, Rect, Wanted

SIZE = (640, 360)
SIZES = ((80.0, 14.0), (40.0, 14.0), (20.0, 14.0))


def wanted(key: str, left: float, top: float, width: float = 60, height: float = 80) -> Wanted:
    return Wanted(key, Rect(left, top, left + width, top + height), SIZES)


def place(*faces: Wanted, taken: tuple[Rect, ...] = (), size: tuple[int, int] = SIZE) -> list[Place | None]:
    return LabelPlacer(*size).place(0.0, faces, taken)


def overlap(one: Rect, other: Rect) -> bool:
    return max(one.left, other.left) < min(one.right, other.right) and max(one.top, other.top) < min(
        one.bottom, other.bottom
    )


def test_a_lone_face_has_its_full_label_above_it() -> None:
    (found,) = place(wanted("a", 200, 100))
    assert found == Place(Rect(200, 84, 280, 98), 0, None)


@pytest.mark.parametrize(
    ("left", "top", "side"),
    [(200, 5, "below"), (575, 100, "above"), (0, 0, "below"), (570, 275, "above"), (300, 276, "above")],
)
def test_at_the_border_the_label_stays_in_the_picture(left: float, top: float, side: str) -> None:
    (found,) = place(wanted("a", left, top))
    assert found is not None
    assert found.text == 0
    assert found.rect.left >= 0
    assert found.rect.right <= SIZE[0]
    assert (found.rect.bottom <= top) if side == "above" else (found.rect.top >= top + 80)


def test_a_face_as_high_as_the_picture_has_its_label_beside_it() -> None:
    (found,) = place(wanted("a", 200, 0, 100, 360))
    assert found is not None
    assert found.rect.left >= 300


def test_a_face_that_fills_the_picture_has_a_short_label_inside_its_box() -> None:
    (found,) = place(wanted("a", 0, 0, 640, 360))
    assert found is not None
    assert (found.text, found.leader) == (TEXTS - 1, None)
    assert found.rect.bottom < 0.15 * 360


def test_where_the_full_label_does_not_fit_a_shorter_one_does() -> None:
    around = (Rect(0, 0, 640, 90), Rect(0, 190, 640, 360), Rect(0, 90, 155, 190), Rect(305, 90, 640, 190))
    (found,) = place(wanted("a", 200, 100), taken=around)
    assert found is not None
    assert found.text == 1


def test_a_face_in_a_dense_crowd_has_its_number_at_a_line() -> None:
    around = [wanted(f"{x} {y}", 200 + 61 * x, 100 + 81 * y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    found = dict(zip([one.key for one in around], place(*around), strict=True))
    middle = found["0 0"]
    assert middle is None or middle.leader is None or middle.text == TEXTS - 1
    assert all(found[key] is not None for key in found if key != "0 0")


def test_a_line_leads_from_a_distant_label_to_its_face() -> None:
    around = (Rect(150, 60, 320, 98), Rect(150, 182, 320, 220), Rect(150, 98, 198, 182), Rect(262, 98, 320, 145))
    (found,) = place(wanted("a", 200, 100), taken=(*around, Rect(284, 145, 320, 182)))
    assert found is None or found.text == TEXTS - 1
    if found is not None and found.leader is not None:
        assert 199 <= found.leader[1][0] <= 261


def test_no_label_ever_covers_a_face_or_another_label() -> None:
    chance = random.Random(7)
    for _ in range(300):
        faces = []
        for number in range(chance.randint(1, 14)):
            width = chance.uniform(8, 160)
            left, top = chance.uniform(-20, SIZE[0] - 20), chance.uniform(-20, SIZE[1] - 20)
            faces.append(wanted(str(number), left, top, width, 1.3 * width))
        others = tuple(Rect(x, y, x + 50, y + 60) for x, y in [(chance.uniform(0, 600), chance.uniform(0, 300))])
        found = place(*faces, taken=others)
        placed = [(face, each) for face, each in zip(faces, found, strict=True) if each is not None]
        for face, each in placed:
            assert Rect(0, 0, *SIZE).left <= each.rect.left
            assert each.rect.right <= SIZE[0]
            assert each.rect.top >= 0
            assert each.rect.bottom <= SIZE[1]
            assert not any(overlap(each.rect, other) for other in others)
            for another in faces:
                own = another is face and each.rect.bottom - each.rect.top <= 0.15 * (face.box.bottom - face.box.top)
                assert own or not overlap(each.rect, another.box)
            assert not any(overlap(each.rect, other.rect) for _, other in placed if other is not each)


def test_a_label_keeps_its_place_while_that_is_free() -> None:
    placer = LabelPlacer(*SIZE)
    blocker = Rect(190, 70, 300, 99)
    places = [placer.place(0.0, [wanted("a", 200, 100)], [blocker])[0]]
    places += [placer.place(0.04 * step, [wanted("a", 200 + step, 100)], [blocker])[0] for step in range(1, 10)]
    assert {each.rect.top for each in places if each is not None} == {182}  # below, and it moves along
    after = [placer.place(0.4 + 0.04 * step, [wanted("a", 210, 100)], [])[0] for step in range(50)]
    assert {each.rect.top for each in after if each is not None} == {182}  # not worse than above


def test_a_label_grows_again_after_its_room_has_been_free_for_a_while() -> None:
    placer, face = LabelPlacer(*SIZE), wanted("a", 200, 100)
    around = (Rect(0, 0, 640, 90), Rect(0, 190, 640, 360), Rect(0, 90, 155, 190), Rect(305, 90, 640, 190))
    first = placer.place(0.0, [face], around)[0]
    assert first is not None
    assert first.text == 1
    texts = []
    for step in range(1, 40):
        found = placer.place(0.04 * step, [face], [])[0]
        assert found is not None
        texts.append((0.04 * step, found.text))
    assert [text for time, text in texts if time < STEADY_S] == [1] * 12
    assert texts[-1][1] == 0


def test_the_oldest_label_keeps_its_place_when_another_face_comes() -> None:
    placer = LabelPlacer(*SIZE)
    first = placer.place(0.0, [wanted("b", 200, 100)], [])[0]
    later = placer.place(0.04, [wanted("a", 280, 60, 90, 110), wanted("b", 200, 100)], [])
    assert later[1] == first
