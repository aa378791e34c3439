"""The frames of a video file."""

from collections.abc import Iterator
from pathlib import Path

from streamer.kinds import refuse_address
from streamer.source.file import read_file
from streamer.values import Frame


def read_video(path: Path | str, video_stream: int | None = None) -> Iterator[Frame]:
    """Yield every frame of a video file in order: `pixels` (h, w, 3) uint8 BGR, upright and with square pixels,
    `media_time` in s since the first one. `video_stream`: which one of several, from 0; None: as players choose.

    Raises InputError if nothing can be read, and after the last frame of a file that was cut off; ConfigError for an
    address.
    """
    refuse_address(str(path))
    path = Path(path)
    return read_file(path, path.stem, 0, video_stream=video_stream)
