"""Files that make FFmpeg read other files or the network: which demuxers do so, and what such a file is called."""

from functools import cache
from pathlib import Path

import av
from av.format import ContainerFormat

# They open what a file names: playlists, lists of files, descriptions of network streams, numbered images beside a
# name with %d or *, scripts. Not all of them are in every build of FFmpeg.
HLS = frozenset({"dash", "hls"})  # playlists of segments, as cameras and web sites offer them
PLAYLISTS = HLS | {"concat", "imf"}
OTHERS = frozenset({"avisynth", "dvdvideo", "image2", "rtp", "rtsp", "sap", "sdp", "vapoursynth", "vobsub"})
TEXT = frozenset({"adf", "bin", "idf", "tty", "xbin"})  # FFmpeg renders text files as video

HEAD = 4096  # bytes at the start of a file in which a list shows what it is
LISTS = (  # what such a file contains, in lower case -> its name
    ("#extm3u", "an m3u8 playlist"),
    ("ffconcat version", "an ffconcat list"),
    ("<mpd", "a DASH manifest"),
    ("<compositionplaylist", "an IMF playlist"),
    ("<smil", "a SMIL playlist"),
    ("<asx", "an ASX playlist"),
    ("<playlist", "an XSPF playlist"),
)
FOLLOWED = frozenset(name for _, name in LISTS[:4])  # FFmpeg has demuxers for these


@cache
def allowed_formats(playlists: frozenset[str] = frozenset()) -> str:
    """Return FFmpeg's `format_whitelist`: every demuxer that reads one file, and those of `playlists`."""
    refused = (PLAYLISTS - playlists) | OTHERS | TEXT
    return ",".join(name for name in sorted(av.formats_available) if _reads(name) and not refused & {*name.split(",")})


def name_of_list(path: Path) -> str:
    """Return what kind of list a file is, such as "an m3u8 playlist"; empty if it is not a known one."""
    with path.open("rb") as file:
        head = file.read(HEAD).decode("latin-1").lower().removeprefix("\xef\xbb\xbf").lstrip()
    if head.startswith("v=0") and "\nm=" in head:
        return "an SDP description of a network stream"
    first = head.partition("\n")[0]
    return next((name for mark, name in LISTS if mark in (head if mark[0] == "<" else first)), "")


def _reads(name: str) -> bool:
    try:
        return ContainerFormat(name, "r").is_input
    except ValueError:  # a muxer only
        return False
