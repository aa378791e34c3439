"""Does work once a day, at a time of day."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

LOOK_S = 1.0  # between two looks at the clock


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


def next_night(time_of_day: str, now: datetime) -> datetime:
    """Return when it is HH:MM next, UTC."""
    hours, minutes = (int(part) for part in time_of_day.split(":"))
    night = now.replace(hour=hours, minute=minutes, second=0, microsecond=0)
    return night if night > now else night + timedelta(days=1)


async def every_night(
    time_of_day: str, work: Callable[[], Awaitable[None]], now: Callable[[], datetime] = utc_now
) -> None:
    """Work each day at this time until cancelled. A day whose time passes during the work is left out."""
    night = next_night(time_of_day, now())
    while True:
        await asyncio.sleep(LOOK_S)
        if now() >= night:
            await work()
            night = next_night(time_of_day, now())
