"""Keeps in the store how similar strangers are, by the weights of the workers, to decide without a worker."""

import json

import numpy as np
from sqlalchemy import select

from streamer.store.reader import StoreReader
from streamer.store.store import Store
from streamer.store.tables import meta
from streamer.values import ImpostorScores, Model

NAME = "strangers"  # in meta


async def keep(store: Store, model: Model, known: ImpostorScores) -> None:
    """Write the table that the threshold follows from. Raises StoreUnavailable."""
    content = {
        "model_id": model.id,
        "pairs": known.pairs,
        "people": known.people,
        "shares": known.shares.tolist(),
        "cosines": known.cosines.tolist(),
        "source": known.source,
    }
    statement = store.database.upsert(meta).values(name=NAME, value=json.dumps(content))
    await store.execute(statement)


async def kept(store: StoreReader) -> Model | None:
    """Return the model with the table; None: no worker has been connected yet. Raises StoreUnavailable."""
    async with store.database.reading() as connection:
        value = await connection.scalar(select(meta.c.value).where(meta.c.name == NAME))
    if value is None:
        return None
    found = json.loads(value)
    shares, cosines = np.array(found["shares"], np.float64), np.array(found["cosines"], np.float64)
    table = ImpostorScores(found["pairs"], found["people"], shares, cosines, found["source"])
    return Model(found["model_id"], age=False, expression=False, attributes=(), identity=True, impostors=table)
