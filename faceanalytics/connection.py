"""A running streamer for programs without asyncio: `connect`, and its people."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

from faceanalytics import aio
from faceanalytics.people_calls import AioPeople
from faceanalytics.watching import LoginOptions

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[AioPeople, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["People", P], T]:
    """Return a call that waits for its answer."""

    def call(self: "People", /, *given: P.args, **named: P.kwargs) -> T:
        return self._connection.run(method(self._people, *given, **named))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class People:
    """The people of a streamer: the calls of `faceanalytics.aio`, each of which waits for its answer."""

    def __init__(self, connection: "Connection", people: AioPeople) -> None:
        self._connection = connection
        self._people = people

    list = _blocking(AioPeople.list)
    get = _blocking(AioPeople.get)
    create = _blocking(AioPeople.create)
    update = _blocking(AioPeople.update)
    references = _blocking(AioPeople.references)
    enrol = _blocking(AioPeople.enrol)
    enrol_track = _blocking(AioPeople.enrol_track)
    confirm = _blocking(AioPeople.confirm)
    reject = _blocking(AioPeople.reject)
    merge = _blocking(AioPeople.merge)
    split = _blocking(AioPeople.split)
    undo = _blocking(AioPeople.undo)
    ledger = _blocking(AioPeople.ledger)
    set_aside = _blocking(AioPeople.set_aside)
    delete_reference = _blocking(AioPeople.delete_reference)
    search = _blocking(AioPeople.search)
    erase = _blocking(AioPeople.erase)
    export = _blocking(AioPeople.export)
    import_gallery = _blocking(AioPeople.import_gallery)


class Connection:
    """A streamer at an address, for use with `with`. Threads may share it; a notebook may use it, too."""

    def __init__(self, address: str, timeout_s: float, login: LoginOptions) -> None:
        self._streamer = aio.connect(address, timeout_s=timeout_s, **login)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="streamer", daemon=True)
        self._thread.start()
        self.people = People(self, self._streamer.people)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for the answer to a call."""
        if not self._thread.is_alive():
            call.close()
            raise RuntimeError("the connection is closed")
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def close(self) -> None:
        """Close the connection."""
        if self._thread.is_alive():
            self.run(self._streamer.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(address: str, *, timeout_s: float = aio.ANSWER_S, **login: Unpack[LoginOptions]) -> Connection:
    """Return the streamer at an address (host:port), whose `people` are seen and changed by calls that wait.

    `timeout_s`: longest wait for an answer, s; images, videos, exports and erasures may take an hour. `login`: as for
    `watch`. Everything else about a streamer has `faceanalytics.aio`. Raises ConfigError as `aio.connect` does.
    """
    return Connection(address, timeout_s, login)
