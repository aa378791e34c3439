"""Serves the metrics to Prometheus: who may read them, and how certificates and disks are doing."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from faceanalytics.errors import ConfigError
from faceanalytics.metrics_server import Admits, Door, serve_registry
from faceanalytics.tls_files import ServerContext, TlsFiles, certificate_facts
from streamer.config import StreamerConfig, split_address
from streamer.metrics import PREFIX
from streamer.safety import Tls, check_measured, is_loopback, measured_by_token

ADMIT_S = 5.0  # longest wait for the answer whether a client may read

log = logging.getLogger(__name__)


def serve_metrics(config: StreamerConfig, admits: Admits) -> Callable[[], None]:
    """Start the endpoint at `metrics.listen` in its own thread, and return the function that stops it.

    `admits` decides about clients where a token is needed. Raises ConfigError if it cannot listen, or if other machines
    could reach the address without permission.
    """
    settings = config.metrics
    assert settings.listen is not None
    check_measured(settings.listen, settings.tls, settings.insecure, config.has_tokens)
    host, port = split_address(settings.listen)
    if settings.insecure and not is_loopback(host):
        log.warning("metrics.insecure: whoever reaches %s can read the metrics", settings.listen)
    by_token = measured_by_token(settings.listen, settings.tls, settings.insecure)
    tls = ServerContext(tls_files(settings.tls), "metrics.tls") if settings.tls is not None else None
    try:
        return serve_registry(host, port, REGISTRY, Door(tls, admits if by_token else None))
    except OSError as error:
        raise ConfigError(f"metrics.listen: cannot listen on {settings.listen}: {error}; choose a free port") from error


def asking(loop: asyncio.AbstractEventLoop, ask: Callable[[str], Awaitable[int]]) -> Admits:
    """Return what asks a coroutine of the loop from other threads: the header `Authorization` -> status of HTTP."""

    async def answer(authorization: str) -> int:
        return await ask(authorization)

    def admits(authorization: str) -> int:
        future = asyncio.run_coroutine_threadsafe(answer(authorization), loop)
        try:
            return future.result(ADMIT_S)
        except TimeoutError:
            future.cancel()
            return 503

    return admits


def tls_files(tls: Tls) -> TlsFiles:
    """Return the files of a section."""
    return TlsFiles.of(tls.certificate, tls.key, tls.client_ca)


def show_files(config: StreamerConfig, store: Path | None) -> Callable[[], None]:
    """Show when certificates expire and how full disks are, and return the function that ends that.

    `store`: folder of the store; None: it has none.
    """
    sections = {"publish": config.publish.tls, "metrics": config.metrics.tls, "web": config.web.tls}
    certificates = {name: tls for name, tls in sections.items() if tls is not None}
    folders = {"store": store, "audit": Path(config.access.folder) if config.access.folder else None}
    collector = _Files(certificates, {place: folder for place, folder in folders.items() if folder is not None})
    REGISTRY.register(collector)
    return lambda: REGISTRY.unregister(collector)


class _Files(Collector):
    """Looks at files when it is asked, because they change. What cannot be read has no value."""

    def __init__(self, certificates: Mapping[str, Tls], folders: Mapping[str, Path]) -> None:
        self._certificates = certificates
        self._folders = folders

    def collect(self) -> Iterable[Metric]:
        name, text = "certificate_expiry_timestamp_seconds", "Unix time at which the certificate of a server expires."
        family = GaugeMetricFamily(PREFIX + name, text, labels=["server"])
        for server, tls in self._certificates.items():
            with suppress(ConfigError):
                facts = certificate_facts(Path(tls.certificate), Path(tls.key))
                family.add_metric([server], facts.ends.timestamp())
        yield family
        family = GaugeMetricFamily(
            PREFIX + "disk_free_bytes", "Free space where the streamer writes.", labels=["place"]
        )
        for place, folder in self._folders.items():
            with suppress(OSError):
                family.add_metric([place], shutil.disk_usage(folder).free)
        yield family

    def describe(self) -> Iterable[Metric]:
        return ()
