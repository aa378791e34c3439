"""The key of each person. Whoever destroys it destroys all that is stored about the person."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamer.encryption import FORM, KEY_BYTES, NotReadable, Sealer
from streamer.values import Floats

PURPOSE = "person_keys.key"
PLAIN = b"\x00"  # first byte of a key that is not encrypted; that of an encrypted one is FORM
EMBEDDING = 512 * 4  # bytes


class Keys:
    """Makes and reads the keys of people, which are stored encrypted if the store has a key."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def new(self, owner: str) -> tuple[bytes, "Sealed"]:
        """Make a key. Returns it as it is stored, and what seals with it. Raises MissingPackage."""
        key = secrets.token_bytes(KEY_BYTES)
        return self._wrapped(key, owner), Sealed(Sealer([key]))

    def read(self, stored: bytes, owner: str) -> "Sealed":
        """Return what seals with a stored key. Raises NotReadable and MissingPackage."""
        return Sealed(Sealer([self._unwrapped(stored, owner)]))

    def renewed(self, stored: bytes, owner: str) -> bytes | None:
        """Return a key as it would be stored today; None: it is. Raises NotReadable."""
        current = stored[:1] == PLAIN if self._sealer is None else self._sealer.is_current(bytes(stored))
        return None if current else self._wrapped(self._unwrapped(stored, owner), owner)

    def _wrapped(self, key: bytes, owner: str) -> bytes:
        return PLAIN + key if self._sealer is None else self._sealer.seal(key, PURPOSE, owner)

    def _unwrapped(self, stored: bytes, owner: str) -> bytes:
        if stored[:1] == PLAIN:
            return bytes(stored[1:])
        if self._sealer is None or stored[:1] != FORM:
            raise NotReadable("the keys of people are encrypted: name the key with store.key_file")
        return self._sealer.open(bytes(stored), PURPOSE, owner)


class Sealed:
    """Seals and opens the values of one person. Each is bound to the row that it belongs to."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def data(self, data: Mapping[str, Any], row: object) -> bytes:
        """Seal plain data as JSON."""
        return self._sealer.seal(json.dumps(data, ensure_ascii=False).encode(), "data", str(row))

    def read_data(self, sealed: bytes, row: object) -> dict[str, Any]:
        """Return what `data` sealed. Raises NotReadable."""
        found: dict[str, Any] = json.loads(self._sealer.open(bytes(sealed), "data", str(row)))
        return found

    def vector(self, vector: Floats, row: str) -> bytes:
        """Seal an embedding (512,)."""
        return self._sealer.seal(np.ascontiguousarray(vector, "<f4").tobytes(), "embedding", row)

    def read_vector(self, sealed: bytes, row: str) -> Floats:
        """Return what `vector` sealed. Raises NotReadable."""
        content = self._sealer.open(bytes(sealed), "embedding", row)
        if len(content) != EMBEDDING:
            raise NotReadable(f"embedding {row}: {len(content)} bytes, expected {EMBEDDING}")
        return np.frombuffer(content, "<f4").astype(np.float32)

    def picture(self, jpeg: bytes, row: str) -> bytes:
        """Seal a picture."""
        return self._sealer.seal(jpeg, "crop", row)

    def read_picture(self, sealed: bytes, row: str) -> bytes:
        """Return what `picture` sealed. Raises NotReadable."""
        return self._sealer.open(bytes(sealed), "crop", row)
