"""A program with the client for asyncio that keeps each event and its token in one line of a file.

`python -m tests.support.aio_client ADDRESS FILE` goes on after the last whole line of the file, and never ends by
itself. It prints the kind of each event.
"""

import asyncio
import json
import sys
from pathlib import Path

from faceanalytics import aio


async def keep(address: str, file: Path) -> None:
    content = file.read_bytes() if file.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    token = json.loads(lines[-1])["token"] if lines else ""
    with file.open("r+b" if content else "wb", buffering=0) as out:
        out.truncate(len(whole))
        out.seek(len(whole))
        async with aio.connect(address) as streamer:
            async for event in streamer.watch(resume_token=token):
                kind, number = type(event).__name__, getattr(event, "log_sequence", None)
                line = {"kind": kind, "number": number, "token": event.resume_token}
                out.write(json.dumps(line).encode() + b"\n")
                print(kind, flush=True)


if __name__ == "__main__":
    asyncio.run(keep(sys.argv[1], Path(sys.argv[2])))
