"""What a client of the API may ask of a stream: files are named by the configuration."""

from faceanalytics.errors import ConfigError
from streamer.config import Stream

FILES = ("uri_file", "tls_ca_file")  # settings that name files on this machine, other than the uri


def check_allowed(stream: Stream, before: Stream | None) -> None:
    """Raise ConfigError if settings that come over the API name a file that the stream did not have before.

    The streamer reads these files and shows part of their content, so a client could read any file through them.
    """
    for name in FILES:
        value = getattr(stream, name)
        if value is not None and value != getattr(before, name, None):
            raise ConfigError(f"settings.{name}: name this file in the streamer's configuration, not over the API")
