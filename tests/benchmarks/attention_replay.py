"""Replay clips with only the looks that a policy chooses, and compare the tracks with those of every frame."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from streamer import config
from streamer.attention.attention import Attention
from streamer.attention.looks import Candidate, Look, LookReason, Skip, whole
from streamer.boxes import covered, iou
from streamer.detect.aiming import prepared
from streamer.detect.packing import CALL, pack, whole_cost
from streamer.track.kalman import Doubles
from streamer.track.tracker import Tracker
from streamer.values import ClockSource, Detections, Floats, Outlook, Preview, TrackKey, TrackState
from tests.benchmarks.attention_clips import Clip
from tests.benchmarks.mot_metrics import Labelled, score

WHOLE_S = 0.03  # s of a look at the whole frame
INSIDE = 0.9  # share of a face that must be in a region to be found there
MIN_FACE = 24.0  # px
MIN_STAY_S = 0.5  # of a track that may become a person

Sightings = list[tuple[int, Floats] | None]  # frame and box of each detection; None: the track was missed since


@dataclass(slots=True, eq=False)
class Replay:
    """The tracks that a policy gives, per frame."""

    live: list[Labelled] = field(default_factory=list)  # confirmed and not lost, as published at once
    recorded: list[Labelled] = field(default_factory=list)  # confirmed at any time, interpolated between detections
    cost: float = 0.0  # in looks at the whole frame
    looks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    worthy: int = 0  # confirmed tracks of at least half a second and MIN_FACE

    def per_frame(self) -> float:
        return self.cost / len(self.live)


def replay(clip: Clip, settings: config.Attention | None, every: int = 1) -> Replay:
    """Follow a clip by the attention with these settings, or without any by each `every`th frame."""
    attention = Attention(settings, live=False) if settings is not None else None
    tracker = Tracker(config.Track(), lambda number: TrackKey(f"{number:06}", "clip", number))
    answer, seen = Replay(), defaultdict[int, Sightings](list)
    confirmed, known, cut = set[int](), set[int](), False
    for place, time in enumerate(clip.times.tolist()):
        outlook, cut = tracker.outlook(time), cut or clip.cuts[place]
        choice: Look | Skip | None = whole(LookReason.EVERY_FRAME) if place % every == 0 or clip.cuts[place] else None
        if attention is not None:
            times = time, None, ClockSource.FILE_PTS, 0.0
            preview = Preview("clip", 0, *times, clip.size, clip.lumas[place], lambda: None)
            candidate = Candidate(preview, outlook, np.zeros(len(outlook.boxes), np.float32), cut)
            (choice,) = attention.choose([candidate], time)
        if isinstance(choice, Look):
            looked, cost = _seen(choice.regions, clip, outlook) if not choice.whole else (None, 1.0)
            found = clip.detections[place] if looked is None else _inside(clip.detections[place], looked)
            tracks, _ = tracker.update(time, found, clip.size, cut, looked)
            cut = False
            answer.cost += cost
            answer.looks += 1
            if attention is not None:
                new = sum(track.key.number not in known for track in tracks)
                attention.looked("clip", choice, tracker.outlook(time), new, cost * WHOLE_S)
        else:
            tracks = tracker.coast(time, clip.size, attention.still("clip") if attention is not None else None)
        answer.reasons[choice.reason.value if choice is not None else "EVERY"] += 1
        known |= {track.key.number for track in tracks}
        confirmed |= {track.key.number for track in tracks if track.state is TrackState.CONFIRMED}
        for track in tracks:
            if track.detection is not None:
                seen[track.key.number].append((place, track.box))
            elif track.state is TrackState.LOST and seen[track.key.number][-1] is not None:
                seen[track.key.number].append(None)
        answer.live.append(_labelled([(t.key.number, t.box) for t in tracks if t.state is TrackState.CONFIRMED]))
    theirs = {number: places for number, places in seen.items() if number in confirmed}
    answer.recorded = _interpolated(theirs, clip.times, answer.live)
    answer.worthy = _worthy(theirs, clip.times)
    return answer


def compare(reference: Replay, ours: Replay) -> dict[str, float]:
    """Return IDF1 and the share of faces that are found, live and recorded, and the share of the detector's time."""
    return {
        "time": ours.per_frame(),
        "looks": ours.looks / len(ours.live),
        "idf1_live": score(reference.live, ours.live).idf1,
        "idf1_recorded": score(reference.recorded, ours.recorded).idf1,
        "found_live": found(reference.live, ours.live),
        "found_recorded": found(reference.recorded, ours.recorded),
        "tracks": ours.worthy,
        "tracks_every": reference.worthy,
    }


def found(reference: Sequence[Labelled], ours: Sequence[Labelled]) -> float:
    hits = count = 0
    for truth, mine in zip(reference, ours, strict=True):
        boxes = truth.boxes[(truth.boxes[:, 2] - truth.boxes[:, 0]) >= MIN_FACE]
        count += len(boxes)
        if len(boxes) and len(mine.boxes):
            hits += int((iou(boxes, mine.boxes).max(axis=1) >= 0.5).sum())
    return hits / count if count else 1.0


def _seen(regions: Floats, clip: Clip, outlook: Outlook) -> tuple[Floats | None, float]:
    """Return what is looked at for these regions, None if all of the frame, and the cost over that of the frame."""
    config_ = config.Detect()
    boxes, scales = prepared(regions, outlook.boxes, clip.size)
    packing = pack([boxes], [clip.size], [scales], config_)
    if packing.whole.all():
        return None, 1.0
    cost = sum(width * height + CALL for width, height in packing.canvases)
    return packing.crop.astype(np.float32), cost / whole_cost(clip.size, config_)


def _inside(found: Detections, regions: Floats) -> Detections:
    return found.rows(np.flatnonzero((covered(found.boxes, regions) >= INSIDE).any(axis=1)))


def _interpolated(tracks: dict[int, Sightings], times: Doubles, live: Sequence[Labelled]) -> list[Labelled]:
    """Return the boxes between detections on straight lines, and after the last one as they were predicted.

    Where a track was looked for and missed, the face is absent.
    """
    frames: list[list[tuple[int, Floats]]] = [[] for _ in times]
    last = {number: places[-1][0] if places[-1] else len(times) for number, places in tracks.items()}
    for place, row in enumerate(live):
        pairs = zip(row.ids.tolist(), row.boxes, strict=True)
        frames[place] += [(number, box) for number, box in pairs if number in last and place > last[number]]
    for number, places in tracks.items():
        for one, next_one in pairwise([*places, None]):
            if one is None:
                continue
            (first, box), (second, after) = one, next_one or one
            frames[first].append((number, box))
            for place in range(first + 1, second):
                part = float((times[place] - times[first]) / (times[second] - times[first]))
                frames[place].append((number, box + (after - box) * part))
    return [_labelled(rows) for rows in frames]


def _worthy(tracks: dict[int, Sightings], times: Doubles) -> int:
    count = 0
    for places in tracks.values():
        seen = [place for place in places if place is not None]
        long = times[seen[-1][0]] - times[seen[0][0]] >= MIN_STAY_S
        count += int(long and max(box[2] - box[0] for _, box in seen) >= MIN_FACE)
    return count


def _labelled(rows: list[tuple[int, Floats]]) -> Labelled:
    ids = np.array([number for number, _ in rows], np.int64)
    return Labelled(ids, np.array([box for _, box in rows], np.float64).reshape(-1, 4))
