"""Sessions: who has signed in with which token, in a signed cookie. Nothing is kept but which ones have ended."""

import base64
import binascii
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field

from streamer.access.quotas import Bucket

OF_CSRF = b"csrf"
RENEWED = 0.1  # share of its time after which the cookie of somebody who looks is renewed
KEPT_ENDED = 10_000  # sessions that ended by signing out
PER_SECOND, BURST = 0.2, 10.0  # attempts to sign in from one address
ADDRESSES = 1000  # whose attempts are counted


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in."""

    id: str  # random
    token: str  # SHA-256 of the token, 64 hexadecimal digits
    begun: float  # s, Unix time of this cookie
    ends: float  # s, Unix time


class Sessions:
    """Makes and reads the cookies of sessions."""

    def __init__(self, key: bytes, hours: float) -> None:
        """`key`: secret bytes, which sign. `hours`: a session ends this long after the last look."""
        self._key = key
        self._lasts = hours * 3600
        self._ended: dict[str, float] = {}  # id of a session -> when its cookie would end

    @property
    def lasts_s(self) -> int:
        """How long a cookie lasts, in seconds."""
        return round(self._lasts)

    def begin(self, token: str, session_id: str = "") -> Session:
        """Return a session of a token, given by its hash; with an id: the same session for longer."""
        now = time.time()
        return Session(session_id or secrets.token_urlsafe(18), token, now, now + self._lasts)

    def write(self, session: Session) -> str:
        """Return the value of the cookie."""
        text = json.dumps([session.id, session.token, round(session.begun), round(session.ends)])
        body = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return f"{body}.{self._signed(body)}"

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it is forged, too old, or was ended."""
        body, _, signature = cookie.partition(".")
        if not cookie.isascii() or not hmac.compare_digest(self._signed(body), signature):
            return None
        try:
            values = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        session = Session(*values)
        return session if session.ends > time.time() and session.id not in self._ended else None

    def renewed(self, session: Session) -> Session | None:
        """Return the same session for longer, if some of its time is over."""
        if time.time() - session.begun < RENEWED * self._lasts:
            return None
        return self.begin(session.token, session.id)

    def end(self, session: Session) -> None:
        """End a session: its cookies are not read any longer."""
        now = time.time()
        self._ended = {one: ends for one, ends in self._ended.items() if ends > now}
        self._ended[session.id] = now + self._lasts
        while len(self._ended) > KEPT_ENDED:
            del self._ended[next(iter(self._ended))]

    def csrf(self, session: Session | None) -> str:
        """Return what a page sends with each change, so that no other page can make one."""
        return hmac.digest(self._key, OF_CSRF + (session.id if session else "").encode(), "sha256").hex()[:32]

    def _signed(self, body: str) -> str:
        digest = hmac.digest(self._key, body.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(slots=True)
class Attempts:
    """Attempts to sign in, by address."""

    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def allowed(self, address: str) -> bool:
        """Count an attempt; return whether it is not one too many."""
        bucket = self._buckets.pop(address, None) or Bucket(PER_SECOND, BURST)
        self._buckets[address] = bucket
        if len(self._buckets) > ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(time.monotonic())

    def forget(self, address: str) -> None:
        """Forget the attempts from an address: somebody has signed in from there."""
        self._buckets.pop(address, None)
