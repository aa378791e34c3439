"""Galleries in one encrypted file: records of bytes, sealed in parts with a key that is made of a passphrase.

The file begins with MAGIC, the length of a header (4 bytes, big endian) and the header as JSON: version, the numbers of
scrypt and its salt, and what tells a wrong passphrase from a damaged file. Then come parts of PART bytes, encrypted
with AES-256-GCM. The nonce of each is its number and whether it is the last one, so that no part can be left out,
exchanged or added; all are bound to the header. The parts together are records, each after its length (4 bytes).
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.extras import require
from faceanalytics.files import replacing
from faceanalytics.names import printable

SUFFIX = ".fagallery"
MAGIC = b"FAGALLERY\n"
VERSION = 1
PART = 1 << 16  # bytes of content that are sealed together
TAG = 16  # bytes that AES-GCM adds
COST = 1 << 17  # of scrypt: 128 MiB and some tenths of a second
COSTS = (1 << 14, 1 << 18)  # least and most that is accepted from a file
SHORTEST = 8  # characters of a passphrase
MOST_HEADER = 4096  # bytes
MOST_RECORD = 1 << 20  # bytes
SALT = 16  # bytes


def checked_passphrase(text: str) -> str:
    """Return a passphrase for a new file. Raises ConfigError if it is too short to protect anything."""
    if len(text) < SHORTEST:
        raise ConfigError(f"the passphrase must have at least {SHORTEST} characters; use some unusual words")
    return text


def write_gallery(path: Path, passphrase: str, records: Iterable[bytes]) -> None:
    """Write records into a new file that only its owner may read. It appears when it is complete.

    Raises ConfigError for a short passphrase, or if the file exists or cannot be written; MissingPackage.
    """
    require("security", "cryptography", use="an encrypted gallery")
    checked_passphrase(passphrase)
    if path.exists():
        raise ConfigError(f"{printable(path)}: exists already; choose another name, or remove it")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with replacing(path) as partial, os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
        _write(file, passphrase, records)
        file.flush()
        os.fsync(file.fileno())


def read_gallery(path: Path, passphrase: str) -> Iterator[bytes]:
    """Yield the records of a file. Raises InputError if it was changed or cut off, ConfigError, MissingPackage.

    What is wrong with a later part shows only when it is reached: `check_gallery` reads all of it.
    """
    require("security", "cryptography", use="an encrypted gallery")
    try:
        with path.open("rb") as file:
            yield from _records(_parts(file, passphrase, printable(path)), printable(path))
    except OSError as error:
        raise InputError(f"{printable(path)}: {error.strerror}") from error


def check_gallery(path: Path, passphrase: str) -> None:
    """Read all of a file, so that nothing is done with the first part of one that is damaged. Raises as above."""
    for _ in read_gallery(path, passphrase):
        pass


def is_gallery(path: Path) -> bool:
    """Return whether a file begins as one of these does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _write(file: BinaryIO, passphrase: str, records: Iterable[bytes]) -> None:
    salt = os.urandom(SALT)
    key, check = _keys(passphrase, salt, COST)
    public = {"version": VERSION, "kdf": "scrypt", "n": COST, "r": 8, "p": 1, "salt": salt.hex(), "part": PART}
    header = json.dumps({**public, "check": _check(check, public)}).encode()
    file.write(MAGIC + len(header).to_bytes(4) + header)
    waiting, number = bytearray(), 0
    for record in records:
        if len(record) > MOST_RECORD:
            raise ValueError(f"a record of {len(record)} bytes")
        waiting += len(record).to_bytes(4) + record
        while len(waiting) > PART:  # one part is kept back, because the last one is marked
            file.write(_seal(key, header, number, False, bytes(waiting[:PART])))
            del waiting[:PART]
            number += 1
    file.write(_seal(key, header, number, True, bytes(waiting)))


def _parts(file: BinaryIO, passphrase: str, name: str) -> Iterator[bytes]:
    """Yield the content, decrypted."""
    from cryptography.exceptions import InvalidTag

    header, public = _header(file, name)
    key, check = _keys(passphrase, bytes.fromhex(public["salt"]), public["n"])
    given = public.pop("check")
    if not hmac.compare_digest(_check(check, public), given):
        raise InputError(f"{name}: the passphrase is wrong, or the beginning of the file is damaged")
    sealed, number = file.read(PART + TAG), 0
    while True:
        following = file.read(PART + TAG)
        try:
            yield _open(key, header, number, not following, sealed)
        except (InvalidTag, ValueError) as error:
            raise InputError(
                f"{name}: the file is damaged, was changed, or is cut off (after {number * PART} bytes of content)"
            ) from error
        if not following:
            return
        sealed, number = following, number + 1


def _records(parts: Iterable[bytes], name: str) -> Iterator[bytes]:
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= 4:
            length = int.from_bytes(waiting[:4])
            if length > MOST_RECORD:
                raise InputError(f"{name}: a record of {length} bytes, at most {MOST_RECORD} are allowed")
            if len(waiting) < 4 + length:
                break
            yield bytes(waiting[4 : 4 + length])
            del waiting[: 4 + length]
    if waiting:
        raise InputError(f"{name}: the last record is not complete")


def _header(file: BinaryIO, name: str) -> tuple[bytes, dict[str, Any]]:
    """Return the header as it stands there, and what it says. Raises InputError."""
    if file.read(len(MAGIC)) != MAGIC:
        raise InputError(f"{name}: this is no gallery that `streamer people export` or fa.Gallery.save has written")
    length = int.from_bytes(file.read(4))
    header = file.read(length) if length <= MOST_HEADER else b""
    try:
        public = json.loads(header)
        version, cost = public["version"], public["n"]
        fits = public["kdf"] == "scrypt" and (public["r"], public["p"], public["part"]) == (8, 1, PART)
        fits = fits and isinstance(public["check"], str) and len(bytes.fromhex(public["salt"])) == SALT
        fits = fits and isinstance(cost, int) and COSTS[0] <= cost <= COSTS[1] and cost & (cost - 1) == 0
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: the beginning of the file is damaged or cut off") from error
    if version != VERSION:
        raise InputError(f"{name}: has version {version}, and this program reads version {VERSION}: update it")
    if not fits:
        raise InputError(f"{name}: the beginning of the file is damaged")
    return header, public


def _keys(passphrase: str, salt: bytes, cost: int) -> tuple[bytes, bytes]:
    """Return the key of the parts and that of the check of the header, 32 bytes each."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    both = Scrypt(salt=salt, length=64, n=cost, r=8, p=1).derive(passphrase.encode())
    return both[:32], both[32:]


def _check(key: bytes, public: dict[str, Any]) -> str:
    return hmac.digest(key, json.dumps(public, sort_keys=True).encode(), "sha256").hex()


def _seal(key: bytes, header: bytes, number: int, last: bool, content: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(_nonce(number, last), content, hashlib.sha256(header).digest())


def _open(key: bytes, header: bytes, number: int, last: bool, sealed: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).decrypt(_nonce(number, last), sealed, hashlib.sha256(header).digest())


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])
