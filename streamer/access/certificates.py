"""The certificate of the gRPC server, read again when its files change."""

import logging
from pathlib import Path
from threading import Lock

import grpc

from faceanalytics.errors import ConfigError
from faceanalytics.tls_files import TlsFiles, make_context, stamp
from streamer.safety import Tls

log = logging.getLogger(__name__)


class Certificates:
    """Certificate and key of the server. gRPC asks for them, from threads of its own, before each handshake."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigError if the files cannot be used together."""
        self._files = TlsFiles.of(tls.certificate, tls.key, tls.client_ca)
        self._lock = Lock()
        self._known = stamp(self._files)
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._current,
            self._changed,  # type: ignore[arg-type]  # None means unchanged
            require_client_authentication=self._files.client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files have now; None if they have not changed or are not usable."""
        with self._lock:
            version = stamp(self._files)
            if version == self._known:
                return None
            self._known = version
            try:
                self._current = self._read()
            except ConfigError as error:
                log.error("the certificate read before stays in use: %s", error)
                return None
            log.info("new certificate of the server: %s", self._files.certificate)
            return self._current

    def _read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        pair = _content("key", files.key), _content("certificate", files.certificate)
        authorities = _content("client_ca", files.client_ca) if files.client_ca is not None else None
        make_context(files, "publish.tls")
        if files.key.stat().st_mode & 0o077:
            log.warning("%s can be read by other users of this machine: chmod 600 it", files.key)
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"publish.tls.{name}: cannot read {path}: {error.strerror}") from error
