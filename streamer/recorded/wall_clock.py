"""Media times as timecodes and, where it is known when a recording began, as times of day."""

from datetime import UTC, datetime, timedelta

from faceanalytics.errors import ConfigError

INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"  # what rfc3339 returns
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # of a file; older ones are clocks that were never set


def timecode(seconds: float) -> str:
    """Return a media time as HH:MM:SS.mmm."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def rfc3339(time: datetime) -> str:
    """Return a time as RFC 3339 in UTC, with microseconds."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def wall_clock(start: datetime, seconds: float) -> datetime:
    """Return the time of day (UTC) of a media time of a recording whose first frame was taken at `start`."""
    return start + timedelta(seconds=seconds)


def parse_start_time(text: str) -> datetime:
    """Parse the time of the first frame, such as 2026-11-30T12:00:00Z or 2026-11-30 13:00:00+01:00, as UTC.

    Raises ConfigError, also for a time without its offset from UTC.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start-time: {text!r} is no time; write it as 2026-11-30T12:00:00Z") from None
    return checked_start_time(time)


def checked_start_time(time: datetime) -> datetime:
    """Return the time of the first frame in UTC. Raises ConfigError for a time without its offset from UTC."""
    if time.tzinfo is None:
        raise ConfigError(
            f"--start-time: {time.isoformat()} has no offset from UTC; add Z, or an offset such as +01:00"
        )
    return time.astimezone(UTC)


def creation_time(text: str | None) -> datetime | None:
    """Parse the tag `creation_time` of a container; None: there is none, or it is not a time that a clock showed."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    return time if time >= EARLIEST else None


def start_time_record(option: datetime | None, tag: str | None) -> dict[str, str | None]:
    """Return the header's fields about the time of the first frame: from the option, else from the file's tag."""
    if option is not None:
        return {"start_time": rfc3339(option), "start_time_source": "option"}
    created = creation_time(tag)
    if created is not None:
        return {"start_time": rfc3339(created), "start_time_source": "file"}
    return {"start_time": None, "start_time_source": None}
