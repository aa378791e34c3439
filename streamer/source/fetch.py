"""Copy standard input, addresses and lists of files into files on this machine.

A copy can be read twice and has a hash, so an analysis of it repeats and can be annotated like that of any other file.
"""

import http.client
import os
import select
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from faceanalytics.errors import InputError
from faceanalytics.files import writing
from streamer.kinds import lower_scheme, redact, serve_hint, split_scheme
from streamer.source.choice import choose_stream
from streamer.source.decoder import demux
from streamer.source.lists import HLS, PLAYLISTS, allowed_formats, name_of_list
from streamer.source.network import WEB

TIMEOUT_S = 20.0  # longest wait for an answer, and for more data
LOOK_S = 0.2  # longest wait before the next look whether to stop
BLOCK = 1 << 20  # bytes read at once

PRINTED = "/%:=&?~+!$,;'@()*[]"  # stay as they are in the path of an address

DOWNLOADED = ("http", "https", "ftp")
RECORDED = {  # schemes of recordings that only FFmpeg reads -> the protocols it needs for them
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tcp,tls",
    "rtmpt": "rtmpt,ffrtmphttp,http,tcp",
    "mmsh": "mmsh,http,tcp",
    "mmst": "mmst,tcp",
    "gopher": "gopher,tcp",
    "gophers": "gophers,tcp,tls",
}


def copy_input(source: BinaryIO, out: Path, stopped: Callable[[], bool]) -> None:
    """Copy a pipe, such as standard input, into a file. Raises InputError if it is empty, and after `stopped`."""

    def blocks() -> Iterator[bytes]:
        while not stopped():
            if select.select([source], [], [], LOOK_S)[0]:
                block = os.read(source.fileno(), BLOCK)
                if not block:
                    return
                yield block
        raise InputError("standard input: stopped before its end")

    if not _write(blocks(), out):
        raise InputError("standard input: it is empty; send a video, such as `cat clip.mp4 | streamer analyze - ...`")


def copy_address(address: str, out: Path, stopped: Callable[[], bool]) -> None:
    """Copy the recording at an address into a file: as it is, or for HLS and RTMP its packets.

    Raises InputError if there is none, if it is live, and soon after `stopped` becomes true.
    """
    address = lower_scheme(address)
    scheme, _ = split_scheme(address)
    if scheme in DOWNLOADED:
        _download(address, out, stopped)
        if name_of_list(out):
            _record(address, out, {"protocol_whitelist": WEB, "format_whitelist": allowed_formats(HLS)}, stopped)
    elif scheme in RECORDED:
        options = {"protocol_whitelist": RECORDED[scheme], "format_whitelist": allowed_formats()}
        _record(address, out, options, stopped)
    else:
        raise InputError(f"{redact(address)}: {scheme}:// is not read; use {', '.join((*DOWNLOADED, *RECORDED))}")


def copy_list(path: Path, out: Path, stopped: Callable[[], bool]) -> None:
    """Copy the packets of the local files that a list names, such as m3u8 or ffconcat, into one file.

    Nothing is read from the network. Raises InputError.
    """
    options = {"protocol_whitelist": "file,crypto", "format_whitelist": allowed_formats(PLAYLISTS)}
    if "ffconcat" in name_of_list(path):
        options["safe"] = "0"  # the user has asked for these files, so they may be anywhere
    _record(f"file:{path}", out, options, stopped, shown=str(path))


def _download(address: str, out: Path, stopped: Callable[[], bool]) -> None:
    shown = redact(address)
    try:
        with _opener(address).open(_request(address), timeout=TIMEOUT_S) as answer:
            kind = answer.headers.get("Content-Type", "")
            if kind.startswith("multipart/"):
                raise InputError(f"{shown}: a camera (MJPEG), not a recording; {serve_hint(shown)}")
            expected = answer.headers.get("Content-Length")
            size = _write(_blocks(answer, shown, stopped), out)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"{shown}: {_reason(error.code, error.reason)}") from None
    except urllib.error.URLError as error:
        raise InputError(f"{shown}: cannot be reached: {_text(error.reason)}") from None
    except (http.client.InvalidURL, ValueError):  # whose text may contain a part of the password
        raise InputError(
            f"{shown}: not an address; write characters such as / # ? @ in a password as %2F %23 %3F %40"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{shown}: cannot be read: {_text(error)}") from None
    if expected is not None and size < int(expected):
        raise InputError(f"{shown}: the connection was lost after {size} of {expected} bytes")
    if not size:
        raise InputError(f"{shown}: the answer is empty")


def _request(address: str) -> urllib.request.Request:
    """Return the request for an address, without the login, which only goes out when the server asks for it."""
    parts = urlsplit(address)
    if parts.scheme != "ftp":
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    _ = parts.port  # raises ValueError if it is not a number, as after an unescaped password
    url = parts._replace(path=quote(parts.path, safe=PRINTED), query=quote(parts.query, safe=PRINTED)).geturl()
    return urllib.request.Request(url, headers={"User-Agent": f"faceanalytics/{version('faceanalytics')}"})  # noqa: S310


def _opener(address: str) -> urllib.request.OpenerDirector:
    parts = urlsplit(address)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        passwords.add_password(None, host, unquote(parts.username), unquote(parts.password or ""))
    return urllib.request.build_opener(
        _CloseRefusal, urllib.request.HTTPBasicAuthHandler(passwords), urllib.request.HTTPDigestAuthHandler(passwords)
    )


class _CloseRefusal(urllib.request.BaseHandler):
    """Close the answer that asks for a login before the others send it: urllib leaves its connection open."""

    handler_order = 100

    def http_error_401(self, _request: object, answer: BinaryIO, *_: object) -> None:
        answer.close()


def _blocks(answer: BinaryIO, shown: str, stopped: Callable[[], bool]) -> Iterator[bytes]:
    while block := answer.read(BLOCK):
        if stopped():
            raise InputError(f"{shown}: stopped before it began")
        yield block


def _write(blocks: Iterator[bytes], out: Path) -> int:
    """Write the blocks into a file and return its size. Raises ConfigError if it cannot be written."""
    size = 0
    with writing(out):
        file = out.open("wb")
    with file:
        for block in blocks:
            with writing(out):
                file.write(block)
            size += len(block)
    return size


def _reason(code: int, reason: str) -> str:
    if code in (401, 403):
        return f"user name or password rejected ({code})"
    return f"no such file on the server ({code})" if code == 404 else f"the server answers {code} {reason}"


def _text(error: object) -> str:
    return getattr(error, "strerror", None) or str(error)


def _record(
    address: str, out: Path, options: dict[str, str], stopped: Callable[[], bool], shown: str | None = None
) -> None:
    """Copy the packets of what FFmpeg opens into a NUT file, which keeps every codec and every time."""
    shown, network = shown or redact(address), shown is None
    try:
        with av.open(
            address, "r", container_options=options, timeout=(TIMEOUT_S, TIMEOUT_S), metadata_errors="replace"
        ) as source:
            if source.duration is None and (network or source.format.name == "hls"):
                hint = serve_hint(shown) if network else "it has no end (#EXT-X-ENDLIST)"
                raise InputError(f"{shown}: a live stream, not a recording; {hint}")
            with av.open(str(out), "w", format="nut") as target:
                _copy(source, target, shown, stopped)
    except FFmpegError as error:
        message = f"{shown}: cannot be read: {error.strerror}"
    else:
        return
    raise InputError(message)  # not from the error: its text contains the password


def _copy(source: InputContainer, target: OutputContainer, shown: str, stopped: Callable[[], bool]) -> None:
    """Copy the video that would be analysed, and the first sound. Times that step back go on from where they were."""
    wanted = [choose_stream(source, shown).stream, *source.streams.audio[:1]]
    copies = {stream.index: target.add_stream_from_template(stream) for stream in wanted}
    last: dict[int, int] = {}
    shift = dict.fromkeys(copies, 0)
    for packet in demux(source, *wanted):
        if stopped():
            raise InputError(f"{shown}: stopped before it began")
        if not packet.size:
            continue
        _continue(packet, last, shift)
        packet.stream = copies[packet.stream.index]
        target.mux(packet)


def _continue(packet: "Packet[Stream]", last: dict[int, int], shift: dict[int, int]) -> None:
    """Shift the times of a packet behind those of the last one of its stream, as a muxer requires."""
    index = packet.stream.index
    dts = packet.dts if packet.dts is not None else packet.pts
    if dts is None:
        dts = last.get(index, -1) + 1
        packet.pts = dts
    moved = dts + shift[index]
    if index in last and moved <= last[index]:
        shift[index] += last[index] + max(1, packet.duration or 1) - moved
        moved = dts + shift[index]
    packet.pts = None if packet.pts is None else packet.pts + shift[index]
    packet.dts = moved
    last[index] = moved
