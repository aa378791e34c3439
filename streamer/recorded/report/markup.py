"""Builds HTML in which every text is escaped, because only `element` makes markup."""

import html
from collections.abc import Iterable
from typing import TypeAlias


class Markup(str):
    """HTML that is inserted as it is."""

    __slots__ = ()


Part: TypeAlias = "str | Iterable[Part] | None"

VOID = {"input", "meta", "img", "br"}


def join(*parts: Part) -> Markup:
    """Return the parts one after the other: `Markup` as it is, other text escaped, None left out."""
    return Markup("".join(_texts(parts)))


def element(name: str, /, *parts: Part, **attributes: str | float | bool | None) -> Markup:
    """Return an element with its escaped attributes and parts.

    In names of attributes a final underscore is dropped and others become hyphens: `class_`, `data_age`. True is an
    attribute without a value; None and False leave it out.
    """
    start = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{start}>")
    return Markup(f"<{name}{start}>{join(*parts)}</{name}>")


def table(heads: Iterable[Part], rows: Iterable[Iterable[Part]], caption: str = "", class_: str = "") -> Markup:
    """Return a table that scrolls sideways if it has to."""
    head = element("tr", [element("th", one, scope="col") for one in heads])
    body = [element("tr", [element("td", cell) for cell in row]) for row in rows]
    title = element("caption", caption) if caption else None
    whole = element("table", title, element("thead", head), element("tbody", body), class_=class_ or None)
    return element("div", whole, class_="wide")


def _texts(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if part is None:
            continue
        if isinstance(part, Markup):
            yield part
        elif isinstance(part, str):
            yield html.escape(part)
        else:
            yield from _texts(part)


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
