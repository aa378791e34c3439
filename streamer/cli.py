"""The command line. Nothing heavy is imported before a command needs it, so that `--help` answers at once."""

import argparse
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

EPILOG = """exit codes: 0 done, 1 bug or lost dependency, 2 usage or configuration, 3 input unreadable,
4 model or device not usable, 5 partial result, 130/143 after a signal (outputs are finalised)"""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    # threads of torch that wait must not take the processors from decoders and workers; torch reads it at its import
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core prints what our own messages say better
    from streamer.commands import run

    return run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="streamer",
        description="Live face analytics on video: cameras or files in, followed and described faces out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('faceanalytics')}")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_serve, _analyze, _watch, _health, _detect, _evaluate_detector, _track, _annotate, _config, _demo):
        add(commands)
    return parser


def _serve(commands: Commands) -> None:
    parser = commands.add_parser("serve", help="follow cameras and publish over gRPC until a signal")
    _config_option(parser)
    _detector_option(parser)
    _gallery_options(parser)
    parser.add_argument(
        "--stream",
        action="append",
        default=[],
        metavar="ID=URI",
        help="a camera in addition to the configuration's, such as door=rtsp://10.0.0.5/main; may be repeated",
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="gRPC address (default: publish.listen)")
    parser.add_argument("--bind", metavar="ENDPOINT", help="for workers, ipc:// or tcp:// (default: dispatch.bind)")


def _analyze(commands: Commands) -> None:
    parser = commands.add_parser("analyze", help="analyse recorded videos into files")
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="any file FFmpeg opens")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="for the results; several videos: one folder each in it",
    )
    _config_option(parser)
    _detector_option(parser)
    _gallery_options(parser)
    workers = parser.add_mutually_exclusive_group()
    workers.add_argument(
        "--weights",
        default="default",
        metavar="WEIGHTS",
        help="SwinFace for a worker of its own: a file, a name that `swinface weights list` shows, or `untrained`, "
        "which tests the plumbing (default: the small model that comes with the project)",
    )
    workers.add_argument(
        "--external-workers", action="store_true", help="start none; workers connect to dispatch.bind by themselves"
    )
    parser.add_argument("--device", default="cpu", help="of the worker: cpu or cuda:N (default: %(default)s)")
    parser.add_argument("--annotate", action="store_true", help="also write annotated.mp4")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="also write explain.jsonl: why each face was analysed or not; and draw it into annotated.mp4",
    )
    parser.add_argument("--embeddings", action="store_true", help="also write embeddings.npz, one template per track")


def _watch(commands: Commands) -> None:
    parser = commands.add_parser("watch", help="show the tracks of a running streamer")
    parser.add_argument("address", metavar="HOST[:PORT]", help="default port: 50051")
    parser.add_argument("--stream", action="append", default=[], metavar="ID", help="only this stream; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object per event instead of a table")
    parser.add_argument("--once", action="store_true", help="do not connect again when the server goes away")


def _health(commands: Commands) -> None:
    parser = commands.add_parser("health", help="exit 0 if a streamer serves and has a worker, else 1")
    parser.add_argument("address", metavar="HOST[:PORT]", help="default port: 50051")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS", help="default: %(default)s")


def _detect(commands: Commands) -> None:
    parser = commands.add_parser("detect", help="detect faces in images or videos, one JSON line per image")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE|DIR", help="of a folder, all images and videos in and below it"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="default: standard output")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="also write images with boxes and landmarks")
    _config_option(parser)
    _detector_option(parser)


def _evaluate_detector(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate-detector",
        help="recall, precision and landmark error of a detector on labelled images",
        description="A face counts as found from an IoU of 0.5 on; the strongest detection chooses first.",
    )
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="JSON lines as `streamer detect` writes them, or dlib's faces.xml"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="what the names in the labels are relative to (default: the working directory for JSON lines, the "
        "folder of the file for .xml)",
    )
    parser.add_argument("--out", type=Path, metavar="REPORT.json", help="also write all numbers there")
    parser.add_argument(
        "--sheets", type=Path, metavar="DIR", help="also write contact sheets of hits, misses, false hits"
    )
    parser.add_argument(
        "--score",
        type=float,
        metavar="S",
        help="count detections from this score on (default: crop.min_score, from which faces are analysed)",
    )
    parser.add_argument(
        "--min-size",
        type=float,
        default=12.0,
        metavar="PX",
        help="faces narrower than this are neither missed nor false (default: %(default)g)",
    )
    parser.add_argument(
        "--precision",
        type=float,
        default=0.97,
        metavar="P",
        help="also say the recall at this precision (default: %(default)s)",
    )
    _config_option(parser)
    _detector_option(parser)


def _track(commands: Commands) -> None:
    parser = commands.add_parser("track", help="run the tracker alone on detections in MOT format")
    parser.add_argument(
        "detections", type=Path, metavar="DET.txt", help="lines of frame,id,left,top,width,height,score; frames from 1"
    )
    parser.add_argument("--fps", type=float, required=True, help="frames per second of the numbering")
    parser.add_argument("--out", type=Path, required=True, metavar="MOT.txt")
    _config_option(parser)


def _annotate(commands: Commands) -> None:
    parser = commands.add_parser("annotate", help="draw the results of `analyze` into a copy of the video")
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder that `analyze` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="MP4")


def _config(commands: Commands) -> None:
    parser = commands.add_parser("config", help="check or show a configuration, or print its JSON Schema")
    parser.add_argument("action", choices=("check", "show", "schema"))
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: all defaults")


def _demo(commands: Commands) -> None:
    parser = commands.add_parser("demo", help="a clip with real faces through all stages, live and recorded")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--weights", default="default", metavar="WEIGHTS", help="SwinFace, as for `analyze`")
    _config_option(parser)
    _detector_option(parser)


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML, see configs/ (default: all defaults)")


def _gallery_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gallery",
        metavar="DIR",
        help="name people: a folder with a sub-folder of images for each (default: gallery.folder)",
    )
    parser.add_argument(
        "--cohort",
        metavar="DIR",
        help="the same of people who are in no gallery, to measure how similar strangers are (default: gallery.cohort)",
    )


def _detector_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector",
        metavar="FILE",
        help="face detector weights (default: detect.weights, then $FACEANALYTICS_DETECTOR, then the bundled model)",
    )
