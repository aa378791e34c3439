"""Defines the tables. What changes here needs a new file in migrations/versions."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Moment(TypeDecorator[datetime]):
    """A time in UTC. SQLite has no time zones: there it is the text of the time in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()
SHARED = "shared"  # schema of the tables that all streamers of a PostgreSQL database have together, see schemas.py

# what belongs to the store as a whole: id, key of the resume tokens, newest sequence that was deleted
meta = Table("meta", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False))

# the starts of a streamer; resume tokens name the run in which they were made
runs = Table(
    "runs",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("instance_id", String(64), nullable=False),
    Column("started", Moment, nullable=False),
    Column("ended", Moment),  # null: it runs, or died
    Column("first_sequence", BigInteger, nullable=False),  # that its first event has or would have
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("camera", String(64), nullable=False),
    Column("track_id", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),  # encrypted if there is a key, as in tracks and faces
    Index("events_at", "at"),
    Index("events_track", "track_id"),
)

tracks = Table(
    "tracks",
    metadata,
    Column("track_id", String(64), primary_key=True),
    Column("camera", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    Column("person", Text),  # id of a person, or name without one, or with a key their fingerprint, see sealed.py
    Column("age", Float),  # years, mean; null: not described
    Column("expression", Integer),  # value of the proto's Expression with the largest share
    Column("attributes", Text, nullable=False),  # values of the proto's Attribute that are present, as "|3|17|"
    Column("described", Boolean, nullable=False),
    Column("end_reason", String(16)),  # null: it has not ended
    Column("quality", Float, nullable=False),  # 0..1, of the best crop
    Column("samples", Integer, nullable=False),  # analyses used
    Column("model_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # the track as a message, without embedding
    Column("stored", Moment, nullable=False),  # by the streamer's clock; those of cameras may be wrong
    Index("tracks_stored", "stored"),
    Index("tracks_camera", "camera", "last_seen"),
    Index("tracks_last_seen", "last_seen"),
    Index("tracks_person", "person", "last_seen"),
    Index("tracks_state", "state"),
)

faces = Table(
    "faces",
    metadata,
    Column("track_id", String(64), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("quality", Float, nullable=False),  # 0..1
    Column("jpeg", LargeBinary, nullable=False),
    Index("faces_at", "at"),
)

streams = Table(
    "streams",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("settings", Text, nullable=False),  # JSON of the section of the configuration, with the address
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
)

# how far each sink has delivered the log; rows of sinks that the configuration no longer names stay
sinks = Table(
    "sinks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),  # the newest event that it is done with
    Column("updated", Moment, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("request_id", String(64), unique=True),  # of the client, so that a repeated request makes one job
    Column("state", String(16), nullable=False),
    Column("source", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON
    Column("owner", String(64)),  # id of a token
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("progress", Float, nullable=False),  # 0..1
    Column("error", Text),
    Index("jobs_state", "state", "created"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),  # words separated by spaces
    Column("cameras", Text, nullable=False),  # ids separated by spaces; empty: all
    Column("created", Moment, nullable=False),
    Column("expires", Moment),
    Column("revoked", Moment),
    schema=SHARED,
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("not_listed", Integer),  # refusals before it that have no row; null: none
    Index("audit_time", "time"),
    schema=SHARED,
)

# the streamers of this database, of which each has tables of its own besides the shared ones
streamers = Table(
    "streamers",
    metadata,
    Column("name", String(64), primary_key=True),  # store.streamer; empty: it has no id
    Column("started", Moment, nullable=False),
    Column("forgotten", BigInteger, nullable=False),  # id of the newest erasure that it has carried out
    schema=SHARED,
)

# the settings of the streamer without an id, and what belongs to all
shared_meta = Table(
    "meta",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    schema=SHARED,
)

# what was said about people, see people/entries.py
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("person_id", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),  # JSON under the person's key; empty: the person was erased
    Index("ledger_person", "person_id"),
    schema=SHARED,
)

# the key of each person, with which all that is stored about the person is encrypted
person_keys = Table(
    "person_keys",
    metadata,
    Column("owner", String(64), primary_key=True),  # id of a person, or `templates`
    Column("key", LargeBinary, nullable=False),  # encrypted with the key of the store if there is one
    schema=SHARED,
)

person_references = Table(
    "person_references",
    metadata,
    Column("reference_id", String(64), primary_key=True),
    Column("person_id", String(64), nullable=False),
    Column("model_id", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("quality", Float, nullable=False),  # 0..1
    Column("embedding", LargeBinary, nullable=False),  # (512,) float32 under the person's key
    Column("crop", LargeBinary),  # JPEG of 112 x 112 pixels under the person's key; null: not known
    Column("details", LargeBinary, nullable=False),  # JSON under the person's key: where it comes from
    Column("created", Moment, nullable=False),
    Index("person_references_person", "person_id"),
    schema=SHARED,
)

# the faces of tracks as vectors, from which past tracks are decided again
templates = Table(
    "templates",
    metadata,
    Column("track_id", String(64), primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("samples", Integer, nullable=False),  # analyses behind it
    Column("quality", Float, nullable=False),  # 0..1, of the best crop
    Column("template", LargeBinary, nullable=False),  # (512,) float32, encrypted
    Column("at", Moment, nullable=False),
    Index("templates_at", "at"),
)

# the pseudonyms of tracks that show nobody of the gallery, see people/sightings.py
visitor_tracks = Table(
    "visitor_tracks",
    metadata,
    Column("track_id", String(64), primary_key=True),
    Column("payload", LargeBinary, nullable=False),  # JSON, always encrypted: pseudonym, camera and times
    Column("at", Moment, nullable=False),  # by the streamer's clock
    Index("visitor_tracks_at", "at"),
)

# pseudonyms that have become others
merged_visitors = Table(
    "merged_visitors",
    metadata,
    Column("visitor_id", String(64), primary_key=True),
    Column("payload", LargeBinary, nullable=False),  # JSON, always encrypted: the one who is left
    Column("at", Moment, nullable=False),
    Index("merged_visitors_at", "at"),
)
