"""Encrypts what is stored and must not be read from a copy of the disk: AES-256-GCM, with keys from a file or variable.

Each value is bound to a purpose, such as `streams.uri`, and to the row that it belongs to, so a value that is moved to
another row cannot be read there. The purpose also selects a key of its own, derived from the main one.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceanalytics.errors import ConfigError
from faceanalytics.extras import require

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VARIABLE = "FACEANALYTICS_ENCRYPTION_KEY"
KEY_BYTES, NONCE_BYTES, ID_BYTES = 32, 12, 4
FORM = b"\x01"  # first byte of what is sealed; neither JSON, JPEG nor a protobuf message begins with it
DIGEST_BYTES = 16  # of a fingerprint


class NotReadable(Exception):
    """A sealed value was changed, belongs elsewhere, or was sealed with another key."""


def new_key() -> str:
    """Return a new key as a line of text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read_keys(file: Path | None, environment: Mapping[str, str] = os.environ) -> "Sealer | None":
    """Return what encrypts with the keys in a file, else in $FACEANALYTICS_ENCRYPTION_KEY; None: there is neither.

    There is a key per line. The first one encrypts, and all decrypt, so a new key is put in front of the old ones.
    Raises ConfigError if a key cannot be used, MissingPackage without the package that encrypts.
    """
    if file is not None:
        origin = str(file)
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the encryption key {file}: {error}") from error
    else:
        origin, text = f"${VARIABLE}", environment.get(VARIABLE, "")
        if not text:
            return None
    return Sealer([_decoded(line, origin) for line in text.split()], origin)


def _decoded(line: str, origin: str) -> bytes:
    try:
        key = base64.b64decode(line, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{origin}: expected lines as `streamer keys encryption` writes them")
    return key


class Sealer:
    """Seals and opens values. Threads may share it."""

    def __init__(self, keys: Sequence[bytes], origin: str = "encryption key") -> None:
        """`keys`: 32 bytes each; the first one seals. Raises ConfigError without keys, MissingPackage."""
        require("security", "cryptography", use="encryption of what is stored")
        if not keys:
            raise ConfigError(f"{origin}: there is no key in it")
        self._keys = {hashlib.sha256(key).digest()[:ID_BYTES]: key for key in keys}
        self._first = hashlib.sha256(keys[0]).digest()[:ID_BYTES]
        self._derived: dict[tuple[bytes, str], bytes] = {}  # by key and purpose: there are few
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}

    @property
    def ids(self) -> list[str]:
        """What tells the keys apart, hexadecimal; the first one seals."""
        return [self._first.hex(), *(key.hex() for key in self._keys if key != self._first)]

    def seal(self, value: bytes, purpose: str, row: str = "") -> bytes:
        """Encrypt a value for a purpose and the row that it belongs to."""
        nonce = os.urandom(NONCE_BYTES)
        head = FORM + self._first
        return head + nonce + self._cipher(self._first, purpose).encrypt(nonce, value, head + row.encode())

    def open(self, sealed: bytes, purpose: str, row: str = "") -> bytes:
        """Decrypt what `seal` returned for this purpose and row. Raises NotReadable."""
        from cryptography.exceptions import InvalidTag

        head = sealed[: 1 + ID_BYTES]
        key, rest = head[1:], sealed[len(head) :]
        if head[:1] != FORM or key not in self._keys:
            raise NotReadable(f"{purpose}: sealed with a key that is not here, or damaged")
        try:
            return self._cipher(key, purpose).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + row.encode())
        except (InvalidTag, ValueError) as error:
            raise NotReadable(f"{purpose}: damaged, or of another row") from error

    def is_current(self, sealed: bytes) -> bool:
        """Return whether a value was sealed with the first key; if not, seal it again to retire the other one."""
        return sealed[: 1 + ID_BYTES] == FORM + self._first

    def fingerprints(self, value: str, purpose: str) -> list[str]:
        """Return what equal values have in common, with the first key first and then with each of the others.

        Nobody can compute it without the key, so it may be stored to search for values that are sealed.
        """
        secrets_by_id = {key: self._key(bytes.fromhex(key), purpose) for key in self.ids}
        digests = {key: hmac.digest(secret, value.encode(), "sha256") for key, secret in secrets_by_id.items()}
        return [f"{key}:{digest[:DIGEST_BYTES].hex()}" for key, digest in digests.items()]

    def _cipher(self, key: bytes, purpose: str) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        found = self._ciphers.get((key, purpose))
        if found is None:
            found = self._ciphers[key, purpose] = AESGCM(self._key(key, purpose))
        return found

    def _key(self, key: bytes, purpose: str) -> bytes:
        """Return the key that is derived from one for a purpose."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        found = self._derived.get((key, purpose))
        if found is None:
            found = HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(self._keys[key])
            self._derived[key, purpose] = found
        return found
