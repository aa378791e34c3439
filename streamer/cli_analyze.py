"""Options of `streamer analyze`: which part of the videos, what with earlier results, and how progress is shown."""

import argparse

from faceanalytics.commandline import Options


def file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for how a file is read."""
    parser.add_argument(
        "--video-stream",
        type=int,
        metavar="N",
        help="video stream to analyse if a file has several, counted from 0 (default: the one that players show)",
    )
    parser.add_argument(
        "--start-time",
        metavar="TIME",
        help="time of day of the first frame, with its offset from UTC, such as 2026-11-30T12:00:00Z (default: when "
        "the file says that it was created, if it does)",
    )


def part_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the part of each video that is analysed."""
    part = parser.add_argument_group("part of the videos")
    part.add_argument(
        "--start",
        type=_time,
        metavar="TIME",
        help="begin here: seconds, or HH:MM:SS.mmm, since the first frame (default: the first frame)",
    )
    part.add_argument("--end", type=_time, metavar="TIME", help="leave out the frames from here on (default: the end)")
    part.add_argument(
        "--sample-fps",
        type=float,
        metavar="RATE",
        help="analyse at most this many frames per second, evenly spaced (default: all)",
    )
    part.add_argument(
        "--effort",
        type=int,
        choices=range(1, 6),
        metavar="1..5",
        help="how eagerly to look for faces, from 1 to 5: below 5 only frames in which something can have changed are "
        "searched, and faces of the others are interpolated (default: detect.attention.effort, or every frame)",
    )
    part.add_argument(
        "--detect-fps",
        type=float,
        metavar="RATE",
        help="search at most this many frames per second for faces, where something can have changed first, and "
        "interpolate the faces of the others (default: detect.attention.max_fps, or no limit)",
    )
    part.add_argument(
        "--region",
        type=_region,
        metavar="X,Y,WIDTH,HEIGHT",
        help="look for faces in this part of the picture only; in pixels, or with %% behind a number in percent of the "
        "picture's width or height (default: the whole picture)",
    )
    part.add_argument(
        "--min-face", type=float, metavar="PX", help="leave out faces narrower than this many pixels (default: 0)"
    )


def earlier_options(results: Options) -> None:
    """Add the options for what an earlier run has left in the folder."""
    earlier = results.add_mutually_exclusive_group()
    earlier.add_argument(
        "--resume",
        action="store_true",
        help="go on with what an earlier run has left in the folder if it was the same analysis, else refuse; this is "
        "done without the option, too",
    )
    earlier.add_argument("--overwrite", action="store_true", help="replace the results of any earlier run")


def made_options(results: Options) -> None:
    """Add the options for what is written besides the records; --annotate-quality belongs to `streamer analyze`."""
    results.add_argument(
        "--explain",
        action="store_true",
        help="also write explain.jsonl, which says why each face was analysed or not; with --annotate, that is drawn "
        "as well",
    )
    results.add_argument(
        "--embeddings", action="store_true", help="also write embeddings.npz, with the identity template of each track"
    )
    results.add_argument(
        "--report",
        action="store_true",
        help="also write report.html, a page with timelines and pictures that opens without a network",
    )


def output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is printed."""
    output = parser.add_argument_group("output")
    output.add_argument(
        "--progress",
        choices=("auto", "json", "none"),
        default="auto",
        help="auto: one line on a terminal, log lines elsewhere; json: JSON objects on standard error",
    )
    output.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _time(text: str) -> float:
    from streamer.recorded.part import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _region(text: str) -> object:
    from streamer.detect.region import Region

    try:
        return Region.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
