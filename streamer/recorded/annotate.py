"""Draw the results of a recorded analysis into a copy of the video, with the media times of the source."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from av.error import FFmpegError

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import hash_file, never, partial_name, replacing
from streamer.recorded.encode import QUALITIES, video_writer
from streamer.recorded.painting import Painter, Shown, fitted
from streamer.recorded.reader import ResultReader
from streamer.recorded.sound import add_sound, has_sound
from streamer.source.file import TruncatedVideo, decode_file, probe_file
from streamer.source.picture import DecodedFrame

QUALITY = "medium"
assert QUALITY in QUALITIES


class Script(Protocol):
    """What to draw, frame by frame."""

    def at(self, time: float) -> Shown | None:
        """Return what to draw at a media time (s); None: leave that frame out. May wait."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the last frame to draw has been asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """A video to draw into, and how."""

    video: Path
    video_stream: int  # which one of the file's, from 0
    comment: str  # written into the copy
    notice: str  # shown in every frame; empty: none
    quality: str = QUALITY  # one of QUALITIES


def annotate(
    video: Path,
    folder: Path,
    out: Path,
    stopped: Callable[[], bool] = never,
    *,
    quality: str = QUALITY,
    explain: bool = False,
) -> int:
    """Draw the results in `folder` into a copy of `video` with its sound; return the number of frames written.

    The copy has the frames that were analysed. `explain`: show the state at each moment, quality and decision, and the
    faces that are out of view, by explain.jsonl.

    Raises InputError if the results belong to another video, and soon after `stopped` becomes true; ConfigError if
    `out` cannot be written or is the video itself. `out` appears only when it is complete.
    """
    if any(_same_file(video, path) for path in (out, partial_name(out), silent_name(out))):
        raise ConfigError(f"--out: {out} would overwrite the video {video}; choose another name")
    results = ResultReader(folder, explain)
    if results.sha256 != hash_file(video, stopped):
        raise InputError(f"{folder}: the results are those of {results.source}, a different video than {video}")
    drawn = Drawn(video, results.video_stream, run_comment(results.run_id, results.sha256), results.notice, quality)
    with replacing(out) as partial:
        try:
            return draw(drawn, results, partial, silent_name(out), stopped)
        except FFmpegError as error:
            raise ConfigError(f"cannot write {out}: {error.strerror}") from error


def run_comment(run_id: str, sha256: str) -> str:
    """Return the comment in the annotated video, by which it is known to belong to the files of a run."""
    return f"faceanalytics run_id={run_id} source_sha256={sha256}"


def silent_name(out: Path) -> Path:
    """Return the name of the video before its sound is added."""
    return out.with_name(f"{out.name}.silent.partial") if out.name else out


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return False


def draw(drawn: Drawn, script: Script, out: Path, silent: Path, stopped: Callable[[], bool] = never) -> int:
    """Write the annotated video to `out`, first without sound to `silent`; return its number of frames.

    Nothing is at `out` if there were no frames. Raises InputError if the video cannot be read, and soon after `stopped`
    becomes true, FFmpegError or OSError if nothing can be written.
    """
    sound = has_sound(drawn.video)
    first = silent if sound else out
    try:
        written = _write(drawn, script, first, stopped)
        if not written.frames:
            first.unlink(missing_ok=True)
            return 0
        end = None if written.whole else written.end
        if sound and not add_sound(silent, drawn.video, drawn.video_stream, written.times, out, stopped, end):
            silent.replace(out)
        return written.frames
    finally:
        with contextlib.suppress(OSError):  # it has been renamed, or was never written
            silent.unlink()


@dataclass(slots=True)
class _Written:
    """The frames of an annotated video."""

    times: list[tuple[float | None, float]]  # s, stream time and media time of each frame up to the last one drawn
    frames: int = 0  # drawn
    end: float = 0.0  # s, media time at which the last one ends
    whole: bool = True  # up to the end of the source


def _write(drawn: Drawn, script: Script, out: Path, stopped: Callable[[], bool]) -> _Written:
    """Write the annotated video without sound; all frames get the size of the first, made even.

    Its times are those of the source: if that is drawn from a later frame on, this frame stands still until then.
    """
    info = probe_file(drawn.video, video_stream=drawn.video_stream)
    written, painter = _Written([]), None
    with video_writer(out, info.codec, drawn.quality, info.fps, drawn.comment) as video:
        for frame in _until_it_breaks_off(decode_file(drawn.video, "", warn=False, video_stream=drawn.video_stream)):
            if stopped():
                raise InputError(f"{drawn.video}: stopped before the annotated video was complete")
            shown = script.at(frame.media_time)
            if shown is None and script.ended:
                written.whole = False
                break
            written.times.append((frame.clock_time, frame.media_time))
            pixels = frame.pixels() if shown is not None else None
            if shown is None or pixels is None:
                continue
            if painter is None:
                height, width = pixels.shape[:2]
                painter = Painter(width + width % 2, height + height % 2, drawn.notice)
            image, fit = fitted(pixels, painter.width, painter.height)
            if not written.frames and frame.media_time > 0:  # else players take it for the beginning
                video.add(image, 0.0, frame.media_time)
            image = image.copy()
            painter.paint(image, fit, frame.media_time, shown)
            duration = float((frame.frame.duration or 0) * (frame.frame.time_base or 0))
            video.add(image, frame.media_time, duration)
            written.frames, written.end = written.frames + 1, frame.media_time + (duration or 1 / info.fps)
    return written


def _until_it_breaks_off(frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Yield the frames that the analysis could read; it has already reported a truncated file."""
    with contextlib.suppress(TruncatedVideo):
        yield from frames
