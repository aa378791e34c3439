"""Read insightface's `.bin` files: pairs of encoded images, and whether each pair shows one person.

Such a file is a pickle, and a pickle can run code. Only lists, tuples, bytes and numpy arrays of numbers are allowed;
anything else is refused before it is created.
"""

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.face_set import Bytes
from workers.research.data.images import decode
from workers.research.evaluate.draw_pairs import Pairs
from workers.research.evaluate.verification import FOLDS, folds_in_order

# Errors that a damaged pickle can raise, depending on its bytes.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True, slots=True, eq=False)
class BinImages:
    """The images of a .bin file, pair after pair."""

    file: str
    encoded: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, index: int) -> Bytes:
        return decode(self.encoded[index], f"{self.file}: image {index} (of pair {index // 2})")

    def name(self, index: int) -> str:
        return str(index)


def read_bin(path: Path) -> tuple[BinImages, Pairs]:
    """Read the images, 2i and 2i+1 of pair i, and the pairs in ten consecutive folds. Raises InputError."""
    try:
        with path.open("rb") as file:
            content = _Restricted(file, path).load()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except _DAMAGED as error:
        raise InputError(f"{path}: not a .bin file of insightface, or damaged ({type(error).__name__})") from error
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise InputError(f"{path}: expected (bins, issame), found {_kind(content)}")
    bins, same = (list(part) if isinstance(part, list | tuple | np.ndarray) else None for part in content)
    if bins is None or same is None:
        raise InputError(f"{path}: expected two lists, found {_kind(content[0])} and {_kind(content[1])}")
    if len(bins) != 2 * len(same) or not same:
        raise InputError(f"{path}: {len(bins)} images for {len(same)} pairs, expected two for each")
    if len(same) < FOLDS:
        raise InputError(f"{path}: {len(same)} pairs cannot be divided into {FOLDS} folds")
    images = BinImages(str(path), [_encoded(item, path, index) for index, item in enumerate(bins)])
    first = np.arange(len(same)) * 2
    return images, Pairs(first, first + 1, _is_same(same, path), folds_in_order(len(same)))


def _encoded(item: object, path: Path, index: int) -> bytes:
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 1:
        return item.tobytes()
    raise InputError(f"{path}: image {index} is {_kind(item)}, expected bytes or a flat array of uint8")


def _is_same(same: list[Any], path: Path) -> NDArray[np.bool_]:
    for index, item in enumerate(same):
        if not isinstance(item, bool | np.bool_) and not (isinstance(item, int | np.integer) and item in (0, 1)):
            raise InputError(f"{path}: issame of pair {index} is {_kind(item)}, expected True or False")
    return np.array(same, np.bool_)


def _kind(item: object) -> str:
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, list | tuple) else type(item).__name__


class _Restricted(pickle.Unpickler):
    """An unpickler that refuses everything but _ALLOWED; Python 2 strings stay bytes, as images are stored so."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise InputError(f"{self._path}: it holds {module}.{name}, which a .bin file does not need; refused")
        return allowed


def _no_bytes() -> bytes:
    """Return empty bytes, which Python 3 pickles for Python 2 as a call without arguments."""
    return b""


def _latin(text: str, encoding: str | bytes) -> bytes:
    """Return bytes, which Python 3 pickles for Python 2 as Latin-1 text."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError("an encoding other than that of bytes")
    return text.encode("latin1")


def _dtype(code: Any, *more: Any) -> Any:
    kind = np.dtype(code if isinstance(code, str) else bytes(code).decode("ascii"))
    if kind.kind not in "biu":
        raise ValueError("an array of anything but whole numbers")
    return np.dtype(kind, *more)


def _array(kind: Any, shape: Any, code: Any) -> Any:
    """Return an empty array, which the unpickler fills afterwards."""
    if kind is not _NDARRAY or tuple(shape) != (0,):
        raise ValueError("anything but an array")
    return _multiarray()._reconstruct(np.ndarray, shape, code)


def _multiarray() -> Any:
    return np._core.multiarray  # type: ignore[attr-defined]


def _scalar(*parts: Any) -> Any:
    return _multiarray().scalar(*parts)


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


_NDARRAY = object()  # placeholder for numpy.ndarray, which a pickle could call
_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
} | {
    (f"numpy.{core}.{module}", name): function
    for core in ("core", "_core")
    for module, name, function in (
        ("multiarray", "_reconstruct", _array),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
}
