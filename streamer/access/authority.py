"""Makes a certificate for the gRPC server, signed by an authority of its own, for those who have no other."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require
from faceanalytics.files import complete_or_absent, writing

if TYPE_CHECKING:
    from cryptography import x509

CA, CA_KEY, SERVER, SERVER_KEY = "ca.pem", "ca-key.pem", "server.pem", "server-key.pem"
CA_DAYS = 3650


def make_certificate(folder: Path, hosts: Sequence[str], days: int) -> None:
    """Write server.pem and server-key.pem for these names and addresses; without an authority, one is made.

    Raises ConfigError if the folder cannot be written or read, MissingPackage without the package that makes them.
    """
    require("security", "cryptography", use="`streamer keys certificate`")
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def secret(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # clocks of clients may be behind
            .not_valid_after(now + timedelta(days=lifetime))
        )

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / CA_KEY).exists():
        ca_key = ec.generate_private_key(ec.SECP256R1())
        name = named("faceanalytics")
        made = builder(name, name, ca_key, CA_DAYS).add_extension(x509.BasicConstraints(True, 0), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        _write(folder / CA_KEY, secret(ca_key))
        _write(folder / CA, made.sign(ca_key, SHA256()).public_bytes(Encoding.PEM), 0o644)
    try:
        ca = x509.load_pem_x509_certificate((folder / CA).read_bytes())
        loaded = load_pem_private_key((folder / CA_KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{folder}: cannot read {CA} and {CA_KEY}: {error}") from error
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    made = builder(named(hosts[0]), ca.subject, key, days)
    made = made.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    made = made.add_extension(x509.BasicConstraints(False, None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    _write(folder / SERVER_KEY, secret(key))
    _write(folder / SERVER, made.sign(loaded, SHA256()).public_bytes(Encoding.PEM), 0o644)


def _host(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ConfigError(f"{host!r} is neither the name nor the address of a machine") from error


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file; it is never readable by more than `mode` says."""
    with writing(path), complete_or_absent(path) as partial:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
