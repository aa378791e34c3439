"""The outputs that an interrupted `data embed` has computed so far, in a file beside the one that it writes."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceanalytics.files import exclusive, writing

Floats = NDArray[np.float32]
KEY_SIZE = 32  # bytes


class Progress:
    """The batches computed so far, in order; each is one array (n, width) per teacher."""

    def __init__(self, path: Path, key: bytes, teachers: int) -> None:
        """`key` says what is computed: the batches of another computation are removed. Raises ConfigError."""
        self._path = path
        with writing(path):
            self._file = path.open("a+b")
            self._file.seek(0)
            known = self._file.read(KEY_SIZE) == key
            self.batches = list(self._batches(teachers)) if known else []
            if not known:
                self._file.truncate(0)
                self._file.write(key)
            self._file.flush()

    def _batches(self, teachers: int) -> Iterator[list[Floats]]:
        """Yield the whole batches and cut off the rest, which a killed process left."""
        whole = self._file.tell()
        while True:
            try:
                batch = [np.load(self._file, allow_pickle=False) for _ in range(teachers)]
            except (EOFError, ValueError, OSError):
                break
            whole = self._file.tell()
            yield batch
        self._file.truncate(whole)
        self._file.seek(whole)

    def add(self, batch: Sequence[Floats]) -> None:
        """Keep a batch. Raises ConfigError."""
        with writing(self._path):
            for values in batch:
                np.save(self._file, values)
            self._file.flush()
        self.batches.append(list(batch))

    def forget(self) -> None:
        """Remove all batches, because they are of no use."""
        with writing(self._path):
            self._file.truncate(KEY_SIZE)
            self._file.flush()
        self.batches.clear()

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()


@contextmanager
def progress(out: Path, parts: Sequence[str], teachers: int) -> Iterator[Progress]:
    """Yield the progress of a computation that writes `out` and is identified by `parts`; removed when it succeeds.

    Raises ConfigError, also while another process computes the same file.
    """
    path = out.with_name(f"{out.name}.progress")
    key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    with writing(out):
        path.touch()
        lock = exclusive(path, f"{out} is being written by another process")
    with lock:
        found = Progress(path, key, teachers)
        try:
            yield found
        finally:
            found.close()
        with writing(path):
            path.unlink()
