"""Compose scenes to train on: faces pasted into backgrounds, crops of labelled images, and images without faces."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator

from streamer.boxes import covered
from streamer.detect.letterbox import GREY
from streamer.values import Bytes
from workers.research.detector.config import Scenes
from workers.research.detector.degrade import degraded, noisy
from workers.research.detector.geometry import (
    Numbers,
    Scene,
    clipped,
    mirrored,
    moved,
    moved_boxes,
    similarity,
    visible,
)
from workers.research.detector.labels import Labelled
from workers.research.detector.library import Library, SourcePools, without_faces
from workers.research.detector.paste import (
    LARGEST_ENLARGEMENT,
    Placement,
    add_face,
    add_head,
    add_patch,
    erase,
    expanded,
    swapped,
)

CROWD_PX = 40.0  # largest width of the faces in the farthest row
MOST_PEOPLE = 40
LEAST_SHARE, LARGEST_SHARE = 0.4, 1.1  # of the side of a scene: widths of close-ups, which the border may cut
MIN_VISIBLE = 0.4  # visible share of a face: with less it is neither face nor background, so it is erased


def compose(library: Library, options: Scenes, draw: Generator) -> Scene:
    """Compose a scene of `options.side` pixels. Equal generators `draw` give equal scenes."""
    kind = draw.random()
    if kind < options.empty:
        scene = _decorated(_empty(library, options, draw), library, draw, 0.7)
    elif kind < options.empty + options.shown and library.shown:
        scene = _mosaic(library, options, draw) if draw.random() < 0.3 else _shown(library, options, options.side, draw)
    else:
        scene = _pasted(library, options, draw)
    if draw.random() < 0.5:
        scene = mirrored(scene)
    return clipped(replace(scene, image=degraded(scene.image, draw)), options.min_px)


def _empty(library: Library, options: Scenes, draw: Generator) -> Scene:
    """Return a scene of background only."""
    return Scene(background(library, options.side, draw), np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32))


def _pasted(library: Library, options: Scenes, draw: Generator) -> Scene:
    """Compose a scene of faces pasted into a background."""
    scene = _decorated(_empty(library, options, draw), library, draw, 0.4)
    if draw.random() < options.crowded:
        return _crowd(scene, library, options, draw)
    few, many = options.faces
    for _ in range(int(few + (many - few) * draw.beta(1.0, 1.6) + 0.5)):
        scene = _with_a_face(scene, library, library.pasted, options, draw)
    return scene


def _with_a_face(
    scene: Scene,
    library: Library,
    pools: SourcePools,
    options: Scenes,
    draw: Generator,
    placement: Placement | None = None,
) -> Scene:
    """Add a face: a donor's on a turned head, or one of the pools, sometimes with a donor's eyes, nose and mouth."""
    if library.poses and library.donors and draw.random() < options.turned:
        pose = library.poses[int(draw.integers(len(library.poses)))]
        given = library.donors[int(draw.integers(len(library.donors)))]
        return add_head(scene, pose, given, options, draw, placement)
    source, item = pools.drawn(draw)
    donor = None
    if not source.tight and library.donors and draw.random() < options.swapped:
        donor = library.donors[int(draw.integers(len(library.donors)))]
    return add_face(scene, source, item, donor, options, draw, placement)


def _crowd(scene: Scene, library: Library, options: Scenes, draw: Generator) -> Scene:
    """Add rows of people with hair and shoulders, from the farthest, who are smallest, to the nearest."""
    side, least = options.side, options.face_px[0]
    far = float(np.exp(draw.uniform(np.log(least), np.log(min(CROWD_PX, options.face_px[1])))))
    grows = float(np.exp(draw.uniform(0, 0.7)))  # ratio of widths, top to bottom of the scene
    apart, between = draw.uniform(1.2, 2.8), draw.uniform(0.8, 2.2)  # widths of a face
    height, people = far + draw.uniform(0, 0.5) * side, 0
    while height < side and people < MOST_PEOPLE:
        width = far * grows ** (height / side)
        for left in np.arange(draw.uniform(-1, 1) * width, side, width * apart):
            if draw.random() < 0.2:
                continue
            at = np.array([left, height]) + draw.normal(0, 0.25 * width, 2)
            placement = Placement(at, max(least, width * float(np.exp(draw.normal(0, 0.12)))))
            scene = _with_a_face(scene, library, library.in_surroundings, options, draw, placement)
            people += 1
        height += width * between
    return scene


def _decorated(scene: Scene, library: Library, draw: Generator, chance: float) -> Scene:
    """Add patches that show no face, with the probability `chance`."""
    if draw.random() < chance:
        for _ in range(int(draw.integers(1, 5))):
            piece = _real_background(library, 160, draw)
            if piece is not None:
                scene = add_patch(scene, piece, draw)
    return scene


def _mosaic(library: Library, options: Scenes, draw: Generator) -> Scene:
    """Tile 4 to 36 shown images, so that small faces appear in their own surroundings."""
    side = options.side
    count = int(draw.choice((2, 2, 3, 4, 6)))
    jitter = draw.uniform(-0.3, 0.3, (2, count - 1))
    rows, columns = (
        [0, *np.round((np.arange(1, count) + shift) * side / count).astype(int).tolist(), side] for shift in jitter
    )
    corners = [(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]
    image = np.zeros((side, side, 3), np.uint8)
    boxes, landmarks = [np.zeros((0, 4), np.float32)], [np.zeros((0, 5, 2), np.float32)]
    for left, top, right, bottom in corners:
        square = max(right - left, bottom - top)
        part = _cut_to(_shown(library, options, square, draw), right - left, bottom - top, draw)
        image[top:bottom, left:right] = part.image
        boxes.append(part.boxes + np.tile(np.array([left, top], np.float32), 2))
        landmarks.append(part.landmarks + np.array([left, top], np.float32))
    return Scene(image, np.concatenate(boxes), np.concatenate(landmarks))


def _cut_to(scene: Scene, width: int, height: int, draw: Generator) -> Scene:
    """Crop a scene to its upper left `width` by `height` pixels."""
    part = Scene(np.ascontiguousarray(scene.image[:height, :width]), scene.boxes, scene.landmarks)
    return _without_cut(part, draw)


def _without_cut(scene: Scene, draw: Generator) -> Scene:
    """Erase faces of which less than MIN_VISIBLE is inside the image, and clip the boxes of the others."""
    height, width = scene.image.shape[:2]
    shares = visible(scene.boxes, width, height)
    for box in scene.boxes[(shares > 0) & (shares < MIN_VISIBLE)]:
        erase(scene.image, box, draw)
    keep = shares >= MIN_VISIBLE
    boxes = scene.boxes.clip(0, np.array([width, height, width, height], np.float32))
    return Scene(scene.image, boxes[keep], scene.landmarks[keep])


def _shown(library: Library, options: Scenes, side: int, draw: Generator) -> Scene:
    """Cut a square out of a labelled image, scaled and sometimes rotated, and erase its unsure faces."""
    source, item = library.shown.drawn(draw)
    scene = Scene(item.decoded(), item.boxes, item.landmarks)
    for row in range(len(scene.boxes)):
        if library.donors and draw.random() < options.swapped * 0.6:
            scene = swapped(scene, row, library.donors[int(draw.integers(len(library.donors)))])
    scale, centre = _view(source.largest, item, side, options, draw)
    degrees = draw.normal(0, 12) if draw.random() < 0.35 else 0.0
    stretch = float(np.exp(draw.normal(0, 0.06)))
    target = np.array([side, side]) * draw.uniform(0.2, 0.8, 2)
    matrix = similarity(scale, float(degrees), centre, target, stretch)
    image, used = scene.image, matrix
    if scale < 0.6:
        size = (max(2, round(image.shape[1] * scale * 1.2)), max(2, round(image.shape[0] * scale * 1.2)))
        shrink = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        used = np.concatenate([matrix[:, :2] / shrink, matrix[:, 2:]], axis=1).astype(np.float32)
    fill = int(draw.integers(256)) if draw.random() < 0.4 else GREY
    border = cv2.BORDER_REFLECT if draw.random() < 0.1 and not len(item.boxes) else cv2.BORDER_CONSTANT
    view = cv2.warpAffine(
        image, used, (side, side), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(fill, fill, fill)
    )
    result = Scene(np.asarray(view, np.uint8), moved_boxes(scene.boxes, matrix), moved(scene.landmarks, matrix))
    for box in moved_boxes(item.unsure, matrix):
        if covered(result.boxes, expanded(box)[None]).max(initial=0) < 0.03:
            erase(result.image, box, draw)
    return _without_cut(result, draw)


def _view(largest: float | None, item: Labelled, side: int, options: Scenes, draw: Generator) -> tuple[float, Numbers]:
    """Draw the scale of an image and the point, mostly on a face, that the crop is placed by."""
    height, width = item.decoded().shape[:2]
    if len(item.boxes) and draw.random() < 0.85:
        box = item.boxes[int(draw.integers(len(item.boxes)))]
        native = float(box[2] - box[0])
        if draw.random() < options.large:
            wanted = side * draw.uniform(LEAST_SHARE, LARGEST_SHARE)
            return float(wanted) / native, (box[:2] + box[2:]) / 2
        limit = min(options.face_px[1], LARGEST_SHARE * options.side) * side / options.side
        most = min(limit, native * LARGEST_ENLARGEMENT, largest or np.inf)
        wanted = np.exp(draw.uniform(np.log(options.face_px[0]), np.log(max(most, options.face_px[0] * 1.1))))
        whole = side / max(height, width)
        scale = max(float(wanted) / native, whole * 0.5)  # a smaller image would leave the square mostly empty
        return scale, (box[:2] + box[2:]) / 2
    scale = side / max(height, width) * float(np.exp(draw.uniform(-0.3, 1.2)))
    return scale, np.array([width, height]) * draw.uniform(0, 1, 2)


def background(library: Library, side: int, draw: Generator) -> Bytes:
    """Draw a background without faces, BGR (side, side, 3): a photograph or a drawn one."""
    if draw.random() < 0.72:
        piece = _real_background(library, side, draw)
        if piece is not None:
            return np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return _drawn_background(side, draw)


def _real_background(library: Library, side: int, draw: Generator) -> Bytes | None:
    """Cut a square without faces out of a photograph; None if no such square is found."""
    if library.shown and (not library.backgrounds or draw.random() < 0.55):
        return without_faces(library.shown.drawn(draw)[1], side, draw)
    if not library.backgrounds:
        return None
    image = library.backgrounds[int(draw.integers(len(library.backgrounds)))]
    height, width = image.shape[:2]
    size = int(min(height, width) * draw.uniform(0.25, 1))
    left, top = int(draw.integers(width - size + 1)), int(draw.integers(height - size + 1))
    piece = image[top : top + size, left : left + size]
    if size > 2 * side:
        piece = np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.rot90(piece, int(draw.integers(4))).copy()


def _drawn_background(side: int, draw: Generator) -> Bytes:
    """Draw patches of colour and shapes (side, side, 3)."""
    cells = int(draw.integers(1, 9))
    few = draw.integers(0, 256, (cells + 1, cells + 1, 3)).astype(np.uint8)
    method = cv2.INTER_CUBIC if draw.random() < 0.7 else cv2.INTER_NEAREST
    image = np.asarray(cv2.resize(few, (side, side), interpolation=method), np.uint8)
    for _ in range(int(draw.integers(0, 12))):
        colour = tuple(int(value) for value in draw.integers(0, 256, 3))
        centre = tuple(int(value) for value in draw.integers(0, side, 2))
        size = float(np.exp(draw.uniform(np.log(4), np.log(side * 0.6))))
        if draw.random() < 0.5:
            axes = (size, size * draw.uniform(0.3, 1.5))
            cv2.ellipse(image, (centre, axes, float(draw.uniform(0, 180))), colour, -1, cv2.LINE_AA)
        else:
            points = (np.array(centre) + draw.normal(0, size, (4, 2))).astype(np.int32)
            cv2.fillConvexPoly(image, cv2.convexHull(points), colour, cv2.LINE_AA)
    return noisy(image, draw) if draw.random() < 0.5 else image
