"""Read insightface's face recognition sets: train.rec, train.idx and train.lst.

Layout: https://github.com/deepinsight/insightface (recognition/_datasets_, recognition/arcface_torch/dataset.py,
mxnet's recordio.IRHeader). A record is a header of flag (uint32), label (float32), id and id2 (uint64), then `flag`
float32 labels if it is not 0, then the encoded image. Record 0 with flag > 0 is not an image: its first label is the
last key of an image plus one, and the images are records 1 to that key.
"""

import logging
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceanalytics.errors import InputError
from workers.research.data.assemble import or_images
from workers.research.data.face_set import Bytes, FaceSet, Floats, Labels
from workers.research.data.images import decode
from workers.research.data.options import SetOptions
from workers.research.data.recordio import LENGTH, LOG_EVERY, MAGIC, WHOLE, Index, RecordFile, read_index, scan
from workers.research.data.rows import reading

HEADER = struct.Struct("<IfQQ")
HEADER_WORDS = (8 + HEADER.size + 4) // 4  # words of a record up to its first label
AT_ONCE = 100_000  # records whose headers are read together
CHECKED = 200  # records whose label is compared with that in the list
log = logging.getLogger(__name__)


class RecordSet(SetOptions):
    """insightface's RecordIO; `path` is the folder of train.rec, or a .rec file.

    Files in `images` are named by the records' keys, such as 12.jpg.
    """

    format: Literal["recordio"]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Images in a record file."""

    file: RecordFile
    index: Index  # n images

    def __len__(self) -> int:
        return len(self.index.keys)

    def read(self, index: int) -> Bytes:
        key, offset = int(self.index.keys[index]), int(self.index.offsets[index])
        record = self.file.record(offset, key)
        if len(record) < HEADER.size:
            raise self.file.fail(key, offset, f"of {len(record)} bytes has no header")
        flag = HEADER.unpack_from(record)[0]
        return decode(record[HEADER.size + 4 * flag :], f"{self.file.path}: record {key} at byte {offset}")

    def name(self, index: int) -> str:
        return str(self.index.keys[index])


def open_recordio(name: str, config: RecordSet) -> FaceSet:
    """Open the set; identities are numbered in the order of their labels.

    Labels are read from the .lst file if it exists and agrees with a sample of the records, else from all records'
    headers. Raises InputError for a damaged file.
    """
    path = config.path / "train.rec" if config.path.is_dir() else config.path
    file = RecordFile(path)
    index = _images(file, path)
    list_file = path.with_suffix(".lst")
    labels = _listed_labels(file, index, list_file) if list_file.exists() else None
    if labels is None:
        labels = read_labels(file, index)
    _refuse_fractions(file, index, labels)
    identities, numbers = np.unique(labels.astype(np.int64), return_inverse=True)
    images = or_images(name, config, Records(file, index))
    names = tuple(map(str, identities.tolist()))
    return FaceSet(name, images, Labels(identity=numbers.astype(np.int64)), names)


def _images(file: RecordFile, path: Path) -> Index:
    """Return the records that are images. Raises InputError if one is missing according to record 0."""
    index_file = path.with_suffix(".idx")
    index = read_index(index_file) if index_file.exists() else scan(file)
    if not len(index.keys):
        raise InputError(f"{path}: no records")
    first = np.flatnonzero(index.keys == 0)
    if not len(first):
        return index
    record = file.record(int(index.offsets[first[0]]), 0)
    if len(record) < HEADER.size:
        raise file.fail(0, int(index.offsets[first[0]]), f"of {len(record)} bytes has no header")
    flag = HEADER.unpack_from(record)[0]
    if flag == 0 or len(record) > HEADER.size + 4 * flag:  # an image with labels of its own follows its header
        return index
    end = int(struct.unpack_from("<f", record, HEADER.size)[0])
    used = (index.keys >= 1) & (index.keys < end)
    # beyond 2^24 a float32 holds only every second number, and then only every fourth
    if abs(int(used.sum()) - (end - 1)) > (0 if end < 1 << 24 else np.spacing(np.float32(end))):
        raise InputError(f"{path}: record 0 announces images 1 to {end - 1}, but the file has {used.sum()} of them")
    return Index(index.keys[used], index.offsets[used])


def read_labels(file: RecordFile, index: Index) -> Floats:
    """Return the first label of each record, (n,), from the headers. Raises InputError at the first damaged record."""
    words = file.words()
    labels = np.empty(len(index.offsets), np.float32)
    for start in range(0, len(labels), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        labels[part] = _headers(file, words, Index(index.keys[part], index.offsets[part]))
        if start and start % LOG_EVERY == 0:
            log.info("%s: labels of %d of %d records read", file.path, start, len(labels))
    return labels


def _headers(file: RecordFile, file_words: NDArray[np.uint32], index: Index) -> Floats:
    """Return the first labels (n,) of all records at once; unusual or damaged records are read one by one."""
    last = 4 * (len(file_words) - HEADER_WORDS)
    inside = (index.offsets >= 0) & (index.offsets <= last) & (index.offsets % 4 == 0)
    if not inside.any():
        return np.array(
            [_label(file, int(key), int(offset)) for key, offset in zip(index.keys, index.offsets, strict=True)],
            np.float32,
        )
    starts = np.where(inside, index.offsets, 0)
    words = file_words[starts[:, None] // 4 + np.arange(HEADER_WORDS)]  # magic, length, flag, label, id, id2, labels[0]
    lengths = words[:, 1] & LENGTH
    usual = inside & (words[:, 0] == MAGIC) & (words[:, 1] >> 29 == WHOLE) & (lengths >= HEADER.size + 4)
    usual &= starts + 8 + lengths <= len(file)
    values = words.view("<f4")
    labels = np.where(words[:, 2] == 0, values[:, 3], values[:, 8]).astype(np.float32)
    for row in np.flatnonzero(~usual):
        labels[row] = _label(file, int(index.keys[row]), int(index.offsets[row]))
    return labels


def _label(file: RecordFile, key: int, offset: int) -> float:
    record = file.record(offset, key)
    flag = HEADER.unpack_from(record)[0] if len(record) >= HEADER.size else 0
    if len(record) < HEADER.size + 4 * flag:
        raise file.fail(key, offset, f"of {len(record)} bytes has no header of {flag} labels")
    label: float = HEADER.unpack_from(record)[1] if flag == 0 else struct.unpack_from("<f", record, HEADER.size)[0]
    return label


def _listed_labels(file: RecordFile, index: Index, path: Path) -> Floats | None:
    """Return the labels (n,) of the .lst file, or log a warning and return None if it does not fit the records.

    Lines are `aligned path label` (insightface's face2rec2, in the order of the records) or `key label path` (MXNet's
    im2rec), separated by tabs.
    """
    labels = _list(path)
    if len(labels) != len(index.keys):
        log.warning("%s: %d lines for %d images: labels are read from the records", path, len(labels), len(index.keys))
        return None
    sample = np.unique(np.linspace(0, len(labels) - 1, CHECKED).astype(np.int64))
    in_records = _headers(file, file.words(), Index(index.keys[sample], index.offsets[sample]))
    if (in_records != labels[sample]).any():
        log.warning("%s: disagrees with the records: labels are read from the records", path)
        return None
    return labels


def _list(path: Path) -> Floats:
    """Return the label of each line, (n,). Raises InputError for a line without one."""
    labels = array("f")
    column = 0
    with reading(path) as file:
        for line, text in enumerate(file, 1):
            cells = text.rstrip("\r\n").split("\t")
            column = column or (1 if len(cells) > 1 and _is_number(cells[1]) else 2)
            if len(cells) < 3 or not _is_number(cells[column]):
                raise InputError(f"{path}:{line}: expected `aligned path label` or `key label path` with tabs")
            labels.append(float(cells[column]))
    return np.array(labels, np.float32)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_fractions(file: RecordFile, index: Index, labels: Floats) -> None:
    wrong = np.flatnonzero(~((labels >= 0) & (labels == np.floor(labels))))
    if len(wrong):
        key, offset = int(index.keys[wrong[0]]), int(index.offsets[wrong[0]])
        raise file.fail(
            key, offset, f"has the label {labels[wrong[0]]}, which is not an identity ({len(wrong)} such records)"
        )
