"""A small real web server with cameras: MJPEG as multipart, files, HLS, passwords, and requests that hang."""

import base64
import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2

from tests.support.videos import image


class WebCamera(ThreadingHTTPServer):
    """Serves the files of `folder`; /camera.mjpg is a camera, /silent never answers, /private/ needs a password."""

    daemon_threads = True

    def __init__(self, folder: Path, fps: float = 20.0, login: str = "") -> None:
        self.fps, self.login = fps, login
        self.asked: list[str] = []  # paths, in order
        self.frozen, self.closing = threading.Event(), threading.Event()
        self.cut = threading.Event()  # ends the connections of the camera once
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    def url(self, path: str, login: str = "") -> str:
        return f"http://{login and login + '@'}127.0.0.1:{self.server_address[1]}/{path}"


class _Handler(SimpleHTTPRequestHandler):
    server: WebCamera

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        place = self.path.partition("?")[0]
        token = "Basic " + base64.b64encode(self.server.login.encode()).decode()
        if place == "/silent":
            self.server.closing.wait()
        elif self.server.login and self.headers.get("Authorization") != token:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        elif place == "/camera.mjpg":
            with contextlib.suppress(OSError):  # the client has gone
                self._camera()
        elif place == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
        else:
            super().do_GET()

    def _camera(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number, start = 0, time.monotonic()
        while not self.server.closing.wait(max(0.0, start + number / self.server.fps - time.monotonic())):
            if self.server.cut.is_set():
                self.server.cut.clear()
                return
            if not self.server.frozen.is_set():
                jpeg = cv2.imencode(".jpg", image(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            number += 1

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""


@contextlib.contextmanager
def web_camera(folder: Path, fps: float = 20.0, login: str = "") -> Iterator[WebCamera]:
    """A server that runs until the block ends."""
    with WebCamera(folder, fps, login) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def to_hls(video: Path, folder: Path, segment_s: float = 1.0, live: bool = False) -> Path:
    """Cut a video into segments and a playlist, `folder`/live.m3u8; with `live` it does not say that it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    playlist = folder / "live.m3u8"
    options = {
        "hls_time": str(segment_s),
        "hls_list_size": "0",
        "hls_segment_filename": str(folder / "segment%03d.ts"),
    }
    with av.open(str(video)) as source, av.open(str(playlist), "w", format="hls", options=options) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    if live:
        playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))
    return playlist
