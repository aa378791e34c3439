"""Run a network on every image of a set, reading ahead in threads."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError, ModelError
from faceanalytics.progress import counted
from workers.research.data.face_set import Bytes, Images, fitted
from workers.swinface.labels import EMBEDDING

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Network: TypeAlias = Callable[[Bytes], dict[str, Floats]]  # uint8 (n, 112, 112, 3) RGB -> (n, width) by slug
BATCH = 32  # images
READERS = 4  # threads, for images that can be read concurrently


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """Options of inference on a set of images."""

    batch: int = BATCH
    skip_unreadable: bool = False  # skip unreadable images instead of raising an error that lists them all
    readers: int = 1  # threads; more than one only for images that can be read concurrently
    what: str = "faces"  # label of the progress bar


@dataclass(frozen=True, slots=True, eq=False)
class NetworkOutputs:
    """The network's outputs for the readable images of a set."""

    rows: Integers  # (n,) rows of the readable images, ascending
    outputs: dict[str, Floats]  # (n, width) by slug
    digest: str  # sha256 of name, size and pixels of every image
    unreadable: tuple[str, ...] = ()  # one line per unreadable image


@dataclass(slots=True)
class ReadReport:
    """The checksum of the images read so far, and the unreadable ones."""

    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    unreadable: list[str] = field(default_factory=list)

    def close(self, options: InferenceOptions, total: int) -> None:
        """Raise InputError that lists the unreadable images, unless they are to be skipped and others were readable."""
        if not self.unreadable or (options.skip_unreadable and len(self.unreadable) < total):
            return
        lines = "".join(f"\n  {line}" for line in self.unreadable)
        advice = "" if options.skip_unreadable else "; use --skip-unreadable to measure on the others"
        raise InputError(f"{len(self.unreadable)} of {total} images could not be read{advice}:{lines}")


def mirrored(crops: Bytes) -> Bytes:
    """Mirror crops (n, 112, 112, 3) left to right."""
    return np.ascontiguousarray(crops[:, :, ::-1])


def batches(images: Images, options: InferenceOptions, read_report: ReadReport) -> Iterator[tuple[Integers, Bytes]]:
    """Yield rows and crops of the readable images, in order, while the next ones are being read.

    After an unreadable image that must not be skipped, the others are still read, so that the report is complete.
    """
    rows: list[int] = []
    crops: list[Bytes] = []
    for row, crop in _crops(images, options, read_report):
        rows.append(row)
        crops.append(crop)
        if len(rows) == options.batch:
            yield np.array(rows, np.int64), np.stack(crops)
            rows, crops = [], []
    if rows:
        yield np.array(rows, np.int64), np.stack(crops)


def embeddings(network: Network, crops: Bytes) -> Floats:
    """Return f(x) + f(mirrored x), (n, width), not normalised. Raises ModelError for numbers that are not finite."""
    return _finite(EMBEDDING, network(crops)[EMBEDDING] + network(mirrored(crops))[EMBEDDING])


def infer(images: Images, network: Network, options: InferenceOptions | None = None) -> NetworkOutputs:
    """Run the network on all images; the embedding is f(x) + f(mirrored x), other outputs are those of the image.

    Raises InputError that lists all unreadable images, unless they are to be skipped, and ModelError for outputs that
    are not finite.
    """
    options = options or InferenceOptions()
    read_report = ReadReport()
    rows: list[Integers] = []
    columns: dict[str, list[Floats]] = {}
    for part, crops in batches(images, options, read_report):
        outputs = network(crops)
        if EMBEDDING in outputs:
            outputs = {**outputs, EMBEDDING: outputs[EMBEDDING] + network(mirrored(crops))[EMBEDDING]}
        rows.append(part)
        for slug, output in outputs.items():
            columns.setdefault(slug, []).append(_finite(slug, output))
    read_report.close(options, len(images))
    if not rows:
        raise InputError("there are no images")
    joined = {slug: np.concatenate(parts) for slug, parts in columns.items()}
    return NetworkOutputs(np.concatenate(rows), joined, read_report.hash.hexdigest(), tuple(read_report.unreadable))


def _finite(slug: str, output: Floats) -> Floats:
    if not np.isfinite(output).all():
        raise ModelError(
            f"the output {slug} is not finite: the weights are damaged, or overflow in this precision; try fp32"
        )
    return output


def _crops(images: Images, options: InferenceOptions, read_report: ReadReport) -> Iterator[tuple[int, Bytes]]:
    ahead = counted(_read_ahead(images, options), len(images), options.what)
    for row, (digest, crop) in enumerate(ahead):
        read_report.hash.update(images.name(row).encode("utf-8", "surrogateescape") + b"\0" + digest)
        if isinstance(crop, str):
            read_report.unreadable.append(crop)
        elif options.skip_unreadable or not read_report.unreadable:
            yield row, crop


def _read_ahead(images: Images, options: InferenceOptions) -> Iterator[tuple[bytes, Bytes | str]]:
    """Yield digest and crop of each image, or why it cannot be read, reading up to two batches ahead."""
    pending: deque[Future[tuple[bytes, Bytes | str]]] = deque()
    with ThreadPoolExecutor(options.readers, thread_name_prefix="evaluate") as pool:
        try:
            for row in range(len(images)):
                pending.append(pool.submit(_read, images, row))
                if len(pending) > 2 * options.batch:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(images: Images, row: int) -> tuple[bytes, Bytes | str]:
    try:
        image = images.read(row)
    except InputError as error:
        return b"unreadable", str(error)
    pixels = np.ascontiguousarray(image)
    digest = hashlib.sha256(str(pixels.shape).encode() + b"\0")
    digest.update(pixels.data)
    return digest.digest(), fitted(image)
