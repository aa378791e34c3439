"""Keys of the connection between streamer and workers (CURVE of ZeroMQ), and their files.

A folder holds the pair of the streamer, `streamer.key`, and the public key of each worker that may connect,
`workers/NAME.pub`. A worker has one file, with its pair and the public key of the streamer.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from faceanalytics.errors import ConfigError
from faceanalytics.files import replacing, writing

STREAMER, WORKERS = "streamer.key", "workers"
SUFFIX = ".pub"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of keys, each 40 characters of Z85."""

    public: str
    secret: str


@dataclass(frozen=True, slots=True)
class WorkerKeys:
    """What a worker needs."""

    pair: Pair
    streamer: str  # public key of the streamer


def new_pair() -> Pair:
    """Make a pair of keys."""
    import zmq

    public, secret = zmq.curve_keypair()
    return Pair(public.decode(), secret.decode())


def make_streamer_keys(folder: Path) -> Path:
    """Make the pair of a streamer, and return its file. One that is there stays. Raises ConfigError."""
    path = folder / STREAMER
    if not path.exists():
        with writing(path):
            (folder / WORKERS).mkdir(mode=0o700, parents=True, exist_ok=True)
        pair = new_pair()
        _write_secret(path, {"public": pair.public, "secret": pair.secret})
    return path


def make_worker_keys(folder: Path, name: str, file: Path) -> None:
    """Allow one more worker: put its public key into the folder, and what it needs into `file`. Raises ConfigError."""
    _check_name(name)
    allowed = folder / WORKERS / f"{name}{SUFFIX}"
    if allowed.exists():
        raise ConfigError(f"{allowed} is there already: choose another name, or revoke it first")
    if file.exists():
        raise ConfigError(f"{file} is there already: choose another --out")
    streamer, pair = read_streamer_keys(folder), new_pair()
    _write_secret(file, {"streamer": streamer.public, "public": pair.public, "secret": pair.secret})
    with writing(allowed):
        allowed.parent.mkdir(mode=0o700, exist_ok=True)
    with replacing(allowed) as partial:
        partial.write_text(pair.public + "\n")


def revoke_worker_keys(folder: Path, name: str) -> None:
    """Allow a worker no longer. Raises ConfigError if it is not allowed."""
    _check_name(name)
    allowed = folder / WORKERS / f"{name}{SUFFIX}"
    try:
        allowed.unlink()
    except OSError as error:
        raise ConfigError(f"cannot remove {allowed}: {error.strerror}") from error


def read_streamer_keys(folder: Path) -> Pair:
    """Return the pair of a streamer. Raises ConfigError."""
    values = _read(folder / STREAMER, ("public", "secret"), "make it with `streamer keys new`")
    return Pair(values["public"], values["secret"])


def read_worker_keys(file: Path) -> WorkerKeys:
    """Return the keys of a worker. Raises ConfigError."""
    names = ("streamer", "public", "secret")
    values = _read(file, names, "make it with `streamer keys new --worker NAME` and copy it here")
    return WorkerKeys(Pair(values["public"], values["secret"]), values["streamer"])


def read_allowed(folder: Path) -> dict[str, str]:
    """Return the names of the workers that may connect, by public key. Raises ConfigError."""
    allowed = {}
    for path in sorted((folder / WORKERS).glob(f"*{SUFFIX}")):
        try:
            key = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
        if not KEY.fullmatch(key):
            raise ConfigError(f"{path} holds no public key: make it with `streamer keys new --worker NAME`")
        allowed[key] = path.name.removesuffix(SUFFIX)
    return allowed


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError("--worker: use letters, digits, '.', '_' and '-', at most 63")


def _write_secret(path: Path, values: dict[str, str]) -> None:
    """Write a file that only its owner can read, and that was not there."""
    with writing(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file, indent=2)
            file.write("\n")


def _read(path: Path, names: tuple[str, ...], hint: str) -> dict[str, str]:
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the keys {path}: {error.strerror}; {hint}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no file of keys; {hint}") from error
    if not isinstance(values, dict) or not all(KEY.fullmatch(str(values.get(name))) for name in names):
        raise ConfigError(f"{path} lacks one of the keys {', '.join(names)}; {hint}")
    return {name: values[name] for name in names}
