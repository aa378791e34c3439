"""Paste one labelled face into a scene: cut out, rotated, scaled, relit, and sometimes partly covered."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from streamer.boxes import covered
from streamer.values import Bytes, Floats
from workers.research.detector.config import Scenes, Source
from workers.research.detector.degrade import blurred, grey, relit
from workers.research.detector.geometry import (
    Numbers,
    Scene,
    mirrored,
    moved,
    moved_boxes,
    similarity,
    visible,
)
from workers.research.detector.heads import Pose, head
from workers.research.detector.labels import Labelled

LARGEST_ENLARGEMENT = 3.0  # factor by which a face is enlarged at most
MOST_COVERED = 0.3  # share of a face that later ones may cover
AROUND = (0.25, 1.2)  # surroundings cut out on each side of a face, in widths of the face: drawn from this range
AROUND_IN_CROWD = (0.15, 0.5)  # the same in a crowd


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A face cut out with some surroundings."""

    face: Scene  # one face
    mask: Bytes  # (h, w) opacity of each pixel, 0..255


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Place and size of a face in a crowd."""

    centre: Numbers  # (2,) x y, px
    width: float  # px


def add_face(
    scene: Scene,
    source: Source,
    item: Labelled,
    donor: Labelled | None,
    options: Scenes,
    draw: Generator,
    placement: Placement | None = None,
) -> Scene:
    """Return the scene with a face of `item` added, at `placement` or anywhere; unchanged if there is no room for it.

    `donor`: the face whose eyes, nose and mouth replace its own; None keeps them.
    """
    row = int(draw.integers(len(item.boxes)))
    native = float(item.boxes[row, 2] - item.boxes[row, 0])
    most = min(options.face_px[1], source.largest or np.inf, native * LARGEST_ENLARGEMENT)
    width = placement.width if placement else _drawn_width(most, options, draw)
    around = AROUND_IN_CROWD if placement else AROUND
    return _added(scene, _cut(item, row, source, donor, width / native, around, draw), width, draw, placement)


def add_head(
    scene: Scene, pose: Pose, donor: Labelled, options: Scenes, draw: Generator, placement: Placement | None = None
) -> Scene:
    """Return the scene with the donor's face on a turned head added; unchanged if there is no room for it."""
    face, mask = head(pose, donor, draw)
    native = float(face.boxes[0, 2] - face.boxes[0, 0])
    width = placement.width if placement else _drawn_width(native * LARGEST_ENLARGEMENT, options, draw)
    if width < native * 0.8:
        side = max(4, round(mask.shape[0] * width / native * 1.2))
        shrink = np.float32(side / mask.shape[0])
        image, mask = (
            np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
            for part in (face.image, mask)
        )
        face = Scene(image, face.boxes * shrink, face.landmarks * shrink)
    return _added(scene, Cutout(face, mask), width, draw, placement)


def _drawn_width(most: float, options: Scenes, draw: Generator) -> float:
    """Draw the width of a face in pixels, log-uniform from the smallest of `options` to `most`."""
    least = options.face_px[0]
    return float(np.exp(draw.uniform(np.log(least), np.log(max(most, least * 1.1)))))


def _added(scene: Scene, cutout: Cutout, width: float, draw: Generator, placement: Placement | None) -> Scene:
    """Return the scene with a cutout whose face is `width` pixels wide; unchanged if there is no room for it."""
    if draw.random() < 0.5:
        cutout = _mirrored(cutout)
    box = cutout.face.boxes[0]
    for _ in range(1 if placement else 5):
        matrix = _placing(box, width / float(box[2] - box[0]), scene.image.shape, draw, placement)
        new = moved_boxes(box[None], matrix)
        height, wide = scene.image.shape[:2]
        extent = _extent(cutout.mask, matrix)
        if visible(new, wide, height)[0] < 0.6 or covered(scene.boxes, extent[None]).max(initial=0) > MOST_COVERED:
            continue
        image = _blended(scene.image, cutout, matrix, draw)
        landmarks = moved(cutout.face.landmarks, matrix)
        if draw.random() < 0.14:
            image = _occluded(image, new[0], landmarks[0], draw)
        return Scene(image, np.concatenate([scene.boxes, new]), np.concatenate([scene.landmarks, landmarks]))
    return scene


def add_patch(scene: Scene, patch: Bytes, draw: Generator) -> Scene:
    """Return the scene with a patch that shows no face; unchanged if it would cover one.

    It is blended in as faces are, so that the network does not take the border of a cutout for a face.
    """
    height, width = patch.shape[:2]
    size = float(np.exp(draw.uniform(np.log(10), np.log(scene.image.shape[1] * 0.6))))
    if size < width * 0.5:
        patch = np.asarray(cv2.resize(patch, (max(8, int(size * 1.5)),) * 2, interpolation=cv2.INTER_AREA), np.uint8)
        height, width = patch.shape[:2]
    mask = _ellipse((height, width), np.array([width * 0.15, height * 0.05, width * 0.85, height * 0.95]), draw)
    box = np.array([width * 0.15, height * 0.05, width * 0.85, height * 0.95], np.float32)
    matrix = _placing(box, size / float(box[2] - box[0]), scene.image.shape, draw)
    whole = moved_boxes(np.array([[0, 0, width, height]], np.float32), matrix)[0]
    if covered(scene.boxes, whole[None]).max(initial=0) > 0.1:
        return scene
    nothing = Scene(patch, np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32))
    return replace(scene, image=_blended(scene.image, Cutout(nothing, mask), matrix, draw))


def swapped(face: Scene, row: int, donor: Labelled) -> Scene:
    """Replace eyes, nose and mouth of the face `row` by a donor's, and its landmarks with them.

    The donor is fitted by the affine map that is best for the landmarks (least squares), and takes over most of the
    face's mean colour. The scene is returned unchanged if their views differ too much or the face is too small.
    """
    given, height, width = donor.decoded(), *face.image.shape[:2]
    ones = np.concatenate([donor.landmarks[0], np.ones((5, 1), np.float32)], axis=1)
    matrix = np.linalg.lstsq(ones, face.landmarks[row], rcond=None)[0].T.astype(np.float32)
    relative_size = (
        np.sqrt(max(0.0, float(np.linalg.det(matrix[:, :2]))))
        / _spread(face.landmarks[row])
        * _spread(donor.landmarks[0])
    )
    if not 0.5 < relative_size < 1.5:  # one of the two is seen from the side
        return face
    box = donor.boxes[0]
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (0.82, 0.86)
    mask = np.zeros(given.shape[:2], np.uint8)
    cv2.ellipse(mask, (tuple(map(float, centre)), tuple(map(float, half * 2)), 0.0), 255, -1)
    soft = 1 + 2 * round(float(half[0]) * 0.1)
    mask = np.asarray(cv2.blur(cv2.blur(mask, (soft, soft)), (soft, soft)), np.uint8)
    border = moved_boxes(box[None], matrix)[0]
    left, top = np.floor(border[:2]).clip(0).astype(int)
    right, bottom = np.ceil(border[2:]).clip(0, (width, height)).astype(int)
    if right - left < 4 or bottom - top < 4:
        return face
    local = matrix - np.array([[0, 0, left], [0, 0, top]], np.float32)
    size = (int(right - left), int(bottom - top))
    warped = cv2.warpAffine(given, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
    region = face.image[top:bottom, left:right]
    total = max(1.0, float(share.sum()))
    shift = ((region - warped.astype(np.float32)) * share).sum(axis=(0, 1)) / total
    blend = (warped + shift * 0.8) * share + region * (1 - share)
    image, landmarks = face.image.copy(), face.landmarks.copy()
    image[top:bottom, left:right] = blend.clip(0, 255)
    landmarks[row] = moved(donor.landmarks[0], matrix)
    return Scene(image, face.boxes, landmarks)


def _spread(landmarks: Floats) -> float:
    """Measure the size of a face by its landmarks (5, 2), in pixels."""
    return max(1e-6, float(landmarks.std(axis=0).mean()))


def _cut(
    item: Labelled,
    row: int,
    source: Source,
    donor: Labelled | None,
    scale: float,
    around: tuple[float, float],
    draw: Generator,
) -> Cutout:
    """Cut out the face `row` with surroundings drawn from `around`; reduced here if `scale` will reduce it anyway."""
    face = Scene(item.decoded(), item.boxes, item.landmarks)
    if donor is not None:
        face = swapped(face, row, donor)
    box, (height, width) = item.boxes[row], face.image.shape[:2]
    sides = box[2:] - box[:2]
    low, high = np.zeros(2, int), np.array([width, height])
    if not source.tight:
        wide = draw.uniform(*around)
        low = np.floor(box[:2] - sides * (wide, wide * draw.uniform(0.4, 1.0))).clip(0).astype(int)
        high = np.ceil(box[2:] + sides * (wide, wide * draw.uniform(0.4, 1.5))).clip(0, (width, height)).astype(int)
    piece = face.image[low[1] : high[1], low[0] : high[0]]
    start = low.astype(np.float32)
    others = np.delete(np.concatenate([item.boxes, item.unsure]), row, axis=0)
    piece = _without_others(piece, others - np.tile(start, 2), box - np.tile(start, 2), draw)
    size = np.array(piece.shape[1::-1])
    if scale < 0.8:
        size = np.maximum(2, np.round(size * scale * 1.2)).astype(int)
    shrink = (size / np.array(piece.shape[1::-1])).astype(np.float32)
    if scale < 0.8:
        piece = np.asarray(cv2.resize(piece, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA), np.uint8)
    box = (box - np.tile(start, 2)) * np.tile(shrink, 2)
    cutout = Scene(piece, box[None], ((face.landmarks[row : row + 1] - start) * shrink).astype(np.float32))
    return Cutout(cutout, _mask(piece.shape[:2], box, source.tight, draw))


def _mask(shape: tuple[int, ...], box: Floats, tight: bool, draw: Generator) -> Bytes:
    """Draw the opacity of a cutout: the whole image, with or without a soft border, or an ellipse around the head."""
    sides = box[2:] - box[:2]
    if tight:
        closely = np.concatenate([box[:2] - sides * (0.06, 0.05), box[2:] + sides * (0.06, 0.02)])
        return _ellipse(shape, closely, draw)
    if draw.random() < 0.45:
        mask = np.full(shape[:2], 255, np.uint8)
        return _soft(mask, draw) if draw.random() < 0.5 else mask
    return _ellipse(shape, np.concatenate([box[:2] - sides * (0.18, 0.3), box[2:] + sides * (0.18, 0.12)]), draw)


def _without_others(piece: Bytes, boxes: Floats, own: Floats, draw: Generator) -> Bytes:
    """Return the piece with the other faces erased, except those that touch the face's `own` box."""
    size = piece.shape[1], piece.shape[0]
    apart = covered(own[None], np.array([expanded(box) for box in boxes], np.float32).reshape(-1, 4))[0] < 0.03
    near = boxes[apart & (visible(boxes, *size) > 0)]
    if not len(near):
        return piece
    piece = piece.copy()
    for box in near:
        erase(piece, box, draw)
    return piece


def expanded(box: Floats) -> Floats:
    """Expand a box (4,) by a tenth of its width and height on each side."""
    more = (box[2:] - box[:2]) * np.float32(0.1)
    return np.concatenate([box[:2] - more, box[2:] + more])


def erase(image: Bytes, box: Floats, draw: Generator) -> None:
    """Erase a box of an image in place: fill it with blurred, shuffled colours in which no detector finds a face."""
    height, width = image.shape[:2]
    large = expanded(box)
    left, top = large[:2].clip(0).astype(int)
    right, bottom = np.ceil(large[2:]).clip(0, (width, height)).astype(int)
    if right - left < 1 or bottom - top < 1:
        return
    region = image[top:bottom, left:right]
    few = cv2.resize(region, (2, 2), interpolation=cv2.INTER_AREA).astype(np.int16)
    few = np.roll(few, int(draw.integers(4)), axis=0) + draw.integers(-12, 13, few.shape)
    image[top:bottom, left:right] = cv2.resize(
        few.clip(0, 255).astype(np.uint8), (int(right - left), int(bottom - top)), interpolation=cv2.INTER_LINEAR
    )


def _ellipse(shape: tuple[int, ...], box: Floats, draw: Generator) -> Bytes:
    """Draw a mask: a soft, slightly tilted ellipse that fills the box."""
    mask = np.zeros(shape[:2], np.uint8)
    centre, sides = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * draw.uniform(0.95, 1.15, 2)
    cv2.ellipse(mask, (tuple(map(float, centre)), tuple(map(float, sides)), float(draw.normal(0, 5))), 255, -1)
    width = 1 + 2 * round(float(sides.min()) * draw.uniform(0.01, 0.08))
    # two box blurs are nearly a Gaussian one, and faster
    return np.asarray(cv2.blur(cv2.blur(mask, (width, width)), (width, width)), np.uint8)


def _soft(mask: Bytes, draw: Generator) -> Bytes:
    """Fade out the borders of a rectangular mask, which is changed in place."""
    width = max(2, int(min(mask.shape) * draw.uniform(0.03, 0.15)))
    mask[:width], mask[-width:], mask[:, :width], mask[:, -width:] = 0, 0, 0, 0
    return np.asarray(cv2.blur(mask, (width, width)), np.uint8)


def _mirrored(cutout: Cutout) -> Cutout:
    return Cutout(mirrored(cutout.face), np.asarray(cv2.flip(cutout.mask, 1), np.uint8))


def _placing(
    box: Floats, scale: float, shape: tuple[int, ...], draw: Generator, placement: Placement | None = None
) -> Floats:
    """Draw the matrix (2, 3) that scales, tilts and moves a face to `placement` or anywhere, even over the border."""
    kind = draw.random()
    degrees = draw.normal(0, 10) if kind < 0.6 else draw.uniform(-45, 45) if kind < 0.94 else draw.uniform(-100, 100)
    target = placement.centre if placement else _anywhere((box[2:] - box[:2]) * scale, shape, draw)
    return similarity(scale, float(degrees), (box[:2] + box[2:]) / 2, target, float(np.exp(draw.normal(0, 0.05))))


def _anywhere(sides: Floats, shape: tuple[int, ...], draw: Generator) -> Numbers:
    """Draw the centre, in pixels, of a face with these sides."""
    reach = np.array(shape[1::-1], np.float32)
    margin = sides * draw.uniform(-0.25, 0.6) if draw.random() < 0.35 else sides * 0.5
    return np.where(margin * 2 < reach, draw.uniform(0, 1, 2) * (reach - 2 * margin) + margin, reach / 2)


def _extent(mask: Bytes, matrix: Floats) -> Floats:
    """Return the box (4,) around an image that is transformed by a matrix (2, 3)."""
    height, width = mask.shape
    corners = moved(np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32), matrix)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _blended(image: Bytes, cutout: Cutout, matrix: Floats, draw: Generator) -> Bytes:
    """Blend a cutout into the image, in place; often relit, sometimes blurred or grey."""
    patch, mask = cutout.face.image, cutout.mask
    extent = _extent(mask, matrix)
    left, top = np.floor(extent[:2]).clip(0).astype(int)
    right, bottom = np.ceil(extent[2:]).clip(0, image.shape[1::-1]).astype(int)
    if right - left < 1 or bottom - top < 1:
        return image
    local = matrix - np.array([[0, 0, left], [0, 0, top]], np.float32)
    size = (int(right - left), int(bottom - top))
    warped = np.asarray(
        cv2.warpAffine(patch, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    share = cv2.warpAffine(mask, local, size, flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
    if draw.random() < 0.5:
        warped = relit(warped, draw, 0.6)
    if draw.random() < 0.1:
        warped = grey(warped)
    if draw.random() < 0.15 and min(size) > 8:
        warped = blurred(warped, draw, max(0.6, min(2.0, min(size) / 40)))
    region = image[top:bottom, left:right]
    image[top:bottom, left:right] = warped * share + region * (1 - share)
    return image


def _occluded(image: Bytes, box: Floats, landmarks: Floats, draw: Generator) -> Bytes:
    """Draw an obstacle over the face, in place: dark glasses, a hat, a mask, or a shape such as a hand or a post."""
    kind, side = draw.random(), float(box[2] - box[0])
    colour = tuple(int(value) for value in draw.integers(0, 256, 3))
    eyes, mouth = landmarks[:2], landmarks[3:]
    apart = eyes[1] - eyes[0]
    down = mouth.mean(axis=0) - eyes.mean(axis=0)
    if kind < 0.3:
        dark = tuple(int(value) for value in draw.integers(0, 70, 3))
        radius = max(1, int(side * draw.uniform(0.13, 0.2)))
        for eye in eyes:
            cv2.circle(image, tuple(int(value) for value in eye), radius, dark, -1, cv2.LINE_AA)
        cv2.line(
            image,
            (int(eyes[0, 0]), int(eyes[0, 1])),
            (int(eyes[1, 0]), int(eyes[1, 1])),
            dark,
            max(1, radius // 3),
            cv2.LINE_AA,
        )
    elif kind < 0.5:
        brim = eyes.mean(axis=0) - down * draw.uniform(0.3, 0.5)
        hat = np.array([brim - apart * 1.3, brim + apart * 1.3, brim + apart - down * 1.4, brim - apart - down * 1.4])
        cv2.fillConvexPoly(image, hat.astype(np.int32), colour, cv2.LINE_AA)
    elif kind < 0.65:
        start = landmarks[2] + down * 0.05
        cover = np.array([start - apart * 0.9, start + apart * 0.9, mouth.mean(axis=0) + down * 0.6 + apart * 0.6,
                          mouth.mean(axis=0) + down * 0.6 - apart * 0.6])  # fmt: skip
        cv2.fillConvexPoly(image, cover.astype(np.int32), colour, cv2.LINE_AA)
    else:
        along = draw.uniform(0, 2 * np.pi)
        centre = (box[:2] + box[2:]) / 2 + side * 0.55 * np.array([np.cos(along), np.sin(along)])
        axes = (max(1.0, side * draw.uniform(0.2, 0.8)), max(1.0, side * draw.uniform(0.5, 1.6)))
        cv2.ellipse(image, (tuple(map(float, centre)), axes, float(np.rad2deg(along))), colour, -1, cv2.LINE_AA)
    return image
