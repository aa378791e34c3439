"""Defines the units and ranges that the fields of records share."""

from typing import Annotated

from pydantic import ConfigDict, Field

from streamer.recorded.wall_clock import INSTANT

STRICT = ConfigDict(extra="forbid", strict=True)

Seconds = Annotated[float, Field(ge=0, description="media time: seconds since the first frame")]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[int, Field(ge=1)]
FrameNumber = Annotated[int, Field(ge=0, description="number of the analysed frame, from 0")]
Share = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[float, Field(ge=0, le=1, description="how well the face can be analysed, 0..1")]
Cosine = Annotated[float, Field(ge=-1, le=1, description="cosine similarity")]
Pixels = Annotated[int, Field(ge=1, description="pixels")]
Degrees = Annotated[float, Field(ge=-180, le=180, description="degrees")]
Name = Annotated[str, Field(pattern="^[A-Z_]+$")]
Instant = Annotated[str, Field(pattern=INSTANT, description="RFC 3339, UTC, with microseconds")]
TrackId = Annotated[str, Field(min_length=1, description="opaque id of a track, unique over all recordings")]
TrackNumber = Annotated[int, Field(ge=1, description="number of the track, from 1")]
