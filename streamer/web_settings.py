"""Settings of the dashboard."""

import os
from typing import Annotated

from pydantic import Field

from faceanalytics.errors import ConfigError
from streamer.safety import Address, Tls, is_loopback
from streamer.section import Section

LISTEN = "127.0.0.1:8080"
VARIABLE = "FACEANALYTICS_WEB_LISTEN"
Hours = Annotated[float, Field(gt=0, le=8760, allow_inf_nan=False)]


def _usual() -> str | None:
    named = os.environ.get(VARIABLE, LISTEN)
    return None if named == "none" else named


class Web(Section):
    listen: Address | None = Field(default_factory=_usual, validate_default=True)
    """Address of the dashboard, host:port; null starts none. If it is not set: $FACEANALYTICS_WEB_LISTEN (or none),
    else 127.0.0.1:8080. One that other machines can reach needs tls, and a store or access.folder for tokens."""
    tls: Tls | None = None
    """Certificate and key of the dashboard, as in publish.tls."""
    insecure: bool = False
    """Listen on an address that other machines can reach without TLS, and without tokens until one is made. Whoever
    reaches it can then see faces and change cameras."""
    hosts: tuple[str, ...] = ()
    """Names under which browsers may ask for the dashboard, such as those of a proxy before it. The names of this
    machine itself (localhost) and numbers are always among them; empty: on a reachable address, any name."""
    session_hours: Hours = 24.0
    """Ask for the token again after this many hours without a look at the dashboard."""
    pictures_per_second: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Most pictures per second and camera for those who watch live."""
    picture_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Most of one processor core that pictures for those who watch may take. Beyond it they get fewer."""

    def check(self, has_tokens: bool) -> None:
        """Raise ConfigError if other machines could reach the dashboard without TLS or tokens.

        `has_tokens`: there is a place for tokens.
        """
        if self.listen is None:
            return
        if self.tls is not None and self.insecure:
            raise ConfigError("web.insecure: remove it, web.tls is set (or remove web.tls)")
        if self.insecure or is_loopback(self.listen.rpartition(":")[0]):
            return
        missing = ["web.tls: {certificate: server.pem, key: server-key.pem}"] if self.tls is None else []
        missing += [] if has_tokens else ["a store or access: {folder: access}, for the tokens of those who look"]
        if missing:
            raise ConfigError(
                f"web.listen: other machines can reach {self.listen}, so it needs " + " and ".join(missing) + ". "
                "`streamer keys certificate` makes the files, `streamer tokens create` a token; see docs/security.md. "
                "Only in a network that you trust: web.insecure: true"
            )
