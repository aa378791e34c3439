"""Checks of the machine: clock, memory, file descriptors, disk."""

import ctypes
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from faceanalytics.commandline import number_of
from streamer.doctor.finding import Finding, Patient, fine, warn
from streamer.store.database import sqlite_folder

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)  # an earlier clock is wrong
TIMEX_BYTES, NOT_SYNCHRONISED = 256, 5  # size of struct timex, rounded up; TIME_ERROR
BASE_MB, CAMERA_MB, STORE_MB = 350, 20, 100  # see docs/operations.md, Memory
BASE_FILES, CAMERA_FILES = 200, 8
MIN_FREE_MB = 1000


def check_clock(patient: Patient) -> Iterator[Finding]:
    """Check that the time can be right, and that something keeps it right."""
    del patient
    now = datetime.now(UTC)
    if now < WRITTEN:
        yield warn("clock", f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is over", "set it, and keep it by NTP")
        return
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    if state < 0:
        yield fine("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC; whether NTP keeps it cannot be asked here")
    elif state == NOT_SYNCHRONISED:
        yield warn(
            "clock",
            f"{now:%Y-%m-%d %H:%M:%S} UTC, but no program reports that it keeps the clock synchronised",
            "run chrony or systemd-timesyncd, on the host of a container: results carry times of this clock",
        )
    else:
        yield fine("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, synchronised")


def check_memory(patient: Patient) -> Iterator[Finding]:
    """Compare the free memory with what a streamer with these cameras needs."""
    if patient.running:
        yield fine("memory", f"a streamer runs already; {_available_mb():.0f} MB are free")
        return
    cameras = len(patient.config.streams)
    needed, free = BASE_MB + CAMERA_MB * cameras + (STORE_MB if patient.config.store else 0), _available_mb()
    text = f"{free:.0f} MB are free, a streamer with {number_of(cameras, 'camera')} needs about {needed}"
    advice = "add memory, raise the limit of the container, or read fewer cameras"
    yield fine("memory", text) if free >= needed else warn("memory", text, advice)


def _available_mb() -> float:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    free = next((float(words[1]) / 1024 for words in lines if words[0] == "MemAvailable:"), float("inf"))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        return min(free, (float(limit.read_text()) - float(used.read_text())) / 2**20)
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free


def check_files(patient: Patient) -> Iterator[Finding]:
    """Compare the limit of open files with what these cameras need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = BASE_FILES + CAMERA_FILES * max(len(patient.config.streams), 1)
    text = f"a program may have {soft} files open, these cameras need about {needed}"
    if soft >= needed or soft == resource.RLIM_INFINITY:
        yield fine("files", text)
    else:
        limit = "infinity" if hard == resource.RLIM_INFINITY else hard
        yield warn("files", text, f"raise it (ulimit -n, or LimitNOFILE of systemd); here it may be up to {limit}")


def check_disk(patient: Patient) -> Iterator[Finding]:
    """Check the free space where the streamer writes."""
    places = {"temporary files": Path(tempfile.gettempdir())}
    store = patient.config.store
    if store is not None and not store.database():
        places["the store"] = sqlite_folder(store)
    if patient.config.access.folder is not None:
        places["the audit log"] = Path(patient.config.access.folder)
    for what, place in places.items():
        usage = shutil.disk_usage(_existing(place))
        free, nodes = usage.free / 1e6, os.statvfs(_existing(place))
        wanted = max(MIN_FREE_MB, store.max_size_mb or 0) if what == "the store" and store else 0
        text = f"{free:.0f} MB are free at {place} for {what}"
        if nodes.f_files and not nodes.f_favail:
            yield warn("disk", f"the file system of {place} has no free inodes", "delete files there")
        elif free < MIN_FREE_MB / 10:
            yield warn("disk", text, "make room: a full disk loses what is stored")
        elif store is not None and free < wanted - _size_mb(place):
            yield warn("disk", f"{text}, which may grow to {wanted:.0f} MB", "make room, or lower store.max_size_mb")
        else:
            yield fine("disk", text)


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _size_mb(folder: Path) -> float:
    return sum(one.stat().st_size for one in folder.glob("store.sqlite*")) / 1e6 if folder.is_dir() else 0.0
