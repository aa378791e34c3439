"""Checks of what decodes and analyses pictures: codecs, decode devices, GPU, detector, weights of workers."""

import io
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from faceanalytics.errors import ModelError
from streamer.detect.detector import Detector
from streamer.dispatch.worker_process import WORKER_PACKAGES
from streamer.doctor.finding import Finding, Patient, fail, fine, warn
from streamer.source.hardware import check_device

CODECS = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg"}  # what cameras send -> what encodes it here
FRAMES, SIDE = 5, 64  # of the clip that is made
VERIFY_S = 120.0  # longest wait for the check of the workers' weights
VERIFY = "import sys; from workers.cli import main; sys.exit(main(['weights', 'verify']))"


def check_codecs(patient: Patient) -> Iterator[Finding]:
    """Encode a tiny clip of each codec and decode it again."""
    del patient
    for codec, encoder in CODECS.items():
        if encoder not in av.codecs_available:
            yield warn("codecs", f"{codec} was not tried: PyAV has no encoder {encoder}", "pip install av")
            continue
        try:
            decoded = _round_trip(encoder, "yuvj420p" if codec == "mjpeg" else "yuv420p")
        except (FFmpegError, ValueError) as error:
            yield fail("codecs", f"{codec} cannot be decoded: {error}", "reinstall PyAV: pip install --force av")
            continue
        if decoded != FRAMES:
            yield fail("codecs", f"of {FRAMES} frames in {codec}, {decoded} were decoded", "reinstall PyAV")
        else:
            yield fine("codecs", f"{codec} is encoded and decoded")


def _round_trip(encoder: str, pixels: str) -> int:
    """Return how many of FRAMES frames come back."""
    file = io.BytesIO()
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream(encoder, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixels
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 40 * number, np.uint8), format="bgr24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as made:
        return len(list(made.decode(video=0)))


def check_decoders(patient: Patient) -> Iterator[Finding]:
    """Open each device that decodes."""
    default = patient.config.sources.decode_device
    for device in sorted({default, *(stream.decode_device or default for stream in patient.config.streams)}):
        try:
            check_device(device)
            yield fine("decode_device", f"{device} can be used")
        except ModelError as error:
            yield fail("decode_device", str(error), "install its driver, or set decode_device to one of these")


def check_gpu(patient: Patient) -> Iterator[Finding]:
    """Look for a GPU and for what could compute on it."""
    config = patient.config
    wanted = config.detect.device if config.detect.device != "cpu" else ""
    there = Path("/proc/driver/nvidia/version").exists() or any(Path("/dev").glob("nvidia[0-9]*"))
    if not there and not wanted:
        yield fine("gpu", "no NVIDIA GPU, and the configuration asks for none")
        return
    seen = {"onnxruntime": _onnxruntime_sees(), "torch": _torch_sees()}
    text = "; ".join(f"{name} {'sees it' if sees else 'does not see it'}" for name, sees in seen.items())
    if wanted and not there:
        yield fail("gpu", f"detect.device is {wanted}, but there is no NVIDIA GPU or driver", "set detect.device: cpu")
    elif wanted and not any(seen.values()):
        advice = "pip install 'faceanalytics[worker]' with a torch for this driver, or set detect.device: cpu"
        yield fail("gpu", f"detect.device is {wanted}, but {text}", advice)
    elif wanted:
        yield fine("gpu", f"there is a GPU for {wanted}: {text}")
    else:
        yield fine("gpu", f"there is a GPU, which the configuration does not use ({text})")


def _onnxruntime_sees() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _torch_sees() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def check_detector(patient: Patient) -> Iterator[Finding]:
    """Load the detector on its device and let it look at a grey picture."""
    try:
        detector = Detector(patient.config.detect)
        detector.detect([np.full((SIDE, SIDE, 3), 127, np.uint8)])
    except ModelError as error:
        yield fail("detector", str(error), "mend detect.weights, detect.device or detect.precision")
        return
    yield fine("detector", f"{detector.model_id} runs on {patient.config.detect.device}")


def check_weights(patient: Patient) -> Iterator[Finding]:
    """Compare the weights of workers on this machine with their checksums."""
    del patient
    if any(find_spec(package) is None for package in WORKER_PACKAGES):
        yield fine("weights", "no worker can run here: its packages are not installed; workers elsewhere are not seen")
        return
    command = [sys.executable, "-P", "-c", VERIFY]  # the streamer does not import its workers
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        yield warn("weights", f"the check took more than {VERIFY_S:g} s", "run `swinface weights verify`")
        return
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode:
        yield fail("weights", lines[-1] if lines else "they do not match", "see `swinface weights verify`")
    else:
        yield fine("weights", f"those of workers on this machine match their checksums ({len(lines)} checked)")
