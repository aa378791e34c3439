"""A store with sinks that run in a test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import REGISTRY

from streamer.api.authorisation import without_biometrics
from streamer.config import Store as StoreConfig
from streamer.config import StreamerConfig
from streamer.sinks.sinks import Sinks, start_sinks
from tests.support.patience import WAIT_S
from tests.support.stored import Running, running

QUICK = {"initial_s": 0.02, "max_s": 0.2}  # retry


def settings(**sink: Any) -> dict[str, Any]:
    """A sink's section that retries quickly."""
    return {"retry": QUICK, "start": "oldest", **sink}


@asynccontextmanager
async def sinking(
    config: StoreConfig, *sinks: dict[str, Any], clean: bool = True
) -> AsyncIterator[tuple[Running, Sinks]]:
    """A store that runs with sinks; not `clean`: all ends as if it were killed."""
    configured = StreamerConfig.model_validate({"sinks": sinks}).sinks
    async with running(config, clean=clean) as one:
        started = await start_sinks(configured, one.store, without_biometrics)
        delivering = asyncio.create_task(started.run())
        try:
            yield one, started
            if clean:
                await one.settle()
                await started.drain(WAIT_S)
        finally:
            delivering.cancel()
            await asyncio.wait([delivering])
            if clean:
                await started.close()
            else:
                started._hide()
                for runner in started._runners:  # as the end of a process would
                    await runner.close()
        if not delivering.cancelled() and delivering.exception() is not None:
            raise delivering.exception()  # type: ignore[misc]  # it is not None


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def metric(name: str, sink: str, **labels: str) -> float:
    """The present value of a sink's metric."""
    value = REGISTRY.get_sample_value(f"faceanalytics_sink_{name}", {"sink": sink, **labels})
    return 0.0 if value is None else value
