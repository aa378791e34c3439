"""Makes and reads resume tokens: a run of the streamer and a place in the log, signed with the key of the store."""

import base64
import binascii
import hashlib
import hmac
import struct
from functools import lru_cache

from streamer.store.values import ForgedToken

VERSION = 1
_FORM = struct.Struct(">B8sQ")  # version, run, sequence
_SIGNED = 16  # bytes of the HMAC-SHA256 that are kept


class ResumeTokens:
    """Makes tokens of one run and reads those of all runs."""

    def __init__(self, key: bytes, run: bytes) -> None:
        """`key`: secret of the store; `run`: 8 bytes that name the present run."""
        self._key = key
        self._run = run
        self.make = lru_cache(maxsize=256)(self._make)  # all subscribers get the same token for the same event

    def _make(self, sequence: int) -> str:
        """Return the token for a watch that has received everything up to this sequence of the log."""
        body = _FORM.pack(VERSION, self._run, sequence)
        return base64.urlsafe_b64encode(body + self._sign(body)).rstrip(b"=").decode()

    def read(self, token: str) -> tuple[bytes, int]:
        """Return the run and the sequence of a token. Raises ForgedToken if it is not one of this store."""
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ForgedToken from error
        body, signature = data[: _FORM.size], data[_FORM.size :]
        if len(body) != _FORM.size or not hmac.compare_digest(signature, self._sign(body)):
            raise ForgedToken
        version, run, sequence = _FORM.unpack(body)
        if version != VERSION:
            raise ForgedToken
        return run, sequence

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_SIGNED]
