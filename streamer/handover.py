"""Hand values from one thread to another, each kind with its policy by name.

Frames: live, the newest of each camera is kept; recorded, the reader waits. Results for the selection of crops: the
newest are kept.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from streamer.values import Frame, Preview, SourceEnd

Picture = Frame | Preview
Item = Frame | Preview | SourceEnd
T = TypeVar("T")
MAILBOX = 4096  # values that may wait


class LatestPerCamera:
    """Live: the next frame of a camera replaces one that has not been taken yet; ends of sources are all kept."""

    def __init__(self, dropped: Callable[[Picture], None]) -> None:
        self._dropped = dropped
        self._items: dict[str, list[Item]] = {}  # per camera, in order; at most one of them is a frame
        self._changed = threading.Condition()
        self._closed = False
        self._calm: frozenset[str] = frozenset()

    def relax(self, calm: frozenset[str]) -> None:
        """Note the cameras in which nothing happens: for these, fewer frames suffice."""
        self._calm = calm

    def is_calm(self, camera: str) -> bool:
        """Return whether fewer frames of a camera suffice."""
        return camera in self._calm

    def put(self, item: Item) -> bool:
        """Store an item without waiting. Returns False if closed: the reader should return."""
        replaced: list[Picture] = []
        with self._changed:
            if self._closed:
                return False
            items = self._items.setdefault(item.camera, [])
            if not isinstance(item, SourceEnd):
                replaced = [old for old in items if not isinstance(old, SourceEnd)]
                items[:] = [old for old in items if isinstance(old, SourceEnd)]
            items.append(item)
            self._changed.notify()
        for frame in replaced:
            self._dropped(frame)
        return True

    def take(self, timeout_s: float) -> list[Item] | None:
        """Take all items, at most one frame per camera. Returns [] after `timeout_s`, None if closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            taken = [item for items in self._items.values() for item in items]
            self._items.clear()
            return None if self._closed and not taken else taken

    def close(self) -> None:
        """Refuse further items; those stored can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class BoundedQueue:
    """Recorded: every frame is delivered, in order; the reader waits while `capacity` items are stored."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Store an item, waiting for room. Returns False if closed: the reader should return."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> list[Item] | None:
        """Take the next item, in a list. Returns [] after `timeout_s`, None if closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            if not self._items:
                return None if self._closed else []
            item = self._items.popleft()
            self._changed.notify_all()
            return [item]

    def close(self) -> None:
        """Refuse further items; those stored can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Handover = LatestPerCamera | BoundedQueue


class Mailbox(Generic[T]):
    """Values for a thread that takes all at once; nobody waits. Past `capacity` the oldest is dropped."""

    def __init__(self, capacity: int = MAILBOX) -> None:
        self.dropped = 0
        self._values: deque[T] = deque(maxlen=capacity)

    def put(self, value: T) -> None:
        self.dropped += len(self._values) == self._values.maxlen
        self._values.append(value)  # atomic, like popleft below

    def take_all(self) -> list[T]:
        """What is there, the oldest first."""
        return [self._values.popleft() for _ in range(len(self._values))]
