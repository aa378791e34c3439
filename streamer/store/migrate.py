"""Brings the tables of a database to the form of this version. Older versions refuse newer databases."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from faceanalytics.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent / "migrations"

log = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # before it is imported: it logs what it loads


def migrate(connection: Connection, where: str) -> None:
    """Run the migrations that a database lacks. Raises ConfigError if a newer version has changed it.

    `where` names the database in messages.
    """
    from alembic import command

    config, scripts = _scripts()
    config.attributes["connection"] = connection
    present, newest = revision(connection), scripts.get_current_head()
    if present is not None and present not in {one.revision for one in scripts.walk_revisions()}:
        raise ConfigError(
            f"store: {where} was changed by a newer version of this program (revision {present}, "
            f"this version knows up to {newest}); run that version, or restore a backup made before the update"
        )
    if present != newest:
        with _plain_names(connection):
            command.upgrade(config, "head")
        if present is not None:
            log.info("store: %s updated from revision %s to %s", where, present, newest)


def is_newest(connection: Connection) -> bool:
    """Return whether the tables of a database have the form of this version."""
    return revision(connection) == _scripts()[1].get_current_head()


def known_revisions() -> list[str]:
    """Return the revisions that this version knows, newest first."""
    return [one.revision for one in _scripts()[1].walk_revisions()]


def revision(connection: Connection) -> str | None:
    """Return the revision of a database; None: it is new."""
    from alembic.runtime.migration import MigrationContext

    with _plain_names(connection):
        found = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()  # the question began a transaction
    return found


@contextmanager
def _plain_names(connection: Connection) -> Iterator[None]:
    """Let the names of tables be found by the search path of the connection, as they are in the migrations."""
    before = connection.get_execution_options().get("schema_translate_map", {})
    connection.execution_options(schema_translate_map={})
    try:
        yield
    finally:
        connection.execution_options(schema_translate_map=before)


def _scripts() -> "tuple[Config, ScriptDirectory]":
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)
