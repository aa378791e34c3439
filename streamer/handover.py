"""Where frames change threads. Live keeps the newest frame of each camera, recorded waits; there is no third kind."""

import threading
from collections import deque
from collections.abc import Callable

from streamer.values import Frame, SourceEnd

Item = Frame | SourceEnd


class Newest:
    """Live: a frame that nobody took yet is replaced by the next one of its camera. The end of a source is never dropped."""

    def __init__(self, dropped: Callable[[Frame], None]) -> None:
        self._dropped = dropped
        self._items: dict[str, deque[Item]] = {}  # per camera, in order; two frames are never neighbours
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Never waits. False: closed, the reader should return."""
        with self._changed:
            if self._closed:
                return False
            items = self._items.setdefault(item.camera, deque())
            replaced = items.pop() if isinstance(item, Frame) and items and isinstance(items[-1], Frame) else None
            items.append(item)
            self._changed.notify()
        if isinstance(replaced, Frame):
            self._dropped(replaced)
        return True

    def take(self, timeout_s: float) -> list[Item] | None:
        """What is there: at most one frame per camera. Empty after `timeout_s` without anything; None: closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._items.values()), timeout_s)
            taken: list[Item] = []
            for camera in list(self._items):
                items = self._items[camera]
                while items:
                    taken.append(items.popleft())
                    if isinstance(taken[-1], Frame):
                        break
                if not items:
                    del self._items[camera]
            return None if self._closed and not taken else taken

    def close(self) -> None:
        """No more puts; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Waiting:
    """Recorded: every frame is taken, in order; the reader waits while `capacity` frames are there."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Waits for room. False: closed, the reader should return."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> list[Item] | None:
        """The next item. Empty after `timeout_s` without one; None: closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            if not self._items:
                return None if self._closed else []
            item = self._items.popleft()
            self._changed.notify_all()
            return [item]

    def close(self) -> None:
        """No more puts; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Handover = Newest | Waiting
