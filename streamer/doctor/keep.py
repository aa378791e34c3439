"""Checks of the store: it can be opened and read, its form fits, it is whole."""

import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faceanalytics.errors import ConfigError, LostDependency, UserError
from faceanalytics.files import exclusive
from streamer.config import Store
from streamer.doctor.finding import Finding, Patient, fail, fine, warn
from streamer.encryption import read_keys
from streamer.store.backup import contents
from streamer.store.database import FILE, sqlite_folder
from streamer.store.migrate import known_revisions

CHECK_S = 20.0  # longest time for the check of a database
STEPS = 100_000  # of SQLite between two looks at the clock


def check_store(patient: Patient) -> Iterator[Finding]:
    """Check the store without changing it."""
    store = patient.config.store
    if store is None:
        yield fine("store", "nothing is stored (store: null): watches cannot be resumed after a restart")
        return
    yield from _check_key(store)
    if not store.database():
        folder = sqlite_folder(store)
        problem = _unusable(folder)
        if problem:
            yield fail("store", problem, "give this user the folder, or set store.folder")
            return
        if not (folder / FILE).exists():
            yield fine("store", f"{folder} is empty; the first start makes the database")
            return
        yield from _check_in_use(folder, patient.running)
        yield _check_whole(folder / FILE)
    yield from _check_contents(store)


def _check_key(store: Store) -> Iterator[Finding]:
    try:
        key = read_keys(Path(store.key_file) if store.key_file else None)
    except ConfigError as error:  # MissingPackage is one
        yield fail("store", str(error), "mend store.key_file: without the key, stored cameras are not started")
        return
    if key is not None:
        yield fine("store", "the settings of stored cameras are encrypted")


def _unusable(folder: Path) -> str:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return f"{place} is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"this user may not write into {place}"
    file = folder / FILE
    return f"this user may not write {file}" if file.exists() and not os.access(file, os.R_OK | os.W_OK) else ""


def _check_in_use(folder: Path, running: bool) -> Iterator[Finding]:
    try:
        with exclusive(folder, "used"):
            pass
    except ConfigError:
        if not running:
            advice = "stop it, or give this streamer a store.folder of its own"
            yield fail("store", f"another streamer uses {folder}", advice)


def _check_whole(file: Path) -> Finding:
    deadline = time.monotonic() + CHECK_S
    uri = f"file:{str(file.resolve()).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True)
        try:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            text = f"{file} is too large to be checked in {CHECK_S:g} s"
            return warn("store", text, "when nothing runs: sqlite3 FILE 'PRAGMA quick_check'")
        return fail("store", f"{file} cannot be read: {error}", "restore a backup: streamer store restore FILE")
    if problems != ["ok"]:
        return fail("store", f"{file} is damaged: {problems[0]}", "restore a backup: streamer store restore FILE")
    return fine("store", f"{file} is whole")


def _check_contents(store: Store) -> Iterator[Finding]:
    try:
        found = contents(store)
    except (ConfigError, LostDependency, UserError) as error:
        if store.database() and "holds no store" in str(error):
            yield fine("store", "the database can be reached and is empty; the first start makes the tables")
            return
        yield fail("store", str(error), "start the database or mend its address, or set store: null")
        return
    known = known_revisions()
    counts = ", ".join(f"{found.counts.get(name, 0)} {name}" for name in ("events", "tracks", "streams"))
    if found.revision not in known:
        advice = "run the newer version, or restore a backup made before the update"
        yield fail("store", f"{found.place} was changed by a newer version (revision {found.revision})", advice)
    elif found.revision != known[0]:
        advice = "make a backup first (streamer store backup FILE): older versions refuse it then"
        yield warn("store", f"{found.place} is updated at the next start ({found.revision} to {known[0]})", advice)
    else:
        yield fine("store", f"{found.place} can be read: {counts}")
    if found.last_event is not None and found.last_event > datetime.now(UTC) + timedelta(minutes=1):
        text = f"the newest stored event is of {found.last_event:%Y-%m-%d %H:%M} UTC, in the future"
        yield warn("clock", text, "check the clock of this machine: it was set back")
    if found.counts.get("streams") and not (store.key_file or read_keys(None)):
        advice = "make a key: streamer keys encryption --out store.key, and set store.key_file"
        yield warn("store", "addresses of stored cameras, with their passwords, are not encrypted", advice)
