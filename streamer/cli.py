"""The `streamer` command line: its commands and options.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from faceanalytics.commandline import (
    BLAS_THREADS,
    DETECTOR_DEFAULT,
    Commands,
    Options,
    add_command,
    detector_option,
    device_option,
    program,
    weights_option,
)
from faceanalytics.errors import ConfigError
from streamer.cli_access import add_audit, add_keys, add_tokens
from streamer.cli_aggregates import add_aggregates
from streamer.cli_analyze import earlier_options, file_options, made_options, output_options, part_options
from streamer.cli_cameras import add_probe, add_status, add_streams, login_options, password_options
from streamer.cli_doctor import add_doctor
from streamer.cli_jobs import add_jobs
from streamer.cli_people import add_people, add_people_across
from streamer.cli_replay import add_replay
from streamer.cli_results import add_export, add_results, export_options
from streamer.cli_store import add_store
from streamer.cli_visitors import add_journeys, add_visitors

DESCRIPTION = """Live face analytics on video. Cameras or files go in; followed faces with age, expression, attributes
and identity come out."""
EXAMPLES = """
streamer demo
streamer analyze clip.mp4 --out results/
streamer serve --config configs/live.yaml
streamer watch 127.0.0.1
"""
SERVE = """Follow the faces of cameras and publish their age, expression, attributes and identity over gRPC, until a
signal. Workers (`swinface worker`) connect to it and analyse the faces."""
SERVE_EXAMPLES = """
streamer serve --config configs/live.yaml
streamer serve --camera door=rtsp://admin@10.0.0.5/main --ask-password
streamer serve --camera test=clip.mp4 --gallery people/ --listen 127.0.0.1:50052
"""
ANALYZE = """Analyse recorded videos and write what was found into files: people.jsonl, tracks.jsonl, shots.jsonl,
observations.jsonl with a line per frame and face, and summary.json. A SwinFace worker is started for the run."""
ANALYZE_EXAMPLES = """
streamer analyze clip.mp4 --out results/
streamer analyze clip.mp4 --out results/ --annotate --gallery people/
streamer analyze recordings/ --out results/
streamer analyze https://example.org/clip.mp4 --allow-url --out results/
cat clip.mp4 | streamer analyze - --out results/
streamer analyze monday.mp4 tuesday.mp4 --out results/ --config configs/recorded.yaml --device cuda:0
"""
ANALYZE_NOTES = """With several videos, a folder or a pattern, the results of each video go into a folder named after
it, inside --out. One that fails does not stop the others. A run that was killed or stopped goes on where it was when it
is started again. Standard input and addresses are copied to a temporary file first, in $TMPDIR."""
WATCH = """Show the cameras and tracks of a running streamer until Ctrl-C: as live tables on a terminal, as one line per
event and change of a camera elsewhere. With --json only events are shown."""
WATCH_EXAMPLES = """
streamer watch 127.0.0.1
streamer watch 10.0.0.7:50051 --stream door
streamer watch 10.0.0.7 --json > events.jsonl
streamer watch 10.0.0.7 --json --resume visitors.token >> events.jsonl
"""
HEALTH = """Check that a streamer is serving and has a worker: print its status, the models of its workers, and the
cameras that are down or overloaded. The exit code is 0 if it is serving, else 1; cameras do not change it."""
HEALTH_EXAMPLES = """
streamer health 127.0.0.1
streamer health 10.0.0.7:50051 --timeout 10
"""
DETECT = """Detect faces in images and videos, and write one JSON line per image or video frame: boxes, scores,
landmarks, and the quality of each face with the reasons why it would not be analysed."""
DETECT_EXAMPLES = """
streamer detect photos/ --out faces.jsonl --draw drawn/
streamer detect image.jpg
streamer detect clip.mp4 --detector face.onnx
"""
EVALUATE_DETECTOR = """Measure the recall, precision and landmark error of a detector on labelled images. A detection
finds a face if their IoU is at least 0.5; detections are matched in order of score, highest first."""
EVALUATE_DETECTOR_EXAMPLES = """
streamer evaluate-detector labels.jsonl --images photos/
streamer evaluate-detector faces.xml --detector face.onnx --out report.json --sheets sheets/
streamer evaluate-detector wider_face_split/wider_face_val_bbx_gt.txt --images WIDER_val/images
"""
TRACK = """Run the tracker alone on detections in MOTChallenge format, and write its tracks in the same format. Public
tools can score the result."""
TRACK_EXAMPLES = """
streamer track det.txt --fps 25 --out tracks.txt
streamer track det.txt --fps 30 --out tracks.txt --config configs/live.yaml
"""
ANNOTATE = """Draw the final results of `streamer analyze` into a copy of the video: boxes, names or numbers of people
or tracks, ages and expressions. The copy has the codec family, the times and the sound of the video."""
ANNOTATE_EXAMPLES = """
streamer annotate clip.mp4 --results results/ --out annotated.mp4
streamer annotate clip.mp4 --results results/ --out annotated.mp4 --quality high
"""
REPORT = """Write one page about recordings that opens in a browser without a network: who was seen when, how old they
appear and with which expression, the shots, pictures, and what was dropped or not described and why."""
REPORT_EXAMPLES = """
streamer report results/
streamer report monday/ tuesday/ --out week.html --video recordings/
streamer report results/ --no-pictures
"""
REPORT_NOTES = """Folders are searched for results at any depth. Links lead into annotated.mp4 beside the results, else
into the video. Keep the page and the video together, or open the video in the page."""
CONFIG = """Check a configuration, show it with all defaults filled in and secrets masked, or print the JSON Schema with
the description of every setting."""
CONFIG_EXAMPLES = """
streamer config check configs/live.yaml
streamer config show
streamer config schema > streamer.schema.json
"""
DEMO = """Make a short clip with real faces and send it through all stages, first live as a camera, then recorded. The
results and an annotated video are written to --out."""
DEMO_EXAMPLES = """
streamer demo
streamer demo --out demo-output/ --config configs/demo.yaml
"""
PORT = "a running streamer; without a port, 50051 is used"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args(argv)
    # waiting threads of torch must not take the CPUs from decoders and workers; torch reads this when it is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # products of these sizes gain nothing from several threads, which wait actively for each other
    os.environ.setdefault(BLAS_THREADS, "1")  # numpy reads it when it is imported
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the core of gRPC prints what our own messages say better
    from streamer.commands import run

    return run(arguments)


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser, commands = program("streamer", DESCRIPTION, EXAMPLES)
    cameras = (_serve, add_probe, add_status, add_streams, add_aggregates, _watch, _health)
    people = (add_people, add_visitors, add_journeys)
    results = (_analyze, _annotate, _report, add_export, add_results, add_people_across)
    settings = (add_jobs, add_tokens, add_audit, add_keys, add_store, add_replay, add_doctor)
    for add in (*cameras, *people, *settings, *results, _detect, _evaluate_detector, _track, _config, _demo):
        add(commands)
    return parser


def _serve(commands: Commands) -> None:
    parser = add_command(commands, "serve", "follow cameras and publish over gRPC", SERVE, SERVE_EXAMPLES)
    cameras = parser.add_argument_group("cameras and settings")
    _config_option(cameras)
    cameras.add_argument(
        "--camera",
        "--stream",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="camera to add to those of the configuration, such as door=rtsp://10.0.0.5/main, in which ${NAME} stands "
        "for a variable of the environment; may be repeated",
    )
    password_options(cameras)
    _face_options(parser)
    addresses = parser.add_argument_group("addresses")
    addresses.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="address of the gRPC server (default: publish.listen of the configuration)",
    )
    addresses.add_argument(
        "--bind",
        metavar="ENDPOINT",
        help="endpoint that workers connect to, ipc://PATH or tcp://HOST:PORT (default: dispatch.bind of the "
        "configuration)",
    )


def _analyze(commands: Commands) -> None:
    parser = add_command(
        commands, "analyze", "analyse recorded videos into files", ANALYZE, ANALYZE_EXAMPLES, ANALYZE_NOTES
    )
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video file that FFmpeg can read, folder to search for videos at any depth, pattern in quotes such as "
        "'clips/*.mp4', address (see --allow-url), or - for standard input",
    )
    parser.add_argument(
        "--allow-url", action="store_true", help="fetch recordings from addresses: http(s), ftp, rtmp, HLS playlists"
    )
    parser.add_argument(
        "--allow-lists",
        action="store_true",
        help="follow local lists of files, such as m3u8 and ffconcat, to the files that they name",
    )
    file_options(parser)
    _config_option(parser)
    part_options(parser)
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    earlier_options(results)
    results.add_argument(
        "--annotate", action="store_true", help="also write annotated.mp4, with what was known at each moment"
    )
    _quality_option(results, "--annotate-quality", None)
    made_options(results)
    export_options(results)
    _face_options(parser)
    workers = parser.add_argument_group("worker")
    choice = workers.add_mutually_exclusive_group()
    weights_option(choice)
    choice.add_argument(
        "--external-workers",
        action="store_true",
        help="start no worker; wait for workers that connect to dispatch.bind of the configuration",
    )
    device_option(workers)
    output_options(parser)


def _watch(commands: Commands) -> None:
    parser = add_command(commands, "watch", "show the tracks of a running streamer", WATCH, WATCH_EXAMPLES)
    parser.add_argument("address", metavar="HOST[:PORT]", help=PORT)
    parser.add_argument(
        "--stream", action="append", default=[], metavar="ID", help="show only this stream; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    parser.add_argument("--once", action="store_true", help="exit when the connection ends; do not reconnect")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="also write the token of the last event to this file, and begin after the one that is there",
    )
    login_options(parser)


def _health(commands: Commands) -> None:
    parser = add_command(commands, "health", "check that a streamer is serving", HEALTH, HEALTH_EXAMPLES)
    parser.add_argument("address", metavar="HOST[:PORT]", help=PORT)
    parser.add_argument(
        "--timeout", type=float, default=3.0, metavar="SECONDS", help="longest wait for an answer, in seconds"
    )
    login_options(parser)


def _detect(commands: Commands) -> None:
    parser = add_command(commands, "detect", "detect faces in images and videos", DETECT, DETECT_EXAMPLES)
    parser.add_argument(
        "files",
        nargs="+",
        type=_file,
        metavar="FILE|DIR",
        help="image or video; folders are searched for images and videos at any depth",
    )
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, metavar="FILE.jsonl", help="file for the JSON lines (default: standard output)"
    )
    results.add_argument("--draw", type=Path, metavar="DIR", help="also write images with boxes and landmarks to DIR")
    settings = parser.add_argument_group("settings")
    _config_option(settings)
    _detector_option(settings)


def _evaluate_detector(commands: Commands) -> None:
    parser = add_command(
        commands,
        "evaluate-detector",
        "measure a detector on labelled images",
        EVALUATE_DETECTOR,
        EVALUATE_DETECTOR_EXAMPLES,
    )
    parser.add_argument(
        "labels",
        type=_file,
        metavar="LABELS",
        help="JSON lines in the form that `streamer detect` writes, the faces.xml of dlib, or the text of WIDER FACE",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder that the file names in LABELS are relative to (default: for JSON lines the working directory, "
        "for .xml and .txt the folder of LABELS)",
    )
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument(
        "--score",
        type=float,
        metavar="SCORE",
        help="ignore detections with a lower score (default: crop.min_score of the configuration, below which faces "
        "are not analysed)",
    )
    scoring.add_argument(
        "--min-size",
        type=float,
        default=12.0,
        metavar="PX",
        help="ignore faces narrower than this many pixels: they are neither missed nor false",
    )
    scoring.add_argument(
        "--precision",
        type=float,
        default=0.97,
        metavar="RATIO",
        help="also report the recall at this precision, above 0 and up to 1",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--out", type=Path, metavar="FILE.json", help="also write all numbers to a file")
    results.add_argument(
        "--sheets", type=Path, metavar="DIR", help="also write contact sheets of hits, misses and false detections"
    )
    settings = parser.add_argument_group("settings")
    _config_option(settings)
    _detector_option(settings)


def _track(commands: Commands) -> None:
    parser = add_command(commands, "track", "run the tracker alone on a file of detections", TRACK, TRACK_EXAMPLES)
    parser.add_argument(
        "detections",
        type=Path,
        metavar="DET.txt",
        help="lines of frame,id,left,top,width,height,score; frames count from 1",
    )
    parser.add_argument("--fps", type=float, required=True, metavar="RATE", help="frames per second of the video")
    parser.add_argument("--out", type=Path, required=True, metavar="MOT.txt", help="file for the tracks")
    _config_option(parser)


def _annotate(commands: Commands) -> None:
    parser = add_command(commands, "annotate", "draw results into a copy of the video", ANNOTATE, ANNOTATE_EXAMPLES)
    parser.add_argument("video", type=_file, metavar="VIDEO", help="the video that was analysed, a file")
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="folder that `streamer analyze` wrote"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="file for the annotated video")
    _quality_option(parser, "--quality", "medium")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="draw what was known at each moment, with qualities, decisions and faces out of view, by explain.jsonl",
    )


def _report(commands: Commands) -> None:
    parser = add_command(
        commands, "report", "show results as a page in a browser", REPORT, REPORT_EXAMPLES, REPORT_NOTES
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder that `streamer analyze` wrote")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="file for the page (default: report.html in the first DIR)"
    )
    parser.add_argument(
        "--video",
        type=_file,
        action="append",
        default=[],
        metavar="VIDEO|DIR",
        help="video that was analysed, or folder to search for the videos; may be repeated (videos beside the results "
        "and one folder up are found without it)",
    )
    parser.add_argument("--no-pictures", action="store_true", help="show no faces and no frames")


def _config(commands: Commands) -> None:
    parser = add_command(commands, "config", "check or show a configuration", CONFIG, CONFIG_EXAMPLES)
    parser.add_argument(
        "action", choices=("check", "show", "schema"), help="check a file, show it, or print the JSON Schema"
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="CONFIG", help="YAML file (default: all defaults)")


def _demo(commands: Commands) -> None:
    parser = add_command(commands, "demo", "run a clip with real faces through all stages", DEMO, DEMO_EXAMPLES)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR", help="folder for the results")
    parser.add_argument("--keep", action="store_true", help="play on afterwards, for a look at the dashboard")
    settings = parser.add_argument_group("settings")
    _config_option(settings)
    _detector_option(settings)
    weights_option(settings)


def _quality_option(parser: Options, name: str, default: str | None) -> None:
    parser.add_argument(
        name,
        choices=("low", "medium", "high"),
        default=default,
        help="quality of the annotated video, which decides its size (default: medium)",
    )


def _file(text: str) -> Path:
    """Parse the path of a file; an address is refused without printing its password."""
    from streamer.kinds import refuse_address

    try:
        refuse_address(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def _config_option(parser: Options) -> None:
    parser.add_argument("--config", type=Path, metavar="CONFIG", help="YAML file, see configs/ (default: all defaults)")


def _face_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faces and people")
    _detector_option(group)
    group.add_argument(
        "--gallery",
        metavar="DIR",
        help="folder with one sub-folder of images per person, to name people (default: gallery.folder of the "
        "configuration)",
    )
    group.add_argument(
        "--cohort",
        metavar="DIR",
        help="folder in the same form, of people who are in no gallery, to measure how similar strangers are "
        "(default: gallery.cohort of the configuration)",
    )


def _detector_option(parser: Options) -> None:
    detector_option(parser, f"detect.weights of the configuration, else {DETECTOR_DEFAULT}")
    parser.add_argument(
        "--detector-precision",
        choices=["fp32", "bf16", "int8"],
        help="arithmetic of the face detector on the CPU (default: detect.precision of the configuration, else fp32)",
    )
