"""Verification of pairs: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW, and pairs drawn from any set."""

import hashlib

import numpy as np

from faceanalytics.errors import InputError
from workers.research.data.face_set import Images
from workers.research.evaluate.draw_pairs import Pairs
from workers.research.evaluate.inference import InferenceOptions, Network, NetworkOutputs, infer
from workers.research.evaluate.result import Result
from workers.research.evaluate.score import verification_metrics
from workers.swinface.labels import EMBEDDING

HEADS = (EMBEDDING,)


def verify(images: Images, pairs: Pairs, network: Network, options: InferenceOptions | None = None) -> Result:
    """Ten-fold accuracy and VAL@FAR=1e-3 of pairs of rows of the images. Raises InputError.

    Pairs with an unreadable image are left out, if that is allowed; the others stay in their folds.
    """
    seen = infer(images, network, options)
    usable = np.isin(pairs.first, seen.rows) & np.isin(pairs.second, seen.rows)
    judged = pairs.at(usable)
    if len(judged) == 0 or len(np.unique(judged.fold)) < 2:
        raise InputError(f"{len(judged)} of {len(pairs)} pairs are left, too few to measure anything")
    metrics, details = verification_metrics(seen.outputs[EMBEDDING], seen.rows, judged)
    counts = {"faces": len(seen.rows), "pairs": len(judged), "pairs_of_one_person": int(judged.same.sum())}
    if len(judged) < len(pairs):
        counts["pairs_left_out"] = len(pairs) - len(judged)
    return Result(
        metrics=metrics,
        counts=counts,
        data=_digest(seen, pairs),
        hashed="names and decoded pixels of the images, pairs and folds",
        unreadable=seen.unreadable,
        details=details,
    )


def _digest(seen: NetworkOutputs, pairs: Pairs) -> str:
    found = hashlib.sha256(seen.digest.encode())
    for column in (pairs.first, pairs.second, pairs.same, pairs.fold):
        found.update(np.ascontiguousarray(column).astype("<i8").tobytes())
    return found.hexdigest()
