"""Draw the results of a recorded analysis into a copy of the video, with the timestamps of the source."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file, never, partial_name, replacing
from streamer.recorded.reader import Face, ResultReader
from streamer.recorded.sound import add_sound, has_sound
from streamer.source.file import TruncatedVideo, decode_file
from streamer.source.picture import DecodedFrame
from streamer.values import Bytes

TIME_BASE = Fraction(1, 90_000)


def annotate(video: Path, folder: Path, out: Path, stopped: Callable[[], bool] = never) -> int:
    """Draw tracks.jsonl and observations.jsonl of `folder` into a copy of `video` (H.264); return the frames written.

    The copy keeps the sound.

    With explain.jsonl, also draw the state at each moment, quality and decision, and the faces that are out of view.

    Raises InputError if the results belong to another video, and soon after `stopped` becomes true; ConfigError if
    `out` cannot be written or is the video itself. `out` appears only when it is complete.
    """
    silent = out.with_name(f"{out.name}.silent.partial") if out.name else out  # before the sound is added
    if any(_same_file(video, path) for path in (out, partial_name(out), silent)):
        raise ConfigError(f"--out: {out} would overwrite the video {video}; choose another name")
    results = ResultReader(folder)
    if results.sha256 != hash_file(video, stopped):
        raise InputError(f"{folder}: the results are those of {results.source}, a different video than {video}")
    with replacing(out) as partial:
        try:
            return _write_with_sound(video, results, partial, silent, stopped)
        except FFmpegError as error:
            raise ConfigError(f"cannot write {out}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):  # usually because there is no sound
                silent.unlink()


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _write_with_sound(video: Path, results: ResultReader, out: Path, silent: Path, stopped: Callable[[], bool]) -> int:
    """Write the annotated video and return its number of frames."""
    if not has_sound(video):
        return len(_write(video, results, out, stopped))
    times = _write(video, results, silent, stopped)
    if not add_sound(silent, video, results.video_stream, times, out, stopped):
        silent.replace(out)
    return len(times)


def _write(
    video: Path, results: ResultReader, out: Path, stopped: Callable[[], bool]
) -> list[tuple[float | None, float]]:
    """Write the annotated video without sound; all frames get the size of the first, made even.

    Returns the stream time and the media time of each frame, s.
    """
    times: list[tuple[float | None, float]] = []
    with av.open(f"file:{out}", "w", format="mp4") as container:
        stream = container.add_stream("libx264", options={"crf": "20", "preset": "veryfast"})
        stream.time_base = TIME_BASE
        stream.codec_context.time_base = TIME_BASE
        stream.pix_fmt = "yuv420p"
        container.metadata["comment"] = f"faceanalytics run_id={results.run_id} source_sha256={results.sha256}"
        for frame in _until_it_breaks_off(decode_file(video, video.stem, video_stream=results.video_stream)):
            if stopped():
                raise InputError(f"{video}: stopped before the annotated video was complete")
            shown = frame.pixels()
            if shown is None:
                continue
            pixels = shown.copy()
            _draw(pixels, results.faces(frame.media_time), results.notice)
            pixels = _make_even(pixels)
            if not times:
                stream.height, stream.width = pixels.shape[:2]
            pixels = _fitted(pixels, stream.width, stream.height)
            image = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            image.pts = round(frame.media_time / TIME_BASE)
            image.time_base = TIME_BASE
            container.mux(stream.encode(image))
            times.append((frame.clock_time, frame.media_time))
        container.mux(stream.encode(None))
    return times


def _make_even(pixels: Bytes) -> Bytes:
    """Repeat the last row and column where needed, because H.264 requires even sides."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def _fitted(pixels: Bytes, width: int, height: int) -> Bytes:
    """Scale to this size with the aspect kept, with black bars where the aspects differ."""
    if pixels.shape[:2] == (height, width):
        return pixels
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    columns, rows = (max(1, round(scale * side)) for side in (pixels.shape[1], pixels.shape[0]))
    small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - columns) // 2, (height - rows) // 2
    bars = top, height - rows - top, left, width - columns - left
    return np.asarray(cv2.copyMakeBorder(small, *bars, cv2.BORDER_CONSTANT, value=(0, 0, 0)), np.uint8)


def _until_it_breaks_off(frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Yield the frames that the analysis could read; it has already reported a truncated file."""
    with contextlib.suppress(TruncatedVideo):
        yield from frames


def _draw(pixels: Bytes, faces: Sequence[Face], notice: str) -> None:
    """Draw labels first, so that they do not cover boxes; a label that does not fit above its box goes below it."""
    thick = max(1, round(pixels.shape[0] / 500))
    scale = max(0.4, pixels.shape[0] / 1200)
    for face in faces:
        x, y = face.start
        (width, height), _ = cv2.getTextSize(face.label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        left = max(0, min(x, pixels.shape[1] - width))
        below = face.end[1] + height + 6
        base = y - 4 if y - height - 8 >= 0 else min(below, pixels.shape[0] - 2)
        cv2.rectangle(pixels, (left, base - height - 3), (left + width, base + 4), face.colour, -1)
        cv2.putText(pixels, face.label, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thick, cv2.LINE_AA)
    for face in faces:
        cv2.rectangle(pixels, face.start, face.end, face.colour, thick + 1 if face.in_view else 1)
        for point in face.landmarks:
            cv2.circle(pixels, point, thick, face.colour, -1)
    if notice:
        place = (6, pixels.shape[0] - 8)
        cv2.putText(pixels, notice, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3 * thick, cv2.LINE_AA)
        cv2.putText(pixels, notice, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (80, 80, 255), thick, cv2.LINE_AA)
