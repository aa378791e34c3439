"""Implements `streamer jobs`: adds, lists, watches and cancels the jobs of a running streamer, and fetches results."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from faceanalytics.errors import PARTIAL_RESULT, ConfigError, InputError, LostDependency
from faceanalytics.files import hash_file, partial_name, writing
from faceanalytics.json_form import as_dict
from faceanalytics.v1 import analysis_pb2, analysis_pb2_grpc
from streamer.api.job_messages import FORMAT_VALUES, TABLE_VALUES
from streamer.api.messages import duration, seconds, timestamp
from streamer.recorded.wall_clock import parse_start_time
from streamer.tools.connection import Connect, plain
from streamer.tools.pages import pages
from streamer.tools.resumption import check_address, hint

ANSWER_S = 30.0  # longest wait for an answer
STOP_S = 60.0  # longest wait until a job has stopped
CHUNK = 256 << 10  # bytes; publish.limits.message_bytes may be small
AGAIN_S = 2.0  # time between two attempts to go on with a watch
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
DURATIONS = ("start", "end")
PIPE_WIDTH = 2000  # characters of a table that does not go to a terminal
CODES = {"SUCCEEDED": 0, "FAILED": InputError.exit_code, "CANCELLED": PARTIAL_RESULT}


class JobClient:
    """The jobs of one streamer. Methods raise ConfigError if it refuses, LostDependency if it does not answer."""

    def __init__(self, address: str, connect: Connect = plain, as_json: bool = False) -> None:
        check_address(address)
        self._address = address
        self._connect = connect
        self._json = as_json

    def add(self, file: Path | None, path: str | None, request_id: str, options: Mapping[str, Any]) -> str:
        """Upload `file`, or name `path` there, and add a job. Prints and returns its id. Raises InputError."""
        request = analysis_pb2.StartJobRequest(request_id=request_id, options=options_message(options))
        with self._service() as service:
            if file is not None:
                uploaded = service.UploadRecording(_parts(file), timeout=None)
                request.upload_id = uploaded.upload_id
            else:
                request.path = path or ""
            job = service.StartJob(request, timeout=ANSWER_S).job
        self._print(job, job.job_id)
        return str(job.job_id)

    def list_jobs(self, states: Iterable[str]) -> int:
        """Print the jobs in these states; empty: all. Returns the exit code 0."""
        wanted = [analysis_pb2.JobState.Value(f"JOB_STATE_{state.upper()}") for state in states]
        request = analysis_pb2.ListJobsRequest(states=wanted)
        with self._service() as service:
            jobs = [job for answer in pages(service.ListJobs, request, ANSWER_S) for job in answer.jobs]
        if self._json:
            _print_json({"jobs": [as_dict(job) for job in jobs]})
        elif jobs:
            _print_table(jobs)
        else:
            print("no jobs; add one with `streamer jobs add FILE`")
        return 0

    def watch(self, job_id: str) -> int:
        """Print the progress of a job until it ends, over lost connections. Returns the exit code for its end."""
        request, seen = analysis_pb2.WatchJobRequest(job_id=job_id), ""
        while True:
            try:
                with self._service() as service:
                    for message in service.WatchJob(request):
                        job, line = message.job, describe(message.job)
                        if line != seen:
                            self._print(job, line)
                        seen = line
                        if state_of(job) in CODES:
                            return CODES[state_of(job)]
            except LostDependency as error:
                if not seen:
                    raise
                print(f"{error}; trying again", file=sys.stderr)
            time.sleep(AGAIN_S)

    def cancel(self, jobs: Iterable[str]) -> int:
        """Stop jobs. Returns the exit code 0."""
        with self._service() as service:
            for job_id in jobs:
                job = service.CancelJob(analysis_pb2.CancelJobRequest(job_id=job_id), timeout=STOP_S).job
                self._print(job, describe(job))
        return 0

    def delete(self, jobs: Iterable[str]) -> int:
        """Remove jobs that have ended. Returns the exit code 0."""
        with self._service() as service:
            for job_id in jobs:
                service.DeleteJob(analysis_pb2.DeleteJobRequest(job_id=job_id), timeout=ANSWER_S)
                if not self._json:
                    print(f"{job_id}: deleted", flush=True)
        return 0

    def results(self, job_id: str, out: Path | None) -> int:
        """Print the files of a job, or fetch them into `out`. Returns the exit code 0."""
        request = analysis_pb2.ListResultsRequest(job_id=job_id)
        with self._service() as service:
            files = [one for answer in pages(service.ListResults, request, ANSWER_S) for one in answer.results]
            for one in files if out is not None else ():
                _fetch(service, job_id, one, out or Path())
        if self._json:
            _print_json({"results": [as_dict(one) for one in files]})
        elif out is not None:
            print(f"{out}: {len(files)} files")
        else:
            for one in files:
                print(f"{one.sha256}  {one.size_bytes:>12}  {one.name}")
        return 0

    @contextmanager
    def _service(self) -> Iterator[analysis_pb2_grpc.AnalysisServiceStub]:
        try:
            with self._connect(self._address) as channel:
                yield analysis_pb2_grpc.AnalysisServiceStub(channel)
        except grpc.RpcError as error:
            text = f"{self._address}: {error.code().name}: {error.details()}{hint(error)}"
            raise (LostDependency if error.code() in GONE else ConfigError)(text) from error

    def _print(self, job: analysis_pb2.Job, line: str) -> None:
        if self._json:
            _print_json(as_dict(job))
        else:
            print(line, flush=True)


def options_message(options: Mapping[str, Any]) -> analysis_pb2.JobOptions:
    """Return options, by their names in the API with times in s, as a message. Raises ConfigError."""
    tables = {name: value for value, name in TABLE_VALUES.items()}
    formats = {name: value for value, name in FORMAT_VALUES.items()}
    fields = dict(options)
    for name in DURATIONS:
        if name in fields:
            fields[name] = duration(fields[name])
    if "start_time" in fields:
        fields["start_time"] = timestamp(parse_start_time(fields["start_time"]))
    for name, values in (("tables", tables), ("formats", formats)):
        fields[name] = [values[one] for one in fields.get(name, ())]
    try:
        return analysis_pb2.JobOptions(**fields)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"an option is out of range: {error}") from error


def state_of(job: analysis_pb2.Job) -> str:
    """Return the state of a job without its prefix."""
    return analysis_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


def describe(job: analysis_pb2.Job) -> str:
    """Return one line about a job."""
    return f"{job.job_id}: {state_of(job)}, {job.recording}{_detail(job)}"


def _detail(job: analysis_pb2.Job) -> str:
    state = state_of(job)
    if state == "QUEUED":
        return f", {job.jobs_before} before it" if job.jobs_before else ", next"
    if state == "RUNNING":
        speed = f", {job.frames_per_second:.1f} frames/s" if job.frames_per_second else ""
        frames = f"{job.frames_done}/{job.frames_expected or '?'} frames"
        return f", {job.progress:.0%}, {frames}, {seconds(job.media_time):.1f} s of video{speed}"
    return "".join(f", {text}" for text in (job.error, *job.problems) if text)


def _parts(file: Path) -> Iterator[analysis_pb2.UploadRecordingRequest]:
    """Yield the messages of an upload. Raises InputError."""
    digest = hash_file(file)
    size = file.stat().st_size
    upload = analysis_pb2.Upload(name=file.name, size_bytes=size, sha256=digest)
    return _messages(file, upload)


def _messages(file: Path, upload: analysis_pb2.Upload) -> Iterator[analysis_pb2.UploadRecordingRequest]:
    yield analysis_pb2.UploadRecordingRequest(upload=upload)
    with file.open("rb") as content:
        while block := content.read(CHUNK):
            yield analysis_pb2.UploadRecordingRequest(chunk=block)


def _fetch(
    service: analysis_pb2_grpc.AnalysisServiceStub, job_id: str, file: analysis_pb2.ResultFile, out: Path
) -> None:
    """Write a file of the results into a folder. Raises ConfigError, LostDependency if it is not what was announced."""
    place = (out / file.name).resolve()
    if not place.is_relative_to(out.resolve()):
        raise ConfigError(f"the streamer names a file outside the folder: {file.name!r}")
    if place.is_file() and place.stat().st_size == file.size_bytes and hash_file(place) == file.sha256:
        return
    partial = partial_name(place)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        done = partial.stat().st_size if partial.is_file() and partial.stat().st_size <= file.size_bytes else 0
        request = analysis_pb2.GetResultRequest(job_id=job_id, name=file.name, offset=done)
        with partial.open("r+b" if done else "wb") as content:
            content.seek(done)
            for message in service.GetResult(request):
                content.write(message.data)
            content.truncate()
    if hash_file(partial) != file.sha256:
        partial.unlink()
        raise LostDependency(f"{file.name}: what came is not what the streamer has; fetch it again")
    with writing(place):
        partial.replace(place)


def _print_table(jobs: Iterable[analysis_pb2.Job]) -> None:
    console, table = Console(), Table("job", "state", "recording", "added", "progress")
    for job in jobs:
        added = job.created_at.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(job.job_id, state_of(job), job.recording, added, _detail(job).removeprefix(", "))
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
        table.box, table.pad_edge = None, False
    console.print(table)


def _print_json(data: dict[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False), flush=True)
