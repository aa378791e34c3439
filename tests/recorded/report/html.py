"""Reads a page as a tree: every element closed, with its attributes and text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"input", "meta", "img", "br"}


@dataclass(slots=True, eq=False)
class Node:
    """An element."""

    name: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    parts: "list[Node | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())

    def all(self, name: str = "", class_: str = "") -> "Iterator[Node]":
        """Elements below this one, by name and class."""
        for part in self.parts:
            if isinstance(part, Node):
                if (not name or part.name == name) and (not class_ or class_ in part.classes):
                    yield part
                yield from part.all(name, class_)

    def texts(self, name: str = "", class_: str = "") -> list[str]:
        return [one.text for one in self.all(name, class_)]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        assert len(node.attributes) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.open[-1].parts.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> within <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].parts.append(data)


def read(page: str) -> Node:
    """The root of a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"never closed: {[node.name for node in reader.open[1:]]}"
    return reader.open[0]
