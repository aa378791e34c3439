"""Makes and reads resume tokens: a run of the streamer and a place in the log, signed with the key of the store.

The token of a watch with a filter holds marks of the open tracks that were sent, too.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from functools import lru_cache

from streamer.store.values import ForgedToken

VERSION, WITH_MARKS = 1, 2
MARK = 5  # bytes
MAX_MARKS = 256
ALL = b"\xff" * MARK  # in place of the marks: every track may have been sent
_FORM = struct.Struct(">B8sQ")  # version, run, sequence
_SIGNED = 16  # bytes of the HMAC-SHA256 that are kept


class ResumeTokens:
    """Makes tokens of one run and reads those of all runs."""

    def __init__(self, key: bytes, run: bytes) -> None:
        """`key`: secret of the store; `run`: 8 bytes that name the present run."""
        self._key = key
        self._run = run
        self.make = lru_cache(maxsize=256)(self._make)  # all subscribers get the same token for the same event

    def _make(self, sequence: int, marks: frozenset[bytes] | None = None) -> str:
        """Return the token for a watch that has received everything up to this sequence of the log.

        `marks`: with a filter, those of the open tracks that were sent, at most MAX_MARKS; None: without a filter.
        """
        body = _FORM.pack(VERSION if marks is None else WITH_MARKS, self._run, sequence) + b"".join(sorted(marks or ()))
        return base64.urlsafe_b64encode(body + self._sign(body)).rstrip(b"=").decode()

    def read(self, token: str) -> tuple[bytes, int, frozenset[bytes]]:
        """Return the run, the sequence and the marks of a token: {ALL} if it is of a watch without a filter.

        Raises ForgedToken if it is not a token of this store.
        """
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ForgedToken from error
        body, signature = data[:-_SIGNED], data[-_SIGNED:]
        if len(body) < _FORM.size or not hmac.compare_digest(signature, self._sign(body)):
            raise ForgedToken
        version, run, sequence = _FORM.unpack(body[: _FORM.size])
        rest = body[_FORM.size :]
        if version == VERSION and not rest:
            return run, sequence, frozenset({ALL})
        if version == WITH_MARKS and len(rest) % MARK == 0:
            return run, sequence, frozenset(rest[at : at + MARK] for at in range(0, len(rest), MARK))
        raise ForgedToken

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_SIGNED]
