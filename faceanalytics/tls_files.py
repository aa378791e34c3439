"""Certificate files of a server in this process: read again when they change, and what a certificate says."""

import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from faceanalytics.errors import ConfigError

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name
STEPS = 10  # of a handshake in memory, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None  # only clients with a certificate of one of these authorities may connect

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str | None) -> "TlsFiles":
        """Return the files with these paths."""
        return cls(Path(certificate), Path(key), Path(client_ca) if client_ca is not None else None)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself."""

    begins: datetime  # UTC
    ends: datetime  # UTC
    hosts: tuple[str, ...]  # names and addresses that it is for


class ServerContext:
    """The TLS settings of a server, which follow their files. May be used from any thread."""

    def __init__(self, files: TlsFiles, section: str) -> None:
        """`section`: of the configuration, for messages. Raises ConfigError if the files cannot be used."""
        self._files = files
        self._section = section
        self._lock = Lock()
        self._version = stamp(files)
        self._context = make_context(files, section)

    def get(self) -> ssl.SSLContext:
        """Return what encrypts the next connection. Files that became unusable are logged, and those before stay."""
        with self._lock:
            version = stamp(self._files)
            if version != self._version:
                self._version = version
                try:
                    self._context = make_context(self._files, self._section)
                    log.info("%s: new certificate", self._section)
                except ConfigError as error:
                    log.error("the certificate read before stays in use: %s", error)
            return self._context


def stamp(files: TlsFiles) -> tuple[object, ...]:
    """Return what changes with the files, also if they are renamed or linked again."""
    found: list[object] = []
    for path in (files.certificate, files.key, files.client_ca):
        if path is None:
            continue
        try:
            status = path.stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def make_context(files: TlsFiles, section: str) -> ssl.SSLContext:
    """Return the TLS settings of a server. Raises ConfigError unless certificate and key belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key, password="")  # else OpenSSL asks the terminal
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"{section}: {files.certificate} and {files.key} are no certificate and its key, both in PEM form and the "
            f"key without a passphrase: {error}"
        ) from error
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"{section}.client_ca: {files.client_ca} has no certificates in PEM form: {error}"
            ) from error
    return context


def certificate_facts(certificate: Path, key: Path) -> CertificateFacts:
    """Return what the first certificate of a file says, by a handshake in memory: the key must belong to it.

    Raises ConfigError if the files cannot be used.
    """
    server_context = make_context(TlsFiles(certificate, key), str(certificate))
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client_context.load_verify_locations(certificate)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        client = client_context.wrap_bio(to_client, to_server)
        pending = [client, server]
        for _ in range(STEPS):
            pending = [side for side in pending if not _shakes(side)]
        found = client.getpeercert()
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(f"{certificate}: no certificate that can be used: {error}") from error
    if not found:
        raise ConfigError(f"{certificate}: no certificate that can be used")
    names = [str(name[1]) for name in found.get("subjectAltName", ()) if len(name) == 2]
    return CertificateFacts(_time(str(found["notBefore"])), _time(str(found["notAfter"])), tuple(names))


def _shakes(side: ssl.SSLObject) -> bool:
    """Take one step of a handshake; return whether it is over. Raises SSLError."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
