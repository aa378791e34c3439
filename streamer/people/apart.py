"""Runs work that takes long beside live analysis, in a thread of its own that yields the processor to others."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICENESS = 10  # of 19

T = TypeVar("T")


async def in_background(work: Callable[[], T]) -> T:
    """Return what a function returns that runs in a thread of low priority. Raises what it raises."""
    pool = ThreadPoolExecutor(1, "background", initializer=_yield_to_others)
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown(wait=False)


def _yield_to_others() -> None:
    if sys.platform == "linux":  # elsewhere the priority is that of the process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
