"""People for the open-set benchmark, embedded by the bundled weights and by the recognisers of the data folder."""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from streamer.config import Detect, StreamerConfig
from streamer.detect.detector import Detector
from streamer.identity.gallery import EmbeddedReference
from streamer.identity.references import read_people
from streamer.values import ImpostorScores
from tests.conftest import shared_folder
from workers.research.data.options import Split
from workers.research.data.parquet import Columns, Parquet
from workers.research.data.sets import open_set
from workers.research.evaluate.inference import embeddings
from workers.runtime.engine import Engine
from workers.swinface.labels import EMBEDDING
from workers.weights.registry import FACE_MODEL, find

Crops = Sequence[NDArray[np.uint8]]  # (112, 112, 3) RGB
Embed = Callable[[Crops], NDArray[np.float32]]
People = dict[str, list[EmbeddedReference]]

BATCH = 32
CACHE = Path(tempfile.gettempdir()) / "faceanalytics-open-set"
WIDTHS = (128, 256, 512)  # of embeddings


class Recogniser(NamedTuple):
    """A network that embeds faces."""

    name: str
    embed: Embed  # plain and mirrored, added
    sets: tuple[str, ...]  # on which it was not trained
    strangers: ImpostorScores | None = None  # of its card


def recognisers() -> Iterator[Recogniser]:
    """Yield the bundled one, and those of the data folder: ncnn's and ONNX files that map a crop to one vector."""
    engine = Engine(find(FACE_MODEL), heads=[EMBEDDING], threads=1)

    def ours(crops: Crops) -> NDArray[np.float32]:
        return embeddings(engine.outputs, np.stack(crops))

    card = engine.impostor_scores
    assert card is not None
    shares, cosines = np.array(card["shares"], np.float64), np.array(card["cosines"], np.float64)
    strangers = ImpostorScores(card["pairs"], card["people"], shares, cosines, card["source"])
    yield Recogniser(engine.model_id, ours, ("LFW held out", "ORL", "Congress"), strangers)
    every = ("LFW", "LFW held out", "ORL", "Congress")
    for path in sorted((shared_folder() / "data" / "weights").iterdir()):
        network = _param(path) if path.suffix == ".param" else _onnx(path) if path.suffix == ".onnx" else None
        if network is not None:
            yield Recogniser(path.stem, network, every)


def _param(path: Path) -> Embed:
    import torch

    from workers.research.data.param_file import ParamNetwork

    network = ParamNetwork(path).eval()

    def embed(crops: Crops) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return np.asarray((network(pixels) + network(pixels.flip(3))).numpy(), np.float32)

    return embed


def _onnx(path: Path) -> Embed | None:
    """Return the network of a file that maps crops (n, 3, 112, 112), RGB -1..1, to vectors; None: it does not."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given, *others), outputs = session.get_inputs(), session.get_outputs()
    if others or given.shape[-2:] != [112, 112] or len(outputs) != 1 or outputs[0].shape[-1] not in WIDTHS:
        return None

    def embed(crops: Crops) -> NDArray[np.float32]:
        pixels = (np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
        plain, mirrored = (session.run(None, {given.name: each})[0] for each in (pixels, pixels[..., ::-1].copy()))
        return np.asarray(plain + mirrored, np.float32)

    return embed


def people(name: str, recogniser: Recogniser) -> People:
    """Return the embedded images of a set by person. They are kept in the folder for temporary files."""
    mark = hashlib.sha256(f"{name} {recogniser.name}".encode()).hexdigest()[:16]
    kept = CACHE / f"{mark}.npz"
    if not kept.is_file():
        names, crops = SETS[name]()
        found = [recogniser.embed(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(kept, names=np.array(names), embeddings=np.concatenate(found))
    with np.load(kept) as both:
        every: People = defaultdict(list)
        for person, embedding in zip(both["names"].tolist(), both["embeddings"], strict=True):
            every[person].append(EmbeddedReference(person, str(len(every[person])), embedding, 1.0))
    return dict(every)


def _lfw(split: Split | None) -> tuple[list[str], Crops]:
    columns = Columns(name="source_name", identity="person")
    path = shared_folder() / "data" / "train" / "lfw_grey_aligned.parquet"
    layout = Parquet(format="parquet", path=path, columns=columns)
    faces = open_set("lfw", layout if split is None else layout.model_copy(update={"split": split}))
    assert faces.labels.identity is not None
    names = [str(faces.identities[number]) for number in faces.labels.identity]
    return names, [faces.images.read(row) for row in range(len(faces))]


def _portraits(where: str, name: str) -> tuple[list[str], Crops]:
    """Return faces that are detected and aligned as those of a gallery are, oldest photo first."""
    data = shared_folder() / "data"
    rows = parquet.read_table(data / where).to_pylist()
    config = StreamerConfig(detect=Detect(weights=str(data / "weights" / "yolov8-lite-t-face.onnx")))
    with tempfile.TemporaryDirectory() as scratch:
        for number, row in enumerate(rows):
            place = Path(scratch) / str(row["person"])
            place.mkdir(exist_ok=True)
            suffix = "png" if row["image"][:4] == b"\x89PNG" else "jpg"
            (place / f"{row.get('photo_year', 0)}-{number:04d}.{suffix}").write_bytes(row["image"])
        found = read_people(Path(scratch), name, Detector(config.detect), config.crop, lambda: False)
    return [one.person for one in found], [one.pixels for one in found]


SETS: dict[str, Callable[[], tuple[list[str], Crops]]] = {
    "LFW": lambda: _lfw(None),
    "LFW held out": lambda: _lfw(Split(part="validation", share=0.2)),
    "ORL": lambda: _portraits("stills/orl-40x10.parquet", "ORL"),
    "Congress": lambda: _portraits("train/congress_portraits.parquet", "Congress"),
}
