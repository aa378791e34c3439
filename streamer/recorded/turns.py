"""Several videos in one run: they overlap, but the detector works for one after the other, in their order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from faceanalytics.errors import ConfigError, InputError, UserError, user_error_in
from streamer.recorded.writer import VideoResult

OPEN = 3  # videos at once: one waits for its last answers, one is searched for faces, the next is opened


@dataclass(frozen=True, slots=True)
class Turn:
    """When the detector works for a video."""

    before: asyncio.Event | None  # the video before this one no longer needs it; None: this is the first
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def come(self) -> None:
        """Wait until the detector is free for this video."""
        if self.before is not None:
            await self.before.wait()


async def in_turns(
    results: Sequence[VideoResult],
    analyse: Callable[[VideoResult, Turn], Awaitable[None]],
    ended: Callable[[VideoResult], None],
    stopped: Callable[[], bool],
) -> None:
    """Analyse the videos in their order, each while the last answers of the one before still come in.

    An InputError or ConfigError becomes the problem of its video; other errors end the run.
    """
    room, before = asyncio.Semaphore(OPEN), None

    async def one(result: VideoResult, turn: Turn) -> None:
        try:
            if stopped():
                raise InputError(f"{result.video}: stopped before it began")
            await analyse(result, turn)
        except (UserError, BaseExceptionGroup) as error:
            user = error if isinstance(error, UserError) else user_error_in(error)
            if not isinstance(user, InputError | ConfigError):
                raise
            result.fail(user)
            result.stopped = stopped()
        room.release()
        ended(result)
        await turn.come()  # a video that needs no detector must not let the next one overtake the one before
        turn.over.set()

    async with asyncio.TaskGroup() as videos:
        for result in results:
            await room.acquire()
            turn = Turn(before)
            before = turn.over
            videos.create_task(one(result, turn))
