"""Pages of lists, by name."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000


def page(items: Sequence[T], name: Callable[[T], str], token: str, size: int) -> tuple[list[T], str]:
    """Those of the items, sorted by unique names, that come after `token`; and the next token (empty: none)."""
    size = min(size or DEFAULT_PAGE, LARGEST_PAGE)
    rest = [item for item in items if name(item) > token]
    return rest[:size], name(rest[size - 1]) if len(rest) > size else ""
