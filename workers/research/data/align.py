"""Turn images of faces into aligned crops of 112x112 pixels: `swinface data align`."""

import hashlib
import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError
from faceanalytics.files import exclusive
from faceanalytics.names import printable
from faceanalytics.progress import counted
from workers.align import detector_file
from workers.research.data.align_log import ALIGNED, Log
from workers.research.data.align_one import Recipe, crop_name, start
from workers.research.data.face_set import Images, Subset
from workers.research.data.images import Files, Names, find_files
from workers.research.data.parallel import parallel

AT_ONCE = 4  # images per task of a process, about 0.2 s, which is how long stopping takes
SHOWN = 20  # failures to print; the log has all of them

log = logging.getLogger(__name__)


class StopSignal:
    """Records the first SIGINT or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.exit_code = 0

    def __call__(self) -> bool:
        return self.exit_code != 0

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.exit_code = 128 + number
        signal.signal(number, signal.SIG_DFL)


def find_images(source: Path) -> Files:
    """Find all images below a folder. Raises InputError if there are none."""
    names = Names(find_files(source))
    if not names:
        from streamer.source.images import IMAGES

        raise InputError(f"no images in {source} ({' '.join(sorted(IMAGES))})")
    return Files(source, names)


def align_all(source: str, images: Images, recipe: Recipe, processes: int) -> int:
    """Align the images that are not done yet and return the exit code.

    `source`: where the images come from, so that a resumed run is not mixed up with another one.
    Raises InputError if no image has a face; ModelError, ConfigError.
    """
    _check_apart(images, recipe.out)
    options = {"source": printable(source), **_recipe_options(recipe)}
    names = _names(images)
    _make_folder(recipe.out)
    stop = StopSignal()
    with exclusive(recipe.out, f"{recipe.out}: another run is writing there"):
        record = Log(recipe.out, options)
        to_do = [index for index, name in enumerate(names) if name not in record.done]
        if len(to_do) < len(names):
            log.info("%d of %d images are done already", len(names) - len(to_do), len(names))
        lines = parallel(partial(start, recipe, images), to_do, processes, AT_ONCE, stop)
        with stop.on_signals(), closing(lines):
            for line in counted(lines, len(to_do), "aligning"):
                record.add(line)
    return _report(record, names, stop)


def _check_apart(images: Images, out: Path) -> None:
    """Raise ConfigError if crops could be mistaken for images, or replace them."""
    while isinstance(images, Subset):
        images = images.images
    if not isinstance(images, Files):
        return
    source, target = images.folder.resolve(), out.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ConfigError(f"{out} and the folder of images {images.folder} must not overlap: choose another OUT")


def _recipe_options(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that the crops depend on. Raises ModelError if there is no detector."""
    weights = detector_file(recipe.detector)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "detector": f"{weights.stem}-{digest[:12]}",
        "detector_size": recipe.detector.input_size,
        "min_score": recipe.detector.min_score,
        "choose": recipe.choose,
    }


def _names(images: Images) -> list[str]:
    """Return the names of all images. Raises ConfigError if crops cannot have these names, or would share one."""
    names = [images.name(index) for index in range(len(images))]
    crops = Counter(map(crop_name, names))
    if len(crops) < len(names):
        crop, times = crops.most_common(1)[0]
        raise ConfigError(f"the crops of {times} images would all be called {crop}: rename the images")
    return names


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from error


def _report(record: Log, names: Sequence[str], stop: StopSignal) -> int:
    """Print the failures of this and earlier runs and return the exit code. Raises InputError if all failed."""
    outcomes = {name: record.done[name] for name in names if name in record.done}
    failed = sorted(name for name, outcome in outcomes.items() if outcome.result != ALIGNED)
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(names)} images are not aligned (all are in {record.path}):\n")
        sys.stderr.write("".join(f"  {printable(name)}: {outcomes[name]}\n" for name in failed[:SHOWN]))
        sys.stderr.write(f"  and {len(failed) - SHOWN} more\n" if len(failed) > SHOWN else "")
    if stop():
        left = len(names) - len(outcomes)
        log.warning("stopped by a signal, %d of %d images are left: run the same command to go on", left, len(names))
        return stop.exit_code
    with_border = sum(outcome.result == ALIGNED and outcome.border > 0 for outcome in outcomes.values())
    aligned = len(outcomes) - len(failed)
    log.info("%d of %d images are aligned, %d of them with a border", aligned, len(names), with_border)
    if not aligned:
        raise InputError(f"no image of {len(names)} shows a face that could be aligned")
    return PARTIAL_RESULT if failed else 0
