"""What an address refers to, how it is printed, which kinds are switched on, and which paths the API may name."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from faceanalytics.errors import ConfigError
from faceanalytics.names import printable

SourceKind = Literal["rtsp", "file", "images", "http", "rtmp", "srt", "device"]

SCHEMES: dict[str, SourceKind] = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "http": "http",
    "https": "http",
    "rtmp": "rtmp",
    "rtmps": "rtmp",
    "rtmpt": "rtmp",
    "rtmpts": "rtmp",
    "srt": "srt",
}
DEVICES = Path("/dev")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_MISTYPED = re.compile(r"\s*(rtsps?(:|//|/.*@)|[\w+.-]*//[^/]*@|[^/]*:.*@)", re.IGNORECASE | re.DOTALL)


def split_scheme(uri: str) -> tuple[str, str]:
    """Split an address into its scheme (empty without one) and the rest."""
    match = _SCHEME.match(uri)
    return (match[1], uri[match.end() :]) if match else ("", uri)


def lower_scheme(address: str) -> str:
    """Return an address with its scheme in lower case, as FFmpeg requires."""
    scheme, rest = split_scheme(address)
    return f"{scheme.lower()}://{rest}" if scheme else address


def redact(uri: str) -> str:
    """Return an address for printing: without user, password and query. In a path, what looks like them is masked."""
    uri = printable(uri)
    scheme, rest = split_scheme(uri)
    if scheme.lower() in ("", "file"):
        return uri[: len(uri) - len(rest)] + re.sub(r"[^/:@]*:.*@", "***@", rest, flags=re.DOTALL)
    rest = rest.rpartition("@")[2]  # the last @: a password may hold / ? or # as well
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"


def check_not_mistyped(uri: str, field: str) -> None:
    """Raise ValueError for an address that would pass for a path: paths are printed in full, password included."""
    scheme, path = split_scheme(uri)
    if scheme.lower() in ("", "file") and _MISTYPED.match(path):
        raise ValueError(
            f"{field}: looks like a mistyped address; write rtsp://USER:PASSWORD@HOST/PATH, "
            f"or put ./ before the name of a file"
        )


def refuse_address(text: str) -> None:
    """Raise ConfigError, without a password, for an address in the place of a file."""
    shown = redact(text)
    try:
        check_not_mistyped(text, shown)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    scheme = split_scheme(text)[0].lower()
    if scheme in ("rtsp", "rtsps"):
        raise ConfigError(f"{shown} is a camera, not a file; {serve_hint(shown)}")
    if scheme not in ("", "file"):
        raise ConfigError(f"{shown} is an address, not a file; only `streamer analyze --allow-url` reads addresses")


def serve_hint(shown: str) -> str:
    """Return what to do with a live address, which is printed as `shown`."""
    return f"cameras belong to the live streamer: streamer serve --camera NAME={shown}"


def local_path(address: str) -> Path | None:
    """Return the path of the file, folder or device that an address refers to, or None for a network address."""
    scheme, rest = split_scheme(address)
    if not scheme:
        return Path(address)
    return Path(unquote(rest)) if scheme.lower() == "file" else None


def kind_of(address: str) -> SourceKind:
    """Return the kind of source behind an address. Raises ValueError for a scheme of no kind.

    A path is that of a video, unless it is in /dev or a folder at this moment.
    """
    path = local_path(address)
    if path is None:
        scheme = split_scheme(address)[0].lower()
        if scheme not in SCHEMES:
            raise ValueError(f"{scheme}:// is not supported; use {', '.join(SCHEMES)} or a path")
        return SCHEMES[scheme]
    if path.is_relative_to(DEVICES):
        return "device"
    try:
        return "images" if path.is_dir() else "file"
    except (OSError, ValueError):  # a name that no file can have
        return "file"


def check_allowed(address: str, allow: Collection[str]) -> None:
    """Raise ValueError if the kind of this address is not in `allow`, which is `sources.allow`."""
    kind = kind_of(address)
    if kind not in allow:
        raise ValueError(f"{redact(address)} is a source of the kind {kind}, which is off; add {kind} to sources.allow")


def check_from_client(address: str, allow: Collection[str], folders: Sequence[str]) -> None:
    """Raise ValueError if a client of the API may not use this address: a path must be below one of `folders`.

    Symbolic links are resolved. The messages about paths do not depend on what exists outside the folders, so that a
    client cannot look around with them.
    """
    path = local_path(address)
    if path is not None:
        check_path_from_client(path, folders)
    check_allowed(address, allow)


def check_path_from_client(path: Path, folders: Sequence[str], setting: str = "sources.folders") -> None:
    """Raise ValueError unless `path` is below one of `folders`, which is this setting, with its links resolved."""
    if not folders:
        raise ValueError(f"paths are not accepted over gRPC; list the folders that clients may use in {setting}")
    try:
        real = path.resolve()
        inside = any(real.is_relative_to(Path(folder).resolve()) for folder in folders)
    except (OSError, ValueError, RuntimeError):  # a loop of links, or a name that no file can have
        inside = False
    if not inside:
        raise ValueError(f"the path is not below any folder of {setting}")


_VIDEO_SUFFIXES = frozenset({".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".h264", ".264", ".h265", ".hevc", ".dv"})
_STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def is_video_content(start: bytes, suffix: str) -> bool:
    """Return whether a file that begins like this is a video, by its content, else by the suffix of its name."""
    if start[4:8] == b"ftyp":
        return start[8:12] not in _STILL_BRANDS
    if start.startswith((b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x00\x00\x01\xba")):
        return True
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    return suffix.lower() in _VIDEO_SUFFIXES
