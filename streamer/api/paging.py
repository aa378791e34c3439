"""Splits the lists of the API into pages."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from grpc import aio

from streamer.api.errors import Why, refuse
from streamer.api.problems import shown

T = TypeVar("T")

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
_CHECKED = 6  # bytes of the checksum in a token


def page_size(size: int) -> int:
    """Return the number of items on a page for a request of `size` (0: DEFAULT_PAGE, never above LARGEST_PAGE)."""
    return min(size or DEFAULT_PAGE, LARGEST_PAGE)


def page(items: Sequence[T], name: Callable[[T], str], after: str, size: int) -> tuple[list[T], str]:
    """Return the next page of a list and the token of the page after it (empty: this is the last page).

    `items` are sorted by `name`, which is unique. The page begins after the item named `after` and has at most `size`
    items (0: DEFAULT_PAGE), never more than LARGEST_PAGE.
    """
    size = page_size(size)
    rest = [item for item in items if name(item) > after]
    return rest[:size], page_token(name(rest[size - 1])) if len(rest) > size else ""


def page_token(name: str) -> str:
    """Return the token of the page that begins after the item of this name."""
    data = name.encode()
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:_CHECKED] + data).decode()


async def place_of(token: str, context: aio.ServicerContext[Any, Any]) -> str:
    """Return the name after which a page begins; empty: the first page.

    Aborts the call with INVALID_ARGUMENT if the token is not one of `page_token`.
    """
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        name = data[_CHECKED:].decode()
    except (binascii.Error, ValueError):
        name = ""
    if token and token != page_token(name):
        await refuse(context, Why.INVALID_PAGE_TOKEN, f"page_token: {shown(token)} is not from a response")
    return name
