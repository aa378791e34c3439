"""Weights over https into the folder of downloads: whole and with the right sum, or not there."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceanalytics.errors import ConfigError, ModelError
from faceanalytics.files import replacing
from faceanalytics.progress import download_bar
from workers.weights.registry import Entry, entry, expected_sum, how_to_get, record_sum, verify

TIMEOUT_S = 30.0  # without a byte for so long the download has failed
PIECE_BYTES = 1 << 20
# unencrypted only from this machine: nothing else vouches for a file whose sum is not known
ADDRESS = re.compile(r"https://.+|http://(localhost|127\.0\.0\.1|\[::1\])[:/].+", re.IGNORECASE)


def pull(name: str, url: str | None = None) -> str:
    """Fetch the file if it is not here, from `url` or where the registry says; how its sum was checked, in words.

    Raises ModelError if the file cannot be had or is not what it should be, ConfigError for a name or an address that
    makes no sense.
    """
    chosen = entry(name)
    if chosen.bundled:
        raise ConfigError(f"{name} comes with the project and is not downloaded: swinface weights verify {name}")
    if chosen.path.exists():
        return f"was here already, {verify(name)}"
    address = url or chosen.url
    if address is None:
        raise ModelError(f"{name}: {how_to_get(name)}")
    if not ADDRESS.fullmatch(address):
        raise ConfigError(f"{address} is no address that weights are fetched from: it must begin with https://")
    try:
        chosen.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {chosen.path.parent}: {error.strerror}") from error
    with replacing(chosen.path) as partial:
        found = _fetch(address, partial)
        expected, origin = expected_sum(name, chosen)
        if expected not in (None, found):
            raise ModelError(f"{address} is not {name}: its sha256 is {found}, {origin} {expected}. {_advice(chosen)}")
    if expected is None:
        record_sum(chosen, found)
        return f"sha256 {found}, which its source does not state: recorded, and later downloads must have it"
    return f"sha256 as {origin}"


def _fetch(address: str, partial: Path) -> str:
    """Write what is at the address to the file `partial`; its sha256. Raises ModelError."""
    digest = hashlib.sha256()
    with _open(address) as answer, partial.open("wb") as file, download_bar() as bar:
        size = answer.length  # None: the server does not say
        task = bar.add_task(partial.name.removesuffix(".partial"), total=size)
        while piece := _read(answer, address):
            digest.update(piece)
            file.write(piece)
            bar.update(task, advance=len(piece))
        if size not in (None, file.tell()):
            raise ModelError(f"{address}: the connection ended after {file.tell()} of {size} bytes. Try again")
    return digest.hexdigest()


@contextmanager
def _open(address: str) -> Iterator[http.client.HTTPResponse]:
    try:
        answer = urllib.request.urlopen(address, timeout=TIMEOUT_S)  # noqa: S310  # https or this machine, see ADDRESS
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"{address} is not to be had: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error  # URLError, which is an OSError, has it there
        hint = "Is there a network, or a proxy to be named in https_proxy?"
        raise ModelError(f"cannot reach {address}: {reason}. {hint}") from error
    with answer:
        if not ADDRESS.fullmatch(answer.url):
            raise ModelError(f"{address} leads to {answer.url}, which is not encrypted")
        if answer.headers.get_content_type() == "text/html":
            raise ModelError(f"{address} is a page to be read in a browser, and not a file of weights")
        yield answer


def _read(answer: http.client.HTTPResponse, address: str) -> bytes:
    """The next piece, empty at the end. Raises ModelError."""
    try:
        return answer.read(PIECE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{address}: the connection broke off, {error or type(error).__name__}. Try again") from error


def _advice(chosen: Entry) -> str:
    if chosen.sha256:
        return "Nothing was kept"
    return f"Nothing was kept. If its makers have replaced it and you trust them, delete {chosen.record} and pull again"
