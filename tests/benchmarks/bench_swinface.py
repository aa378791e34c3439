"""Faces per second of SwinFace: its published form (44 convolutions, fp32, torch eager), ours, and the floor.

The published form takes the same batches; ours is the engine of the worker. The rate of a large matrix product is
measured between them, and with the network's 12.18 GFLOP per face gives the floor: the rate of a perfect plain
implementation. Ours multiplies less than that (Winograd). The weights are random: trained ones do not change the speed.
`--device cuda:0` measures on a GPU, where the published form runs with its own autocast.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.select.align import align
from streamer.values import Bytes
from tests.conftest import shared_folder
from tests.support.published_form import PublishedForm, normalised
from tests.support.swinface_files import save, seeded_checkpoint
from workers.runtime.engine import Engine
from workers.runtime.offline import openvino
from workers.runtime.on_cpu import CpuNetwork, computes_in
from workers.runtime.on_gpu import prepared
from workers.swinface.checkpoint import load_official
from workers.swinface.labels import OUTPUTS

GFLOP_PER_FACE = 12.178804864
ROUNDS = {1: 11, 8: 9, 32: 3, 64: 5, 128: 3, 256: 5}  # by batch
SETTLE_S = 0.1  # threads of the one before still spin, waiting for work
SIDE = 2048  # of the matrices, CPU; on a GPU four times as much
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
FACES = 24  # real ones, for the errors of half precision
HEADS = ("age", "expression", "recognition")
Call = Callable[[], object]


def measure(device: str = "cpu") -> dict[str, Any]:
    """Medians of all that compute, by batch; output errors of half precision on real faces."""
    with tempfile.TemporaryDirectory() as folder:
        path = save(seeded_checkpoint(), Path(folder) / "checkpoint.pt")
        faces = real_faces()[:FACES]
        results: dict[str, Any] = {"device": device, "real_faces": len(faces)}
        if device == "cpu":
            results |= _speed(path, device, (1, 8, 32, 128))
            results["others"], int8 = _others(path, faces)
        else:
            for precision in ("fp32", *HALF):
                results[precision] = _speed(path, device, (1, 8, 32, 64, 128, 256), precision)
            int8 = {}
        results["errors"] = _errors(path, device, faces) | int8
    return results


@torch.inference_mode()
def _speed(path: Path, device: str, batches: tuple[int, ...], precision: str = "fp32") -> dict[str, Any]:
    """Faces/s of the published form and of ours by batch, with the floor of the same moments."""
    published = PublishedForm(torch.load(path, weights_only=True)).to(device)
    engine = Engine(str(path), device, precision)  # type: ignore[arg-type]
    some = Engine(str(path), device, precision, heads=HEADS)  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for batch in batches:
        crops = _noise(batch)
        images = normalised(torch.from_numpy(crops)).to(device)
        calls: dict[str, Call] = {
            "published": lambda images=images: _synchronised(_as_published(published, images), device),  # type: ignore[misc]
            "ours": lambda crops=crops: engine.outputs(crops),  # type: ignore[misc]
            "three_heads": lambda crops=crops: some.outputs(crops),  # type: ignore[misc]
            "product": _product(device, precision),
        }
        if device == "cpu" and batch > 32:
            del calls["three_heads"]  # half a minute a round is enough
        seconds = _medians(calls, ROUNDS[batch])
        product = seconds.pop("product")
        size = SIDE if device == "cpu" else 4 * SIDE
        found[f"batch_{batch}"] = row = {
            "gflops": 2e-9 * size**3 / product,
            **{f"{name}_per_s": batch / value for name, value in seconds.items()},
            "ours_ms": 1e3 * seconds["ours"],
            "published_ms": 1e3 * seconds["published"],
            "rounds": ROUNDS[batch],
        }
        print(_row(precision, f"batch_{batch}", row), file=sys.stderr, flush=True)
    return found


@torch.inference_mode()
def _others(path: Path, faces: Bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Faces/s of other ways to compute the network on a CPU, beside ours, at batch 1 and 8; the errors of int8."""
    model = load_official(path)
    found: dict[str, Any] = {}
    contenders: dict[str, Callable[[Bytes], object]] = {
        "torch eager, our model": lambda crops: model(torch.from_numpy(crops)),
    }
    for precision in filter(computes_in, ("fp32", *HALF)):
        contenders[f"ours in {precision}"] = _starter(CpuNetwork(model, precision, None))
    if shutil.which("g++"):  # which torch.compile needs at run time
        compiled = torch.compile(model, dynamic=False)
        contenders["torch.compile, our model"] = lambda crops: compiled(torch.from_numpy(crops))
    else:
        print("torch.compile is not measured: it needs g++", file=sys.stderr)
    contenders |= _from_onnx(path)
    int8 = _int8(path.with_suffix(".onnx"), faces)
    errors = {}
    if int8:
        contenders["OpenVINO int8, exported"] = int8
        found_int8 = dict(zip(OUTPUTS, map(torch.from_numpy, int8(faces).to_tuple()), strict=True))
        errors = {"int8": _differences(found_int8, model(torch.from_numpy(faces)))}
    for batch in (1, 8):
        crops = _noise(batch)
        calls: dict[str, Call] = {
            name: lambda run=run, crops=crops: run(crops)  # type: ignore[misc]
            for name, run in contenders.items()
        }
        seconds = _medians(calls, 5)
        for name, value in seconds.items():
            found.setdefault(name, {})[f"batch_{batch}_per_s"] = batch / value
            print(f"{name}, batch {batch}: {batch / value:.2f}/s", file=sys.stderr, flush=True)
    return found, errors


def _starter(network: CpuNetwork) -> Callable[[Bytes], object]:
    return lambda crops: network.start(crops)()


def _from_onnx(path: Path) -> dict[str, Callable[[Bytes], object]]:
    """ONNX Runtime and OpenVINO on what `swinface export` writes, which is left beside `path`."""
    import onnxruntime

    from workers.cli import OPSETS
    from workers.swinface.export import export_onnx

    out = path.with_suffix(".onnx")
    export_onnx(str(path), out, OUTPUTS, OPSETS[-1])
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    plain = openvino.Core().compile_model(str(out), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {
        "ONNX Runtime, exported": lambda crops: session.run(None, {"faces": crops}),
        "OpenVINO, exported": lambda crops: plain(crops),
    }


def _int8(exported: Path, faces: Bytes) -> Any:
    """The exported network quantized after training by nncf; None without nncf."""
    if not find_spec("nncf"):
        print("int8 is not measured: pip install '.[bench]'", file=sys.stderr)
        return None
    import nncf

    core, some = openvino.Core(), nncf.Dataset([face[None] for face in faces])
    kind = nncf.ModelType.TRANSFORMER
    quantized = nncf.quantize(core.read_model(str(exported)), some, model_type=kind, subset_size=len(faces))
    return core.compile_model(quantized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})  # of what is not quantized


@torch.inference_mode()
def _errors(path: Path, device: str, faces: Bytes) -> dict[str, dict[str, float]]:
    """Of each precision against the published form in fp32. What a CPU has no arithmetic for, torch casts on it."""
    published = PublishedForm(torch.load(path, weights_only=True))
    expected = dict(zip(OUTPUTS, published(normalised(torch.from_numpy(faces))), strict=True))
    found = {}
    for precision in ("fp32", *HALF):
        emulated = device == "cpu" and not computes_in(precision)
        if emulated:
            with torch.autocast("cpu", HALF[precision]):
                outputs = prepared(load_official(path), HALF[precision])(torch.from_numpy(faces))
        else:
            engine = Engine(str(path), device, precision)  # type: ignore[arg-type]
            outputs = {slug: torch.from_numpy(array) for slug, array in engine.outputs(faces).items()}
            pending = [engine.submit(face[None]) for face in faces[:3]]  # more than are computed at once
            alone = [one.outputs() for one in reversed(pending)]
            batched = max(
                float(np.abs(array[0] - outputs[slug][row].numpy()).max())
                for row, single in zip((2, 1, 0), alone, strict=True)
                for slug, array in single.items()
            )
        found[precision] = _differences(outputs, expected)
        found[precision]["emulated"] = emulated
        if not emulated:
            found[precision]["alone_or_in_a_batch"] = batched
    if not found["fp32"]["largest_difference"] <= 1e-4:
        raise RuntimeError(f"fp32 on {device} does not give the published numbers: {found['fp32']}")
    return found


def _differences(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, float]:
    """Of outputs, years, probabilities and the direction of embeddings."""
    logits = [slug for slug in OUTPUTS if slug not in ("age", "recognition")]
    changes = [(found[slug].softmax(1) - expected[slug].softmax(1)).abs().max(1).values for slug in logits]
    similarity = torch.nn.functional.cosine_similarity(found["recognition"], expected["recognition"])
    return {
        "largest_difference": max(float((found[slug] - expected[slug]).abs().max()) for slug in OUTPUTS),
        "age_mean_difference": float((found["age"] - expected["age"]).abs().mean()),
        "age_spread": float(expected["age"].std()),
        "probability_mean_difference": float(torch.stack(changes).mean()),
        "probability_largest_difference": float(torch.stack(changes).max()),
        "embedding_least_cosine": float(similarity.min()),
    }


def real_faces() -> Bytes:
    """Aligned faces (n, 112, 112, 3) of photographs: of the data folder if there is one, else of scikit-image."""
    detector = Detector(StreamerConfig().detect)
    stills = shared_folder() / "data" / "stills"
    images = [cv2.imread(str(path)) for path in sorted(stills.rglob("*.jpg"))]
    if not images:
        import skimage.data

        images = [np.asarray(skimage.data.astronaut())[:, :, ::-1]]  # type: ignore[no-untyped-call]
    crops = []
    for image in images:
        pixels = np.ascontiguousarray(image, np.uint8)
        found = detector.detect([pixels])[0]
        crops += [
            align(pixels, points) for points, score in zip(found.landmarks, found.scores, strict=True) if score > 0.5
        ]
    return np.stack(crops)


def _medians(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Seconds per call; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _product(device: str, precision: str) -> Call:
    """A product of square matrices; numpy's on a CPU."""
    if device == "cpu":
        matrix = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
        return lambda: matrix @ matrix
    numbers = torch.rand((4 * SIDE, 4 * SIDE), device=device, dtype=HALF.get(precision, torch.float32))
    return lambda: _synchronised(numbers @ numbers, device)


def _as_published(network: PublishedForm, images: torch.Tensor) -> object:
    with torch.backends.cudnn.flags(allow_tf32=True):  # torch's default, which the published code keeps
        return network(images)


def _synchronised(result: object, device: str) -> object:
    if device != "cpu":
        torch.cuda.synchronize(device)
    return result


def _noise(batch: int) -> Bytes:
    return np.random.default_rng(batch).integers(0, 256, (batch, 112, 112, 3), np.uint8)


def table(results: dict[str, Any]) -> str:
    lines = []
    for precision in ("fp32", *HALF):
        part = results if results["device"] == "cpu" and precision == "fp32" else results.get(precision, {})
        for name, row in part.items():
            if name.startswith("batch_"):
                lines.append(_row(precision, name, row))
    for name, row in results.get("others", {}).items():
        lines.append(f"{name:28} batch 1 {row['batch_1_per_s']:6.2f}/s   batch 8 {row['batch_8_per_s']:6.2f}/s")
    for name, row in results["errors"].items():
        who = f"{name}, computed with torch's casts," if row.get("emulated") else name
        lines.append(
            f"{who} against the published form in fp32, {results['real_faces']} real faces, random weights: "
            f"outputs differ by at most {row['largest_difference']:.2g}, age by "
            f"{row['age_mean_difference']:.2g} (spread {row['age_spread']:.2g}), probabilities by "
            f"{row['probability_mean_difference']:.2g} (at most {row['probability_largest_difference']:.2g}), "
            f"cosine of embeddings at least {row['embedding_least_cosine']:.6f}"
        )
        if "alone_or_in_a_batch" in row:
            lines.append(f"{name} alone or in a batch: differs by at most {row['alone_or_in_a_batch']:.2g}")
    return "\n".join(lines)


def _row(precision: str, name: str, row: dict[str, float]) -> str:
    floor = row["gflops"] / GFLOP_PER_FACE
    ours, published = row["ours_per_s"], row["published_per_s"]
    some = f"  three heads {row['three_heads_per_s']:8.2f}/s" if "three_heads_per_s" in row else ""
    return (
        f"{precision} {name.replace('_', ' '):9} ours {ours:8.2f}/s {row['ours_ms']:8.1f} ms  "
        f"published {published:8.2f}/s {row['published_ms']:8.1f} ms  {ours / published:5.2f}x  "
        f"floor {floor:8.2f}/s, {ours / floor:4.0%}{some}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    print(table(measure(parser.parse_args().device)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
