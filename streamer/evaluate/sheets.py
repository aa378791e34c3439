"""Contact sheets of found faces, missed faces and false detections, for people to look at."""

import heapq
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceanalytics.errors import ConfigError
from streamer.evaluate.score import FALSE_HIT, Match, landmark_errors
from streamer.values import Bytes, Floats

COLUMNS, ROWS = 12, 8
TILE, GAP, LINE = 128, 6, 16  # px: side of an image of a face, between two, height of its caption
AROUND = 2.0  # side of the shown square, in longer sides of the box
LABEL, FOUND, PAPER, INK = (80, 220, 80), (60, 140, 255), (248, 250, 250), (40, 40, 40)  # BGR


class Sheets:
    """Collects `hits.png`, worst landmarks first; `missed.png`, largest faces first; `false.png`, highest scores first.

    Labels are drawn green, detections orange. A sheet shows at most 96 faces. Raises ConfigError if it cannot write.
    """

    def __init__(self, folder: Path, min_score: float) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--sheets {folder}: cannot make the folder: {error.strerror}") from error
        self._folder, self._min_score = folder, min_score
        self._tiles: dict[str, list[tuple[float, int, Bytes]]] = {"hits": [], "missed": [], "false": []}
        self._count = 0

    def add(self, pixels: Bytes, match: Match) -> None:
        """Add the faces of a BGR image (h, w, 3) that are among the first of their sheet."""
        for name, rank, box, label, caption in _faces(match, self._min_score):
            tiles = self._tiles[name]
            if len(tiles) == COLUMNS * ROWS and rank <= tiles[0][0]:
                continue
            self._count += 1  # the earlier one first, where two rank alike
            heapq.heappush(tiles, (rank, -self._count, _tile(pixels, box, match, self._min_score, label, caption)))
            if len(tiles) > COLUMNS * ROWS:
                heapq.heappop(tiles)

    def write(self) -> None:
        """Write all sheets, also empty ones, so that an old sheet is not taken for a new one. Raises ConfigError."""
        for name, tiles in self._tiles.items():
            path = self._folder / f"{name}.png"
            if not cv2.imwrite(str(path), _grid([tile for _, _, tile in sorted(tiles, reverse=True)])):
                raise ConfigError(f"--sheets: cannot write {path}")


def _faces(match: Match, min_score: float) -> Iterator[tuple[str, float, Floats, int | None, str]]:
    """Yield sheet, rank in it, box, row of the label and caption of each face."""
    strong = match.found.scores >= min_score
    for row in np.flatnonzero(strong & (match.faces >= 0)):
        face = int(match.faces[row])
        error = landmark_errors(match.truth.landmarks[face][None], match.found.landmarks[row][None]).mean()
        known = bool(np.isfinite(error))
        caption = f"{match.found.scores[row]:.2f}" + (f" {100 * error:.0f}%" if known else "")
        yield "hits", float(error) if known else 0.0, match.truth.boxes[face], face, caption
    hit = match.faces[strong & (match.faces >= 0)]
    for missed in np.flatnonzero(match.counted & ~np.isin(np.arange(len(match.counted)), hit)):
        box = match.truth.boxes[missed]
        yield "missed", float(box[2] - box[0]), box, int(missed), f"{box[2] - box[0]:.0f} px"
    for row in np.flatnonzero(strong & (match.faces == FALSE_HIT)):
        yield "false", float(match.found.scores[row]), match.found.boxes[row], None, f"{match.found.scores[row]:.2f}"


def _tile(pixels: Bytes, box: Floats, match: Match, min_score: float, label: int | None, caption: str) -> Bytes:
    """Draw a face with its surroundings, and its caption below: (TILE + LINE, TILE, 3)."""
    centre, side = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()) * AROUND, 8.0)
    corner = centre - side / 2
    scale = TILE / side
    left, top = ((0.5 - float(edge)) * scale - 0.5 for edge in corner)  # pixel centres are half a pixel from corners
    shift = np.array([(scale, 0, left), (0, scale, top)])
    way = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    tile = np.asarray(cv2.warpAffine(pixels, shift, (TILE, TILE), flags=way, borderValue=(128, 128, 128)), np.uint8)
    rows = match.found.scores >= min_score
    faces = range(len(match.truth.boxes)) if label is None else [label]
    for colour, boxes, landmarks in (
        (LABEL, match.truth.boxes[faces], match.truth.landmarks[faces]),
        (FOUND, match.found.boxes[rows], match.found.landmarks[rows]),
    ):
        for edges, points in zip((boxes.reshape(-1, 2, 2) - corner) * scale, (landmarks - corner) * scale, strict=True):
            (x1, y1), (x2, y2) = edges.round().astype(int).tolist()
            cv2.rectangle(tile, (x1, y1), (x2, y2), colour, 1)
            for x, y in points[np.isfinite(points).all(axis=1)].round().astype(int).tolist():
                cv2.circle(tile, (x, y), 1, colour, cv2.FILLED)
    whole = np.full((TILE + LINE, TILE, 3), PAPER, np.uint8)
    whole[:TILE] = tile
    cv2.putText(whole, caption, (2, TILE + LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return whole


def _grid(tiles: list[Bytes]) -> Bytes:
    height, width = TILE + LINE + GAP, TILE + GAP
    sheet = np.full((max(1, -(-len(tiles) // COLUMNS)) * height + GAP, COLUMNS * width + GAP, 3), PAPER, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // COLUMNS * height + GAP, place % COLUMNS * width + GAP
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
