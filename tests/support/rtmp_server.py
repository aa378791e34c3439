"""A real RTMP server for one client: FFmpeg's own, from the libraries that PyAV has loaded, sends an FLV file.

As a process: `python -m tests.support.rtmp_server rtmp://127.0.0.1:PORT/live/x clip.flv`, which prints `ready`.
"""

import ctypes
import sys
import time
from pathlib import Path

import av

WRITE = 2  # AVIO_FLAG_WRITE
CHUNK = 1000  # bytes per write, every PAUSE_S
PAUSE_S = 0.05


def library(name: str) -> ctypes.CDLL:
    """The library of FFmpeg that PyAV uses in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return ctypes.CDLL(next(line.split()[-1] for line in lines if f"/{name}" in line))


def serve(url: str, flv: Path) -> None:
    """Wait for a client that plays `url`, send it the file, and keep the connection open."""
    assert av.library_versions
    avformat, avutil = library("libavformat"), library("libavutil")
    options, target = ctypes.c_void_p(), ctypes.c_void_p()
    avutil.av_dict_set(ctypes.byref(options), b"listen", b"1", 0)
    print("ready", flush=True)
    if avformat.avio_open2(ctypes.byref(target), url.encode(), WRITE, None, ctypes.byref(options)) < 0:
        raise SystemExit("the client did not connect")
    data = flv.read_bytes()
    for start in range(0, len(data), CHUNK):
        part = data[start : start + CHUNK]
        avformat.avio_write(target, part, len(part))
        avformat.avio_flush(target)
        time.sleep(PAUSE_S)
    time.sleep(600)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
