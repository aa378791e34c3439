"""What a client of the API may name: addresses of allowed kinds, and files below allowed folders."""

from pathlib import Path

from faceanalytics.errors import ConfigError
from streamer.config import Sources, Stream
from streamer.kinds import check_from_client, check_path_from_client


def check_allowed(stream: Stream, before: Stream | None, sources: Sources) -> None:
    """Raise ConfigError if settings that come over the API name an address or a file that clients may not use.

    What the stream had `before` may stay. The streamer reads these files and shows part of their content, so a client
    could otherwise read any file through them.
    """
    for name in ("uri", "uri_file", "tls_ca_file"):
        value = getattr(stream, name)
        if not value or (before is not None and value == getattr(before, name)):
            continue
        try:
            if name == "uri":
                check_from_client(value, sources.allow, sources.folders)
            else:
                check_path_from_client(Path(value), sources.folders)
            if name == "uri_file":
                check_from_client(stream.address(), sources.allow, sources.folders)
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"settings.{name}: {error}") from error
