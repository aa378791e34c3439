"""Measure where the CPU time of a process goes: the functions of its stages are wrapped from outside."""

import functools
import inspect
import threading
import time
import types
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Function = Callable[..., Any]
SELF = Path("/proc/self/task")


@dataclass(slots=True)
class Spent:
    """Seconds that a stage took, without the stages inside it."""

    cpu: float = 0.0  # of the threads that ran it
    wall: float = 0.0  # waiting included
    calls: int = 0


@dataclass(slots=True)
class Usage:
    """What a process has used since it began."""

    cpu: float = 0.0  # s, of all threads
    wall: float = 0.0
    stages: dict[str, Spent] = field(default_factory=dict)
    python: dict[str, float] = field(default_factory=dict)  # s CPU of threads of Python by name, stages included
    in_stages: dict[str, float] = field(default_factory=dict)  # s CPU of them that is in stages
    native: dict[str, float] = field(default_factory=dict)  # s CPU of the other threads, by name


class _Thread:
    """The stages of one thread."""

    __slots__ = ("cpu", "name", "stack", "stages", "wall", "whole")

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[Spent] = []
        self.stages: dict[str, Spent] = defaultdict(Spent)
        self.cpu = self.wall = 0.0  # s, when the stage on top went on
        self.whole = 0  # depth of the stage that counts those inside it as its own; 0: no such stage

    def enter(self, stage: str, whole: bool = False) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        if self.stack:
            self._add(cpu, wall)
        self.stack.append(self.stack[-1] if self.whole else self.stages[stage])
        if whole and not self.whole:
            self.whole = len(self.stack)
        self.cpu, self.wall = cpu, wall

    def leave(self) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        self._add(cpu, wall)
        if len(self.stack) == self.whole:
            self.whole = 0
        self.stack.pop()
        self.cpu, self.wall = cpu, wall

    def _add(self, cpu: float, wall: float) -> None:
        top = self.stack[-1]
        top.cpu += cpu - self.cpu
        top.wall += wall - self.wall


class StageClock:
    """Counts for each stage the time of the functions that were attached to it. Reading a clock takes half a us."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[_Thread] = []
        self._ended: dict[str, float] = defaultdict(float)  # s CPU of threads of Python that have ended
        self._attached: list[tuple[Any, str, Any]] = []
        self._native: dict[int, tuple[str, float]] = {}  # thread id -> name, s CPU
        self._owners: dict[int, str] = {}  # native threads that a function has started
        self._lock = threading.Lock()
        clock, run = self, threading.Thread.run

        def counted(thread: threading.Thread) -> None:
            try:
                run(thread)
            finally:
                clock._ended[_kind(thread.name)] += time.thread_time()

        self._replace(threading.Thread, "run", counted)

    def attach(self, stage: str, owner: Any, name: str, whole: bool = False) -> None:
        """Count a function, method, generator or coroutine function of a class or module as this stage.

        `whole`: of a plain function, with the stages that it calls.
        """
        original = inspect.getattr_static(owner, name)
        function: Any = original.__func__ if isinstance(original, staticmethod | classmethod) else original
        if inspect.iscoroutinefunction(function):
            wrapped = self._around_coroutine(stage, function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._around_generator(stage, function)
        else:
            wrapped = self._around_call(stage, function, whole)
        functools.update_wrapper(wrapped, function)
        self._replace(owner, name, type(original)(wrapped) if function is not original else wrapped)

    def _around_call(self, stage: str, function: Function, whole: bool) -> Function:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            thread = self._thread()
            thread.enter(stage, whole)
            thread.stages[stage].calls += 1
            try:
                return function(*arguments, **named)
            finally:
                thread.leave()

        return wrapped

    def _around_generator(self, stage: str, function: Function) -> Function:
        return lambda *arguments, **named: self._pulled(stage, function(*arguments, **named))

    def _around_coroutine(self, stage: str, function: Function) -> Function:
        async def wrapped(*arguments: Any, **named: Any) -> Any:
            return await self._stepped(stage, function(*arguments, **named))

        return wrapped

    def own_threads(self, name: str, owner: Any, function_name: str) -> None:
        """Name the native threads that a function starts."""
        function: Function = getattr(owner, function_name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            before = {int(task.name) for task in SELF.iterdir()}
            result = function(*arguments, **named)
            for task in {int(task.name) for task in SELF.iterdir()} - before:
                self._owners[task] = name
            return result

        self._replace(owner, function_name, wrapped)

    def name_threads(self, name: str) -> None:
        """Name the native threads that there are now and that have no name yet."""
        for task in SELF.iterdir():
            self._owners.setdefault(int(task.name), name)

    def note_after(self, owner: Any, name: str) -> None:
        """Read the clocks of the native threads after a function, because some may end soon."""
        function: Function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            try:
                return function(*arguments, **named)
            finally:
                self._read_native()

        self._replace(owner, name, wrapped)

    def usage(self) -> Usage:
        """Return what this process has used so far."""
        self._read_native()
        found = Usage(cpu=time.process_time(), wall=time.perf_counter())
        for thread in list(self._threads):
            for stage, spent in list(thread.stages.items()):
                total = found.stages.setdefault(stage, Spent())
                total.cpu += spent.cpu
                total.wall += spent.wall
                total.calls += spent.calls
                found.in_stages[thread.name] = found.in_stages.get(thread.name, 0.0) + spent.cpu
        found.python = dict(self._ended)
        for living in threading.enumerate():
            try:
                cpu = time.clock_gettime(time.pthread_getcpuclockid(living.ident or 0))
            except OSError:  # it has just ended
                continue
            name = _kind(living.name)
            found.python[name] = found.python.get(name, 0.0) + cpu
        ours = {thread.native_id for thread in threading.enumerate()}
        for task, (name, cpu) in self._native.items():
            if task not in ours:
                found.native[name] = found.native.get(name, 0.0) + cpu
        return found

    def detach(self) -> None:
        """Put everything back as it was."""
        for owner, name, original in reversed(self._attached):
            setattr(owner, name, original)
        self._attached.clear()

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._attached.append((owner, name, inspect.getattr_static(owner, name)))
        setattr(owner, name, value)

    def _thread(self) -> _Thread:
        thread: _Thread | None = getattr(self._local, "thread", None)
        if thread is None:
            thread = self._local.thread = _Thread(_kind(threading.current_thread().name))
            self._threads.append(thread)
        return thread

    def _pulled(self, stage: str, items: Iterator[Any]) -> Iterator[Any]:
        thread = self._thread()
        while True:
            thread.enter(stage)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                thread.leave()
            thread.stages[stage].calls += 1
            yield item

    @types.coroutine
    def _stepped(self, stage: str, coroutine: Any) -> Generator[Any, Any, Any]:
        """Run a coroutine; only what it does between its waits is counted."""
        thread, sent, error = self._thread(), None, None
        thread.stages[stage].calls += 1
        while True:
            thread.enter(stage)
            try:
                waits_for = coroutine.send(sent) if error is None else coroutine.throw(error)
            except StopIteration as over:
                return over.value
            finally:
                thread.leave()
            sent, error = None, None
            try:
                sent = yield waits_for
            except BaseException as caught:
                error = caught

    def _read_native(self) -> None:
        with self._lock:
            for task in SELF.iterdir():
                try:
                    name = (task / "comm").read_text().strip()
                    cpu = int((task / "schedstat").read_text().split()[0]) / 1e9
                except OSError:  # it has just ended
                    continue
                self._native[int(task.name)] = (self._owners.get(int(task.name), name), cpu)


def _kind(name: str) -> str:
    """Return the name of a thread without what tells it from others of its kind."""
    return name.partition("-")[0].partition("_")[0].split(" ")[0]


def difference(before: Usage, after: Usage) -> Usage:
    """Return what was used between two readings."""
    stages = {}
    for stage, spent in after.stages.items():
        old = before.stages.get(stage, Spent())
        stages[stage] = Spent(spent.cpu - old.cpu, spent.wall - old.wall, spent.calls - old.calls)
    parts = [
        {name: value - old.get(name, 0.0) for name, value in new.items()}
        for old, new in (
            (before.python, after.python),
            (before.in_stages, after.in_stages),
            (before.native, after.native),
        )
    ]
    return Usage(after.cpu - before.cpu, after.wall - before.wall, stages, *parts)
