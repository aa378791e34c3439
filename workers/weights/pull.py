"""Download weights and check them: a file is stored only if it is complete and its sha256 is right."""

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

TIMEOUT_S = 30.0  # the download fails after this time without a byte
CHUNK_BYTES = 1 << 20
# unencrypted only from this machine: without a known sha256 only https vouches for the file
ADDRESS = re.compile(r"https://.+|http://(localhost|127\.0\.0\.1|\[::1\])[:/].+", re.IGNORECASE)


def pull(name: str, url: str | None = None) -> str:
    """Download a file that is not here yet, from `url` or the registry's address; return how it was checked.

    Raises ModelError if the file cannot be downloaded or has the wrong sha256, ConfigError for a bad name or address.
    """
    chosen = entry(name)
    if chosen.bundled:
        raise ConfigError(f"{name} comes with the project; check it with: swinface weights verify {name}")
    if chosen.path.exists():
        return f"already downloaded, {verify(name)}"
    address = url or chosen.url
    if address is None:
        raise ModelError(f"{name}: {how_to_get(name)}")
    if not ADDRESS.fullmatch(address):
        raise ConfigError(f"cannot download from {address}: the address must begin with https://")
    try:
        chosen.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {chosen.path.parent}: {error.strerror}") from error
    with replacing(chosen.path) as partial:
        actual = _fetch(address, partial)
        expected, origin = expected_sum(name, chosen)
        if expected not in (None, actual):
            raise ModelError(
                f"{address} is not {name}: its sha256 is {actual}, expected {expected} ({origin}). {_advice(chosen)}"
            )
    if expected is None:
        record_sum(chosen, actual)
        return f"sha256 {actual} recorded: the source states none, and later downloads must match it"
    return f"sha256 matches ({origin})"


def _fetch(address: str, partial: Path) -> str:
    """Download into the file `partial` and return its sha256. Raises ModelError."""
    digest = hashlib.sha256()
    with _open(address) as response, partial.open("wb") as file, download_bar() as bar:
        size = response.length  # None: the server does not state it
        task = bar.add_task(partial.name.removesuffix(".partial"), total=size)
        while chunk := _read(response, address):
            digest.update(chunk)
            file.write(chunk)
            bar.update(task, advance=len(chunk))
        if size not in (None, file.tell()):
            raise ModelError(f"{address}: the connection ended after {file.tell()} of {size} bytes. Try again")
    return digest.hexdigest()


@contextmanager
def _open(address: str) -> Iterator[http.client.HTTPResponse]:
    try:
        response = urllib.request.urlopen(address, timeout=TIMEOUT_S)  # noqa: S310  # scheme checked by ADDRESS
    except urllib.error.HTTPError as error:
        error.close()
        raise ModelError(f"cannot download {address}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error  # the reason of a URLError, which is an OSError
        hint = "Check the network, and whether https_proxy must name a proxy"
        raise ModelError(f"cannot reach {address}: {reason}. {hint}") from error
    with response:
        if not ADDRESS.fullmatch(response.url):
            raise ModelError(f"{address} redirects to {response.url}, which is not encrypted")
        if response.headers.get_content_type() == "text/html":
            raise ModelError(f"{address} is a web page, not a weights file: give --url the address of the file itself")
        yield response


def _read(response: http.client.HTTPResponse, address: str) -> bytes:
    """Return the next chunk, empty at the end. Raises ModelError."""
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{address}: the connection was lost: {error or type(error).__name__}. Try again") from error


def _advice(chosen: Entry) -> str:
    if chosen.sha256:
        return "The download was discarded"
    return (
        "The download was discarded. If its makers have replaced the file and you trust them, "
        f"delete {chosen.record} and pull again"
    )
