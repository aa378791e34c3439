"""The certificate of the gRPC server, read again when its files change."""

import logging
import ssl
from pathlib import Path
from threading import Lock

import grpc

from faceanalytics.errors import ConfigError
from streamer.safety import Tls

log = logging.getLogger(__name__)


class Certificates:
    """Certificate and key of the server. gRPC asks for them, from threads of its own, before each handshake."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigError if the files cannot be used together."""
        self._tls = tls
        self._lock = Lock()
        self._known = self._version()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._current,
            self._changed,  # type: ignore[arg-type]  # None means unchanged
            require_client_authentication=self._tls.client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files have now; None if they have not changed or are not usable."""
        with self._lock:
            version = self._version()
            if version == self._known:
                return None
            self._known = version
            try:
                self._current = self._read()
            except ConfigError as error:
                log.error("the certificate read before stays in use: %s", error)
                return None
            log.info("new certificate of the server: %s", self._tls.certificate)
            return self._current

    def _paths(self) -> dict[str, Path]:
        named = {"certificate": self._tls.certificate, "key": self._tls.key, "client_ca": self._tls.client_ca}
        return {name: Path(path) for name, path in named.items() if path is not None}

    def _version(self) -> tuple[object, ...]:
        """Return what changes with the files, also if they are renamed or linked again."""
        found: list[object] = []
        for path in self._paths().values():
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        contents = {}
        for name, path in self._paths().items():
            try:
                contents[name] = path.read_bytes()
            except OSError as error:
                raise ConfigError(f"publish.tls.{name}: cannot read {path}: {error.strerror}") from error
        check_pair(self._tls, "publish.tls")
        key = Path(self._tls.key)
        if key.stat().st_mode & 0o077:
            log.warning("%s can be read by other users of this machine: chmod 600 it", key)
        return grpc.ssl_server_certificate_configuration(
            [(contents["key"], contents["certificate"])], root_certificates=contents.get("client_ca")
        )


def check_pair(tls: Tls, section: str) -> None:
    """Raise ConfigError unless certificate and key belong together and the authorities can be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")  # else OpenSSL asks the terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"{section}: {tls.certificate} and {tls.key} are no certificate and its key, both in PEM form and the key "
            f"without a passphrase: {error}"
        ) from error
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"{section}.client_ca: {tls.client_ca} has no certificates in PEM form: {error}"
            ) from error
