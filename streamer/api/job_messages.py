"""Converts jobs to protobuf messages, and their options back."""

from datetime import UTC
from typing import Any

from faceanalytics.v1 import analysis_pb2
from streamer.api.messages import duration, seconds, timestamp
from streamer.jobs.job import FORMATS, TABLES, Job, JobOptions, JobState, ResultFile

TABLE_VALUES: dict[analysis_pb2.TableFormat.ValueType, str] = {
    analysis_pb2.TableFormat.Value(f"TABLE_FORMAT_{name.upper()}"): name for name in TABLES
}
FORMAT_VALUES: dict[analysis_pb2.ExportFormat.ValueType, str] = {
    analysis_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{name.upper().replace('-', '_')}"): name for name in FORMATS
}
# field of JobOptions -> its path in the API, for error messages
API_NAMES = {name: f"options.{name}" for name in JobOptions.model_fields} | {"(top)": "options"}
STATES = {analysis_pb2.JobState.Value(f"JOB_STATE_{state.value}"): state for state in JobState}


def job_to_proto(job: Job, before: int = 0) -> analysis_pb2.Job:
    """Return the message of a job; `before`: how many are before it."""
    progress = job.progress
    return analysis_pb2.Job(
        job_id=job.id,
        state=analysis_pb2.JobState.Value(f"JOB_STATE_{job.state.value}"),
        recording=job.source.name,
        path=job.source.path,
        options=options_to_proto(job.options),
        request_id=job.request_id,
        owner=job.owner or "",
        created_at=timestamp(job.created),
        started_at=timestamp(job.started),
        ended_at=timestamp(job.ended),
        progress=progress.share,
        frames_done=progress.frames,
        frames_expected=progress.expected,
        media_time=duration(progress.media_time),
        frames_per_second=progress.frames_per_s,
        jobs_before=before,
        error=job.error,
        problems=job.problems,
    )


def result_to_proto(result: ResultFile) -> analysis_pb2.ResultFile:
    """Return the message of a file."""
    return analysis_pb2.ResultFile(name=result.name, size_bytes=result.size, sha256=result.sha256)


def options_to_proto(options: JobOptions) -> analysis_pb2.JobOptions:
    """Return the message of options."""
    return analysis_pb2.JobOptions(
        start=duration(options.start) if options.start else None,
        end=duration(options.end) if options.end is not None else None,
        sample_fps=options.sample_fps or 0.0,
        effort=options.effort or 0,
        detect_fps=options.detect_fps or 0.0,
        region=options.region,
        min_face_px=options.min_face_px,
        video_stream=options.video_stream,
        start_time=timestamp(options.start_time),
        embeddings=options.embeddings,
        explain=options.explain,
        annotate=options.annotate,
        report=options.report,
        tables=[value for value, name in TABLE_VALUES.items() if name in options.tables],
        formats=[value for value, name in FORMAT_VALUES.items() if name in options.formats],
    )


def option_fields(message: analysis_pb2.JobOptions) -> dict[str, Any]:
    """Return the fields of JobOptions that a message gives, not checked. Raises ValueError for an impossible time."""
    fields: dict[str, Any] = {
        "sample_fps": message.sample_fps or None,
        "effort": message.effort or None,
        "detect_fps": message.detect_fps or None,
        "region": message.region,
        "min_face_px": message.min_face_px,
        "video_stream": message.video_stream if message.HasField("video_stream") else None,
        "embeddings": message.embeddings,
        "explain": message.explain,
        "annotate": message.annotate,
        "report": message.report,
        "tables": [TABLE_VALUES.get(value, f"value {value}") for value in message.tables],  # an unknown one is refused
        "formats": [FORMAT_VALUES.get(value, f"value {value}") for value in message.formats],
    }
    if message.HasField("start"):
        fields["start"] = seconds(message.start)
    if message.HasField("end"):
        fields["end"] = seconds(message.end)
    if message.HasField("start_time"):
        try:
            fields["start_time"] = message.start_time.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise ValueError("options.start_time: is no time from the year 1 to 9999") from None
    return fields
