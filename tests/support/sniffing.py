"""Passes on what goes through a Unix socket, and keeps every byte of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.patience import WAIT_S


@asynccontextmanager
async def sniffing(listen: Path, target: Path) -> AsyncIterator[bytearray]:
    """Connect each client of `listen` with `target`, until the end of the block."""
    seen, connected = bytearray(), set[asyncio.Task[None]]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            seen.extend(data)
            writer.write(data)
            await writer.drain()

    async def both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            async with asyncio.timeout(WAIT_S):
                while not target.exists():
                    await asyncio.sleep(0.02)
            there, to_target = await asyncio.open_unix_connection(str(target))
            ends.append(to_target)
            await asyncio.gather(pass_on(reader, to_target), pass_on(there, writer))
        finally:
            for end in ends:
                end.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.add(asyncio.create_task(both_ways(reader, writer)))

    server = await asyncio.start_unix_server(connect, str(listen))
    try:
        yield seen
    finally:
        server.close()
        for task in connected:
            task.cancel()
        await asyncio.gather(*connected, return_exceptions=True)
