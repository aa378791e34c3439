"""Signs requests as https://www.standardwebhooks.com describes, so that its libraries can verify them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from faceanalytics.errors import ConfigError
from streamer.sink_settings import WebhookSink

_PREFIX = "whsec_"  # of a secret in Base64
SHORTEST = 16  # bytes of a secret


def read_secrets(settings: WebhookSink) -> list[bytes]:
    """Return the secrets that sign, often one or none; a file may have several, one per line, while they change.

    Raises ConfigError, which does not show them.
    """
    if settings.secret_file is None:
        return [_secret(settings.secret, f"sink {settings.name}: secret")] if settings.secret else []
    origin = f"sink {settings.name}: secret_file {settings.secret_file}"
    try:
        text = Path(settings.secret_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{origin}: cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"{origin}: is empty; write a secret of at least {SHORTEST} characters")
    return [_secret(line, origin) for line in lines]


def _secret(text: str, origin: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else b""
    except binascii.Error as error:
        raise ConfigError(f"{origin}: behind {_PREFIX} must be Base64") from error
    secret = secret or text.encode()
    if len(secret) < SHORTEST:
        raise ConfigError(f"{origin}: has {len(secret)} bytes, at least {SHORTEST} are needed")
    return secret


def signature(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`: one signature per secret, separated by spaces.

    `timestamp`: Unix time of the request, in seconds.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    made = [hmac.digest(secret, signed, hashlib.sha256) for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in made)
