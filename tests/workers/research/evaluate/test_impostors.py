"""How similar strangers are: measured on a set, kept in the weights' card, sent by the worker, used by the streamer."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceanalytics.errors import InputError
from faceanalytics.internal.v1 import faces_pb2
from streamer.dispatch.wire import to_model
from streamer.identity.impostors import threshold
from tests.support.training import draw_table
from workers.research.data.face_set import Bytes
from workers.research.data.parquet import Columns, Parquet, open_parquet
from workers.research.evaluate.impostors import measure_impostors, write_card
from workers.research.evaluate.inference import Floats
from workers.serve.messages import ready
from workers.swinface.checkpoint import impostor_scores
from workers.swinface.state import CheckpointError

DIRECTIONS = np.random.default_rng(0).normal(size=(3 * 4 * 4, 512)).astype(np.float32)


def network(crops: Bytes) -> dict[str, Floats]:
    """The embedding is the image itself, coarsely, in random directions."""
    coarse = crops.reshape(len(crops), 4, 28, 4, 28, 3).mean((2, 4)).reshape(len(crops), -1).astype(np.float32)
    return {"recognition": (coarse - coarse.mean(1, keepdims=True)) @ DIRECTIONS}


def faces(path: Path, people: int) -> Parquet:
    draw_table(path, 2 * people, person=[f"p{row // 2}" for row in range(2 * people)])
    return Parquet(format="parquet", path=path, columns=Columns(identity="person"))


def test_a_set_gives_the_table_and_the_streamer_uses_it_from_the_card(tmp_path: Path) -> None:
    found = measure_impostors(open_parquet("set", faces(tmp_path / "set.parquet", 20)), network, "twenty people")
    assert found.counts == {"faces": 40, "people": 20, "pairs": 190}
    (tmp_path / "w.json").write_text(json.dumps({"schema": 1, "config": {}, "sha256": "0", "licence": "none"}))
    weights = tmp_path / "w.safetensors"
    assert impostor_scores(str(weights)) is None
    write_card(weights, found.details["impostor_scores"])
    assert json.loads((tmp_path / "w.json").read_text())["licence"] == "none"
    table = impostor_scores(str(weights))
    message = faces_pb2.Ready.FromString(ready("w", "m", ("recognition",), "", "cpu", 16, table))
    received = to_model(message).impostors
    assert received is not None
    assert (received.pairs, received.people, received.source) == (190, 20, "twenty people")
    assert threshold(received, 0.1, 1, "") == pytest.approx(
        found.metrics["reached_by_1e-01_of_strangers_cosine"], abs=1e-5
    )
    assert threshold(received, 0.1, 1, "") < threshold(received, 0.06, 1, "") <= 1


def test_too_few_people_are_no_table_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 people, but at least 5"):
        measure_impostors(open_parquet("set", faces(tmp_path / "set.parquet", 4)), network, "four")
    card = {"schema": 1, "config": {}, "sha256": "0", "impostor_scores": {"pairs": 3}}
    (tmp_path / "w.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="impostor_scores must have pairs, people"):
        impostor_scores(str(tmp_path / "w.safetensors"))
