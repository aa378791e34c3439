"""Converts between the messages of the API and plain values: words for enums, datetime, timedelta, lists, mappings."""

from collections.abc import Iterable, Mapping
from datetime import UTC, timedelta
from difflib import get_close_matches
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from faceanalytics.errors import ConfigError

DURATION, TIMESTAMP = "google.protobuf.Duration", "google.protobuf.Timestamp"


def to_values(message: Message) -> dict[str, Any]:
    """Return the fields of a message by name.

    An enum is its word without the prefix and None if UNSPECIFIED, a time a datetime in UTC, a duration a timedelta, a
    repeated field a tuple, a message a mapping. A message or an optional field that is not set is None.
    """
    return {field.name: _value_of(message, field) for field in message.DESCRIPTOR.fields}


def fill(message: Message, values: Mapping[str, Any], origin: str = "") -> None:
    """Set fields of a message by their names, in the form of `to_values`; a duration may be a number of seconds.

    None leaves a field unset. Raises ConfigError for a name or a word that the API does not have, behind `origin`.
    """
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(f"{origin}{name}: there is no such setting{_close(name, fields)}")
        if value is not None:
            _set(message, fields[name], value, f"{origin}{name}")


def word_of(enum: EnumDescriptor, number: int) -> str | None:
    """Return the name of a value without the prefix; None if UNSPECIFIED, a number if this client does not know it."""
    known = enum.values_by_number.get(number)
    if number == 0:
        return None
    return str(number) if known is None else known.name.removeprefix(_prefix(enum))


def number_of(enum: EnumDescriptor, word: str, origin: str) -> int:
    """Return the number of a word, in small or capital letters. Raises ConfigError."""
    prefix = _prefix(enum)
    words = {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}
    if word.upper() not in words:
        raise ConfigError(f"{origin}: {word!r} is not one of {', '.join(words)}")
    return int(words[word.upper()])


def _prefix(enum: EnumDescriptor) -> str:
    return str(enum.values_by_number[0].name).removesuffix("UNSPECIFIED")


def _close(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, names, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _value_of(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return tuple(_single(field, one) for one in value)
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return word_of(field.enum_type, value)
    if field.message_type is None:
        return value
    if field.message_type.full_name == TIMESTAMP:
        return value.ToDatetime(tzinfo=UTC)
    if field.message_type.full_name == DURATION:
        return value.ToTimedelta()
    return to_values(value)


def _set(message: Message, field: Any, value: Any, name: str) -> None:
    if field.is_repeated:
        if isinstance(value, str):
            raise ConfigError(f"{name}: expected a list, not a text")
        repeated = getattr(message, field.name)
        if field.message_type is not None:
            for place, one in enumerate(value):
                fill(repeated.add(), one, f"{name}[{place}].")
        else:
            repeated.extend(number_of(field.enum_type, one, name) if field.enum_type else one for one in value)
    elif field.enum_type is not None:
        setattr(message, field.name, number_of(field.enum_type, value, name))
    elif field.message_type is None:
        try:
            setattr(message, field.name, value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}: {error}") from error
    elif field.message_type.full_name == DURATION:
        span = value if isinstance(value, timedelta) else timedelta(seconds=value)
        getattr(message, field.name).FromTimedelta(span)
    elif field.message_type.full_name == TIMESTAMP:
        if value.tzinfo is None:
            raise ConfigError(f"{name}: has no time zone; write datetime(..., tzinfo=UTC) or .astimezone()")
        getattr(message, field.name).FromDatetime(value.astimezone(UTC))
    else:
        part = getattr(message, field.name)
        part.SetInParent()
        fill(part, value, f"{name}.")
