"""Reads a list of the API to its end."""

from collections.abc import Callable, Iterator
from typing import Any

LARGEST_PAGE = 1000  # items that a streamer gives at once


def pages(call: Callable[..., Any], request: Any, timeout_s: float) -> Iterator[Any]:
    """Yield the answers of a List call, page by page. `request` gets page size and tokens. Raises grpc.RpcError."""
    request.page_size = LARGEST_PAGE
    while True:
        answer = call(request, timeout=timeout_s)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token
