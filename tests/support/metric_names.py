"""The names of all series that the programs can show, from their registries."""

from functools import cache
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry

from streamer import metrics
from streamer.config import StreamerConfig
from streamer.metrics_endpoint import show_files
from workers.serve import metrics as of_workers

ENDINGS = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}


@cache
def metric_names() -> frozenset[str]:
    """Names as Prometheus stores them, those of the process included."""
    shown = metrics.show_streams(lambda: ()), metrics.show_sinks(lambda: (), ()), show_files(StreamerConfig(), Path())
    try:
        return frozenset(_of(REGISTRY) | _of(of_workers.REGISTRY))
    finally:
        for hide in shown:
            hide()


def _of(registry: CollectorRegistry) -> set[str]:
    return {family.name + ending for family in registry.collect() for ending in ENDINGS.get(family.type, ("",))}
