"""The form of every line of the results: for `streamer results validate`, and published as a JSON Schema.

results.schema.json in this folder is what `published_schema` returns: after a change, write it again with
`streamer results schema > streamer/recorded/results.schema.json`.
"""

from typing import Annotated, Any, NotRequired

import typing_extensions
from pydantic import Field, TypeAdapter, ValidationError

from streamer.labels import ATTRIBUTES
from streamer.recorded import explain_types, header_types
from streamer.recorded import record_types as records
from streamer.recorded.columns import TABLES, Column, columns
from streamer.recorded.field_types import STRICT
from streamer.recorded.filenames import EXPLANATION, OBSERVATIONS, PEOPLE, SHOTS, TRACKS
from streamer.recorded.wall_clock import INSTANT

SCHEMA_URI = "https://json-schema.org/draft/2020-12/schema"


def _type_of(column: Column) -> Any:
    """Return the type of a column's value in JSON."""
    types: dict[str, Any] = {
        "text": str,
        "texts": list[str],
        "number": float,
        "whole": int,
        "truth": bool,
        "time": Annotated[str, Field(pattern=INSTANT)],
    }
    kind = types[column.type]
    unit = f" ({column.unit})" if column.unit else ""
    null = f"; null: {column.null}" if column.null else ""
    return Annotated[kind | None if column.null else kind, Field(description=f"{column.description}{unit}{null}")]


def _row(table: str) -> Any:
    """Return the type of a row of a table; columns of attributes that the weights lack are missing."""
    optional = {one.name for one in columns(table, ATTRIBUTES)} - {one.name for one in columns(table, ())}
    fields = {
        one.name: NotRequired[_type_of(one)] if one.name in optional else _type_of(one)
        for one in columns(table, ATTRIBUTES)
    }
    make: Any = typing_extensions.TypedDict
    row = make(f"{table}_row", fields)
    row.__pydantic_config__ = STRICT
    row.__doc__ = f"tables/{table}.jsonl: one row of the table {table}."
    return row


_KINDS: dict[str, dict[str, Any]] = {
    TRACKS: {"track": records.Track},
    OBSERVATIONS: {"frame": records.Frame, "observation": records.Observation, "analysis": records.Analysis},
    PEOPLE: {"person": records.Person},
    SHOTS: {"shot": records.Shot},
    EXPLANATION: {
        "choice": explain_types.Choice,
        "state": explain_types.State,
        "answer": explain_types.Answer,
        "track": explain_types.TrackChoices,
    },
}
# the records of each file by their field `type`
FILES: dict[str, dict[str, TypeAdapter[Any]]] = {
    name: {"header": TypeAdapter(header_types.Header)} | {kind: TypeAdapter(one) for kind, one in kinds.items()}
    for name, kinds in _KINDS.items()
}
SUMMARY_TYPE: TypeAdapter[Any] = TypeAdapter(header_types.Summary)
ROWS: dict[str, TypeAdapter[Any]] = {table: TypeAdapter(_row(table)) for table in TABLES}


def explained(adapter: TypeAdapter[Any], line: bytes) -> list[str]:
    """Return what is wrong with a line of JSON, with the path of each field."""
    try:
        adapter.validate_json(line)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors(include_url=False)]
    return []


def published_schema() -> dict[str, Any]:
    """Return the JSON Schema of every line of every file: any of the definitions named in `anyOf`."""
    adapters = [
        *((f"{name}:{kind}", one) for name, kinds in FILES.items() for kind, one in kinds.items()),
        ("summary.json", SUMMARY_TYPE),
        *((f"tables/{table}.jsonl", one) for table, one in ROWS.items()),
    ]
    schemas, definitions = TypeAdapter.json_schemas([(name, "validation", one) for name, one in adapters])
    lines = [schemas[name, "validation"] for name, _ in adapters]
    return {
        "$schema": SCHEMA_URI,
        "title": "Results of streamer analyze",
        "description": "Each line of a .jsonl file, and summary.json, is one of these. schema_version 5.",
        "anyOf": [one for place, one in enumerate(lines) if one not in lines[:place]],
        "$defs": _without_titles(definitions["$defs"]),
    }


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that repeat the names of the fields."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _without_titles(one) for name, one in schema.items() if name != "title" or not isinstance(one, str)}
