"""Decides whether the evidence suffices to publish age, expression and attributes of a track. Pure.

A network answers for every crop, whatever it shows. So a track is described only if its crops were good enough, were
not cut off by the edge of the frame, show a bare mouth and agree with each other, and if detector and embedding agree
that there is a face: the embedding of what is no face resembles that of an image without content (`blank`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamer.aggregate.samples import Sample
from streamer.config import Aggregate
from streamer.values import Agreement, Floats, IdentityEstimate, Reason, TrackEstimates, Undescribed

FEWEST = 3  # crops whose agreement says something
INSIDE_BY = 0.1  # of the box's size, by which landmarks may be outside the box
EDGE = 0.13  # of the box's longer side; landmarks closer to the edge of the frame are those of a face that it cuts off
CAUSES = {"inside": Undescribed.BORDER, "pose": Undescribed.EXTREME_POSE, "fit": Undescribed.EXTREME_POSE}  # by factor


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over the analysed crops of a track, in units of their quality (0..1)."""

    quality: float = 0.0
    cut: float = 0.0  # of crops that the edge of the frame cuts off
    coloured: float = 0.0  # of crops in which the colours of the face are known
    covered: float = 0.0  # of those in which mouth and nose have another colour than skin
    best: float = 0.0  # quality of the best crop
    weakest: str = ""  # factor that reduces it most

    def added(self, settings: Aggregate, samples: Iterable[Sample]) -> "Tally":
        """Return the tally with samples added."""
        found = self
        for one in samples:
            better = one.quality > found.best
            found = Tally(
                quality=found.quality + one.quality,
                cut=found.cut + one.quality * (one.inside < settings.min_inside),
                coloured=found.coloured + one.quality * (one.cover is not None),
                covered=found.covered + one.quality * (one.cover is not None and one.cover > settings.max_cover),
                best=one.quality if better else found.best,
                weakest=one.weakest if better else found.weakest,
            )
        return found


@dataclass(slots=True)
class Seen:
    """What the detections of a track say in all frames together."""

    frames: int = 0
    score: float = 0.0  # sum of the detector's scores
    implausible: int = 0  # frames in which the landmarks are not those of a face
    cut: int = 0  # frames in which the edge of the frame cuts the face off

    def add(self, score: float, box: Floats, landmarks: Floats | None, frame_size: tuple[int, int]) -> None:
        """Take in a detection: score (0..1), box (4,), landmarks (5, 2) and frame size in px.

        None: the landmarks are wrong.
        """
        self.frames += 1
        self.score += score
        if landmarks is not None:
            self.implausible += not is_plausible(box, landmarks)
            self.cut += is_cut(box, landmarks, frame_size)

    @property
    def mean_score(self) -> float:
        """The mean score, 0..1; 1 before the first frame."""
        return self.score / self.frames if self.frames else 1.0


def is_plausible(box: Floats, landmarks: Floats) -> bool:
    """Return whether landmarks (5, 2) lie inside the box (4,) and nose and mouth are below the eyes, seen upright."""
    left, top, right, bottom = box.tolist()
    across, down = INSIDE_BY * (right - left), INSIDE_BY * (bottom - top)
    points = [complex(x, y) for x, y in landmarks.tolist()]
    inside = all(
        left - across <= point.real <= right + across and top - down <= point.imag <= bottom + down for point in points
    )
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    axis = mouth - eyes  # from the eyes to the mouth; the nose is projected on it
    length = abs(axis)
    if length == 0:
        return False
    nose = ((points[2] - eyes) * axis.conjugate()).real / length**2
    eye_line = points[1] - points[0]
    upright = (eye_line.conjugate() * axis).imag > 0  # not mirrored: the left eye is left when the mouth is below
    return inside and upright and -0.1 <= nose <= 1.1


def is_cut(box: Floats, landmarks: Floats, frame_size: tuple[int, int]) -> bool:
    """Return whether a landmark (5, 2) is at the edge of the frame, compared with the size of the box (4,)."""
    left, top, right, bottom = box.tolist()
    margin = EDGE * max(right - left, bottom - top)
    (x1, y1), (x2, y2) = landmarks.min(axis=0).tolist(), landmarks.max(axis=0).tolist()
    known = x1 < x2 or y1 < y2  # else the landmarks coincide, and say nothing
    return bool(known and min(x1, y1, frame_size[0] - x2, frame_size[1] - y2) < margin)


def agreement(settings: Aggregate, consistency: float | None, samples: int, outliers: int) -> Agreement:
    """Return whether crops with this mean cosine to each other (None: one crop) agree on who it is.

    `samples` crops were used for the template, and `outliers` left out. The bounds are measured by
    `python -m tests.benchmarks "Tracks of two persons"`.
    """
    if samples + outliers < FEWEST:
        return Agreement.CONSISTENT
    vary = consistency is not None and samples >= FEWEST and consistency < settings.min_consistency
    return Agreement.CONFLICTING if vary or outliers > samples else Agreement.CONSISTENT


def undescribed(
    settings: Aggregate,
    seen: Seen,
    tally: Tally,
    estimates: TrackEstimates,
    reasons: Sequence[Reason],
    blank: Floats | None,
) -> tuple[Undescribed, ...]:
    """Return why a track is not described; empty if it is.

    `reasons`: why it was not analysed, if so; `blank` (512,): embedding of images without content, None if unknown.
    """
    found: list[Undescribed] = []
    blank_cosine = _blank_cosine(estimates.identity, blank)
    if _is_false(settings, seen, tally, blank_cosine):
        found.append(Undescribed.FALSE_FACE)
    if estimates.samples == 0:
        return (*found, Undescribed.NOT_ANALYSED, *_causes(reasons))
    if estimates.identity is not None and estimates.identity.status is Agreement.CONFLICTING:
        found.append(Undescribed.CONFLICTING)
    if 2 * tally.cut > tally.quality or 2 * seen.cut > seen.frames:
        found.append(Undescribed.BORDER)
    if 2 * tally.covered > tally.coloured:
        found.append(Undescribed.COVERED)
    if tally.best < settings.min_described_quality:
        found.append(CAUSES.get(tally.weakest, Undescribed.LOW_QUALITY))
    if seen.mean_score < settings.min_described_score or blank_cosine > settings.max_blank_cosine:
        found.append(Undescribed.LOW_QUALITY)
    if tally.quality < settings.min_described_evidence:
        found.append(Undescribed.TOO_FEW_SAMPLES)
    return tuple(dict.fromkeys(found))


def _is_false(settings: Aggregate, seen: Seen, tally: Tally, blank_cosine: float) -> bool:
    """Return whether detector and embedding, or detector and landmarks, agree that this is no face.

    Faces that the frame's edge cuts off look the same to the embedding, so for them this is not known.
    """
    if seen.mean_score >= settings.false_face_score or 2 * tally.cut > tally.quality or 2 * seen.cut > seen.frames:
        return False
    return blank_cosine > settings.false_face_cosine or 2 * seen.implausible > seen.frames


def _blank_cosine(identity: IdentityEstimate | None, blank: Floats | None) -> float:
    return -1.0 if identity is None or blank is None else float(identity.template @ blank)


def _causes(reasons: Sequence[Reason]) -> tuple[Undescribed, ...]:
    """Return why a track without analyses has none, as far as the face itself is the cause."""
    found = [
        Undescribed.EXTREME_POSE if reason is Reason.EXTREME_POSE else Undescribed.LOW_QUALITY
        for reason in reasons
        if reason is not Reason.BUDGET
    ]
    return tuple(dict.fromkeys(found))
