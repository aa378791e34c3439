"""Measure verification of pairs: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW, and pairs drawn from any set."""

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
    """Measure ten-fold accuracy and VAL@FAR=1e-3 of pairs of images. Raises InputError.

    Pairs with an unreadable image are left out, if the options allow it; the others stay in their folds.
    """
    inferred = infer(images, network, options)
    usable = np.isin(pairs.first, inferred.rows) & np.isin(pairs.second, inferred.rows)
    kept = pairs.at(usable)
    if len(kept) == 0 or len(np.unique(kept.fold)) < 2:
        raise InputError(f"{len(kept)} of {len(pairs)} pairs are readable, too few to measure anything")
    metrics, details = verification_metrics(inferred.outputs[EMBEDDING], inferred.rows, kept)
    counts = {"faces": len(inferred.rows), "pairs": len(kept), "pairs_of_one_person": int(kept.same.sum())}
    if len(kept) < len(pairs):
        counts["pairs_left_out"] = len(pairs) - len(kept)
    return Result(
        metrics=metrics,
        counts=counts,
        data=_digest(inferred, pairs),
        hashed="names and decoded pixels of the images, pairs and folds",
        unreadable=inferred.unreadable,
        details=details,
    )


def _digest(inferred: NetworkOutputs, pairs: Pairs) -> str:
    digest = hashlib.sha256(inferred.digest.encode())
    for column in (pairs.first, pairs.second, pairs.same, pairs.fold):
        digest.update(np.ascontiguousarray(column).astype("<i8").tobytes())
    return digest.hexdigest()
