"""The command `streamer jobs`: options in, exit codes out."""

import argparse

from streamer.commands_cameras import connect, with_port


def jobs(arguments: argparse.Namespace) -> int:
    """Run a command of `streamer jobs` and return its exit code. Raises ConfigError, InputError, LostDependency."""
    from streamer.tools.jobs import JobClient

    client = JobClient(with_port(arguments.server), connect(arguments), arguments.json)
    if arguments.action == "list":
        return client.list_jobs(arguments.state)
    if arguments.action == "cancel":
        return client.cancel(arguments.jobs)
    if arguments.action == "delete":
        return client.delete(arguments.jobs)
    if arguments.action == "watch":
        return client.watch(arguments.jobs[0])
    if arguments.action == "results":
        return client.results(arguments.jobs[0], arguments.out)
    made = client.add(arguments.file, arguments.path, arguments.request_id or "", _options(arguments))
    if not (arguments.watch or arguments.out):
        return 0
    code = client.watch(made)
    return client.results(made, arguments.out) if arguments.out is not None and code == 0 else code


def _options(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the options that are given, by their names in the API, with times in s."""
    given = {
        "start": arguments.start,
        "end": arguments.end,
        "sample_fps": arguments.sample_fps,
        "effort": arguments.effort,
        "detect_fps": arguments.detect_fps,
        "region": str(arguments.region) if arguments.region is not None else None,
        "min_face_px": arguments.min_face,
        "video_stream": arguments.video_stream,
        "start_time": arguments.start_time,
        "embeddings": arguments.embeddings,
        "explain": arguments.explain,
        "annotate": arguments.annotate,
        "report": arguments.report,
        "tables": arguments.tables,
        "formats": arguments.formats,
    }
    return {name: value for name, value in given.items() if value not in (None, False, ())}
