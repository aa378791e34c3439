"""Results as tables: pyarrow makes them, polars and pandas take them over."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from faceanalytics.extras import require
from streamer.labels import EXPRESSIONS
from streamer.values import LANDMARK_NAMES

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from faceanalytics.results import Analysed, Observation, Results
    from faceanalytics.tracks import Box, Track

Row = dict[str, Any]
BOX = ("x", "y", "width", "height")


def arrow_table(results: "Results", name: str) -> "pyarrow.Table":
    """The table `name` with a column for everything that the weights were trained for, also if it has no rows.

    Raises MissingPackage, and ValueError for an unknown name.
    """
    require("analysis", "pyarrow", use="tables")
    import pyarrow

    attributes = results.header.outputs.attributes
    text, number, whole, truth = pyarrow.string(), pyarrow.float64(), pyarrow.int64(), pyarrow.bool_()
    boxes = {f"box_{side}": number for side in BOX}
    frames = {"frame_width": whole, "frame_height": whole}
    expressions = {f"expression_{one}": number for one in EXPRESSIONS}
    scores = {f"attribute_{one}": number for one in attributes}
    if name == "tracks":
        rows = [_track_row(track) for track in results.tracks]
        columns = {
            "track_id": text,
            "number": whole,
            "person": text,
            "identity_status": text,
            "first_seen_s": number,
            "last_seen_s": number,
            "end_reason": text,
            "quality": number,
            "samples": whole,
            "reasons": pyarrow.list_(text),
            "model_id": text,
            "split_from": text,
            "final": truth,
            "age_years": number,
            "age_low_years": number,
            "age_high_years": number,
            "expression": text,
            **expressions,
            **scores,
            **{f"presence_{one}": text for one in attributes},
            **boxes,
            **frames,
        }
    elif name == "observations":
        rows = [_observation_row(one) for one in results.observations]
        columns = {
            "media_time_s": number,
            "track_id": text,
            "number": whole,
            "detection_score": number,
            "skipped": pyarrow.list_(text),
            **boxes,
            **frames,
            **{f"{point}_{axis}": number for point in LANDMARK_NAMES for axis in "xy"},
        }
    elif name == "analyses":
        rows = [_analysis_row(one) for one in results.analyses]
        columns = {
            "media_time_s": number,
            "track_id": text,
            "number": whole,
            "quality": number,
            "answered": truth,
            "age_years": number,
            "embedding_norm": number,
            **expressions,
            **scores,
        }
    else:
        raise ValueError(f"there is no table {name!r}: there are tracks, observations and analyses")
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(list(columns.items())))


def to_polars(table: "pyarrow.Table") -> "polars.DataFrame":
    """The same for polars. Raises MissingPackage."""
    require("analysis", "polars", use="to_polars")
    import polars

    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)  # a Series comes of a column only
    return frame


def to_pandas(table: "pyarrow.Table") -> "pandas.DataFrame":
    """The same for pandas. Raises MissingPackage."""
    require("analysis", "pandas", use="to_pandas")
    return table.to_pandas()


def _track_row(track: "Track") -> Row:
    age, expression, attributes = track.age, track.expression, track.attributes
    return {
        "track_id": track.track_id,
        "number": track.number,
        "person": track.person,
        "identity_status": track.decision.status if track.decision else None,
        "first_seen_s": track.first_seen_s,
        "last_seen_s": track.last_seen_s,
        "end_reason": track.end_reason,
        "quality": track.quality,
        "samples": track.samples,
        "reasons": list(track.reasons),
        "model_id": track.model_id,
        "split_from": track.split_from,
        "final": track.final,
        "age_years": age.years if age else None,
        "age_low_years": age.low_years if age else None,
        "age_high_years": age.high_years if age else None,
        "expression": expression.mostly if expression else None,
        **_prefixed("expression", expression.distribution if expression else {}),
        **_prefixed("attribute", attributes.scores if attributes else {}),
        **_prefixed("presence", attributes.presence if attributes else {}),
        **_box(track.box),
        "frame_width": track.frame_width,
        "frame_height": track.frame_height,
    }


def _observation_row(one: "Observation") -> Row:
    points = {f"{name}_{axis}": getattr(point, axis) for name, point in one.landmarks.items() for axis in "xy"}
    return {
        "media_time_s": one.media_time_s,
        "track_id": one.track_id,
        "number": one.number,
        "detection_score": one.detection_score,
        "skipped": list(one.skipped),
        **_box(one.box),
        "frame_width": one.frame_width,
        "frame_height": one.frame_height,
        **points,
    }


def _analysis_row(one: "Analysed") -> Row:
    answer = one.analysis
    return {
        "media_time_s": one.media_time_s,
        "track_id": one.track_id,
        "number": one.number,
        "quality": one.quality,
        "answered": answer is not None,
        "age_years": answer.age_years if answer else None,
        "embedding_norm": answer.embedding_norm if answer else None,
        **_prefixed("expression", (answer.expression or {}) if answer else {}),
        **_prefixed("attribute", (answer.attributes or {}) if answer else {}),
    }


def _prefixed(prefix: str, values: Mapping[str, float | str]) -> Row:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _box(box: "Box") -> Row:
    return {f"box_{side}": getattr(box, side) for side in BOX}
