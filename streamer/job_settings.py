"""Settings of jobs: recordings that clients of the API have analysed while the streamer runs."""

from typing import Annotated

from pydantic import Field

from streamer.section import Section

Count = Annotated[int, Field(ge=1)]
Megabytes = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Jobs(Section):
    """Analyses of recordings over the API. They need a store, which keeps them over a restart."""

    folder: str | None = None
    """Folder of uploads and results, for one streamer. null: jobs in the folder of the store."""
    inputs: tuple[str, ...] = ()
    """Folders of recordings that clients may name by path. Symbolic links are resolved. Empty: only uploads."""
    max_upload_mb: Megabytes = 4096.0
    """Largest upload, in millions of bytes."""
    max_disk_mb: Megabytes = 32_768.0
    """Most that uploads and results may take together, in millions of bytes. Beyond it uploads and new jobs are
    refused, and a running job fails."""
    per_token: Count = 16
    """Most jobs that have not ended, and most uploads that wait for a job, per token; without tokens, of all clients
    together."""
    parallel: Count = 1
    """Jobs that run at a time. Each decodes and detects in a process of its own, of low priority."""
