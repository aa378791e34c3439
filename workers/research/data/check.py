"""Count and check sets of faces, and list every problem: `swinface data check`."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.files import replacing
from faceanalytics.names import printable
from faceanalytics.progress import counted
from workers.research.data.face_set import FaceSet, Images, impossible
from workers.research.data.parallel import parallel
from workers.research.data.statistics import Sizes, Statistics, count, describe, describe_sizes

if TYPE_CHECKING:
    from workers.research.data.sets import SetConfig

AT_ONCE = 32  # images per task of a process
Size: TypeAlias = tuple[int, int]  # width, height, px


@dataclass(frozen=True, slots=True)
class Request:
    """How much to check, and where the results go."""

    images: int | None = None  # number of images to read, drawn at random; None: all
    processes: int = 1
    sheets: Path | None = None  # folder of the contact sheets
    out: Path | None = None  # JSON
    exclude_out: Path | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a face, or a whole set, cannot be used."""

    kind: Literal["impossible label", "unreadable image", "repeated name", "unusable set"]
    image: str | None  # its name in the set
    message: str  # where it is and why


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one set."""

    statistics: Statistics | None  # None: the set could not be opened
    sizes: Sizes | None
    problems: Sequence[Problem]

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        if self.statistics:
            yield from describe(self.statistics)
        if self.sizes:
            yield from describe_sizes(self.sizes)
        kinds = Counter(problem.kind for problem in self.problems)
        yield f"problems     {', '.join(f'{kind} {number}' for kind, number in kinds.items()) or 'none'}"
        yield from (f"  {problem.kind}: {problem.message}" for problem in self.problems)


def check(configs: Mapping[str, "SetConfig"], request: Request) -> None:
    """Check these sets and print their reports.

    Raises InputError if there is any problem, after listing all of them; ConfigError.
    """
    from workers.research.data.sets import open_set

    check_request(request, len(configs))
    reports: dict[str, Report] = {}
    for name, config in configs.items():
        try:
            faces = open_set(name, config)
        except InputError as error:
            reports[name] = Report(None, None, [Problem("unusable set", None, str(error))])
        else:
            reports[name] = check_set(faces, request)
        _show(name, reports[name])
    finish(reports, request)


def check_request(request: Request, sets: int) -> None:
    """Raise ConfigError for options that cannot work, before any work is done."""
    if request.exclude_out and sets != 1:
        raise ConfigError(f"--exclude-out works for one set at a time, not for {sets}: choose one with --set NAME")
    for option, path in (("--out", request.out), ("--exclude-out", request.exclude_out)):
        if path and not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {path.parent}")
    if request.sheets:
        try:
            request.sheets.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--sheets {request.sheets}: cannot make the folder: {error.strerror}") from error


def check_set(faces: FaceSet, request: Request) -> Report:
    """Count and check a set, and draw its contact sheet."""
    wrong = impossible(faces)
    problems = [Problem("impossible label", faces.images.name(index), message) for index, message in wrong]
    problems += _repeated(faces)
    rows = _rows(len(faces), request.images)
    sizes: Counter[Size] = Counter()
    unreadable: list[tuple[int, Problem]] = []
    work = parallel(partial(_start, faces.images), rows, request.processes, AT_ONCE)
    with closing(work):
        for index, result in counted(work, len(rows), faces.name):
            if isinstance(result, str):
                name = faces.images.name(index)
                unreadable.append((index, Problem("unreadable image", name, f"{faces.where(index)}: {result}")))
            else:
                sizes[result] += 1
    problems += [problem for _, problem in sorted(unreadable, key=lambda item: item[0])]
    if request.sheets:
        from workers.research.data.sheet import write_sheet

        refused = {index for index, _ in wrong} | {index for index, _ in unreadable}
        write_sheet(faces, request.sheets / f"{faces.name}.png", refused)
    return Report(count(faces), Sizes.of(sizes), problems)


def finish(reports: Mapping[str, Report], request: Request) -> None:
    """Write the requested files. Raises InputError if there is any problem."""
    if request.out:
        text = json.dumps({"sets": {name: _record(report) for name, report in reports.items()}}, indent=2)
        with replacing(request.out) as partial_file:
            partial_file.write_text(text + "\n")
    bad = {name: report for name, report in reports.items() if report.problems}
    if not bad:
        return
    listed = ", ".join(f"{name} has {len(report.problems)}" for name, report in bad.items())
    if request.exclude_out:
        (report,) = bad.values()
        write_excluded(request.exclude_out, report.problems)
        raise InputError(
            f"problems, all listed above: {listed}. The names of these images are in {request.exclude_out}: "
            f"add `exclude: {request.exclude_out}` to the set to leave them out"
        )
    raise InputError(
        f"problems, all listed above: {listed}. Fix them, or leave these images out: --set NAME --exclude-out FILE "
        f"writes their names to a file for the set's option `exclude`"
    )


def _record(report: Report) -> dict[str, Any]:
    names = [None if problem.image is None else printable(problem.image) for problem in report.problems]
    shown = [replace(problem, image=name) for problem, name in zip(report.problems, names, strict=True)]
    return asdict(replace(report, problems=shown))


def write_excluded(path: Path, problems: Sequence[Problem]) -> None:
    """Add the images' names to the file, each with the reason. Raises ConfigError for names it cannot hold."""
    old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    reasons: dict[str, str] = {}
    for problem in problems:
        if problem.image is not None:
            reasons.setdefault(printable(problem.image), f"{problem.kind}: {' '.join(problem.message.split())}")
    for name in reasons:
        if name != name.strip() or name.startswith("#") or " #" in name or len(name.splitlines()) != 1:
            raise ConfigError(
                f"{path} cannot hold the name {name!r}, which would be read differently: rename the image"
            )
    lines = dict.fromkeys([*old, *(f"{name} # {reason}" for name, reason in reasons.items())])
    with replacing(path) as partial_file:
        partial_file.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _show(name: str, report: Report) -> None:
    faces = f"{report.statistics.faces} faces" if report.statistics else "cannot be used"
    sys.stdout.write(f"{name}: {faces}\n" + "".join(f"  {line}\n" for line in report.lines()))
    sys.stdout.flush()


def _rows(total: int, wanted: int | None) -> Sequence[int]:
    if wanted is None or wanted >= total:
        return range(total)
    drawn = np.random.default_rng(0).choice(total, wanted, replace=False)
    return [int(row) for row in np.sort(drawn)]


def _repeated(faces: FaceSet) -> list[Problem]:
    rows_of: dict[str, list[int]] = {}
    for index in range(len(faces)):
        rows_of.setdefault(faces.images.name(index), []).append(index)
    return [
        Problem(
            "repeated name", name, f"{printable(name)} is listed {len(rows)} times: {'; '.join(map(faces.where, rows))}"
        )
        for name, rows in rows_of.items()
        if len(rows) > 1
    ]


def _start(images: Images) -> Callable[[int], tuple[int, Size | str]]:
    """Return the function that a process applies to each image: its size, or why it cannot be read."""
    cv2.setNumThreads(1)
    return partial(_size, images)


def _size(images: Images, index: int) -> tuple[int, Size | str]:
    try:
        height, width = images.read(index).shape[:2]
    except InputError as error:
        return index, str(error)
    return index, (width, height)
