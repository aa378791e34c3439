"""The base of every section of the configuration: unknown keys are errors, and nothing changes after reading."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _is_time(value: str) -> str:
    hours, colon, minutes = value.partition(":")
    if not colon or not (hours.isdecimal() and minutes.isdecimal()) or int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"{value!r} is not a time of day: write HH:MM")
    return value


TimeOfDay = Annotated[str, AfterValidator(_is_time)]
