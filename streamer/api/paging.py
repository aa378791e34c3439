"""Splits the lists of the API into pages."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000


def page(items: Sequence[T], name: Callable[[T], str], token: str, size: int) -> tuple[list[T], str]:
    """Return the next page of a list and the token of the page after it (empty: this is the last page).

    `items` are sorted by `name`, which is unique. The page begins after the item named `token` and has at most `size`
    items (0: DEFAULT_PAGE), never more than LARGEST_PAGE.
    """
    size = min(size or DEFAULT_PAGE, LARGEST_PAGE)
    rest = [item for item in items if name(item) > token]
    return rest[:size], name(rest[size - 1]) if len(rest) > size else ""
