"""New files that are complete or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write under; what is there at the end takes the place of `path`, after an error nothing does.

    Raises ConfigError if it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        if partial.exists():
            partial.rename(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
