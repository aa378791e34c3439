"""Every setting of the streamer on one page, with its unit in its name.

Unknown keys are errors that name their path. `${NAME}` in a text value is replaced by the environment variable, and
`uri_file` reads the uri from a file, which keeps passwords out of the configuration.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from faceanalytics.errors import ConfigError
from streamer.addresses import unescaped
from streamer.job_settings import Jobs
from streamer.kinds import SCHEMES, SourceKind, check_allowed, check_not_mistyped, split_scheme
from streamer.kinds import redact as redact  # for all who print the address of a stream
from streamer.privacy import Mode, Privacy
from streamer.safety import Access, Address, Limits, Tls, check_bound, check_measured, check_published
from streamer.safety import split_address as split_address  # for all who read addresses of the configuration
from streamer.section import Section, TimeOfDay
from streamer.sink_settings import SinkSettings
from streamer.tracing import Tracing
from streamer.visitor_settings import Visitors
from streamer.web_settings import Web

Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]  # longer waits overflow in the system calls
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # per second
Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=36_525)]
Pixels = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _is_endpoint(endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("://")
    if scheme == "tcp":
        split_address(rest.replace(":*", ":0"))
    elif scheme != "ipc" or not rest:
        raise ValueError(f"{endpoint!r} is not an endpoint: write ipc://PATH or tcp://HOST:PORT")
    return endpoint


def _is_decode_device(device: str) -> str:
    if not re.fullmatch(r"cpu|(cuda(:\d+)?|(vaapi|qsv)(:/[^:]+)?)", device):
        raise ValueError(f"{device!r} is neither cpu, cuda:N, vaapi nor qsv (such as vaapi:/dev/dri/renderD128)")
    return device


def _is_device(device: str) -> str:
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise ValueError(f"{device!r} is neither cpu nor cuda:N")
    return device


def _is_database(url: str) -> str:
    if not re.match(r"postgres(ql)?://.", url):
        raise ValueError("write postgresql://USER:PASSWORD@HOST/DATABASE; for SQLite set store.folder")
    return url


def _check_escaped(uri: str, field: str) -> None:
    """Raise ValueError for an address that an unescaped character of its password cuts in two."""
    problem = unescaped(uri)
    if problem:
        raise ValueError(f"{field}: {problem}")


Endpoint = Annotated[str, AfterValidator(_is_endpoint)]
StreamId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Reconnect(Section):
    initial_s: Seconds = 1.0
    """Delay before the first retry, in seconds. It doubles with each failure."""
    max_s: Seconds = 30.0
    """Longest delay between two attempts, in seconds."""
    jitter: Ratio = 0.2
    """Vary each delay at random by up to this share, so that cameras do not all reconnect at once."""


class Sources(Section):
    """What cameras and files may be, and what clients of the API may name."""

    allow: tuple[SourceKind, ...] = ("rtsp", "file")
    """Kinds of sources that streams may use: rtsp (also rtsps), file (videos), images (folders of images), http (also
    https: MJPEG, HLS and videos), rtmp (also rtmps), srt, device (V4L2 cameras, such as /dev/video0). Clients of the
    gRPC API can make the streamer connect to any address of an allowed kind."""
    folders: tuple[str, ...] = ()
    """Folders of videos, images and devices that streams created or changed over gRPC may use. Symbolic links are
    resolved. Empty refuses every path from there; the streams of this configuration may use any."""
    max_streams: Annotated[int, Field(ge=1)] = 256
    """Most streams at a time, those of this configuration and those created over gRPC together."""
    decode_device: Annotated[str, AfterValidator(_is_decode_device)] = "cpu"
    """Decode video on cpu, cuda:N, vaapi or qsv, the last two optionally with a device (vaapi:/dev/dri/renderD128).
    A device that cannot be used is an error at the start; there is no fallback."""


class Stream(Section):
    id: StreamId
    """Name of the camera in results, logs and metrics: letters, digits, `.`, `_` and `-`, at most 63."""
    uri: str = Field("", repr=False)
    """rtsp:// or rtsps:// address, or the path of a video file to play as if it were a camera. The other kinds must be
    switched on in sources.allow: http(s)://, rtmp(s)://, srt://, /dev/video0, or the path of a folder of images."""
    uri_file: str | None = None
    """File that contains the uri. Use it in place of `uri` for addresses with a password."""
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport. With udp, packets lost on the network damage or lose frames."""
    tls_ca_file: str | None = None
    """For rtsps: PEM file of the certificate authorities to accept. null accepts any certificate."""
    connect_timeout_s: Seconds = 5.0
    """Longest wait for a connection, in seconds."""
    first_frame_timeout_s: Seconds = 10.0
    """Longest wait from the connection to the first packet, and from the first key frame to a picture, in seconds."""
    key_frame_timeout_s: Seconds = 60.0
    """Longest wait from the connection to the first key frame while packets arrive, in seconds. Cameras with a long
    key-frame interval show no picture until the next key frame. A value below first_frame_timeout_s has no effect."""
    stall_timeout_s: Seconds = 5.0
    """Treat the camera as lost, and reconnect, after this many seconds without a frame."""
    reconnect: Reconnect = Reconnect()
    """Delays between attempts to reconnect."""
    max_fps: Annotated[float, Field(gt=0)] | None = None
    """Analyse at most this many frames per second. null analyses as many as the machine can."""
    loop: bool = False
    """For files: start again at the end."""
    video_stream: Annotated[int, Field(ge=0, le=999)] | None = None
    """Which video stream to read if there are several, from 0. null reads the one that players show."""
    image_interval_s: Seconds = 1.0
    """For folders of images: time between two images, in seconds."""
    follow: bool = False
    """For folders of images: show the newest image and then those that are added, as a camera uploads them."""
    decode_device: Annotated[str, AfterValidator(_is_decode_device)] | None = None
    """Decode this stream on cpu, cuda:N, vaapi or qsv. null: sources.decode_device."""
    privacy: Mode | None = None
    """Privacy mode of this stream: identity, pseudonymous or aggregate_only, see privacy.mode. The stricter of the two
    holds. null: privacy.mode."""
    enabled: bool = True
    """Connect the stream. false keeps it in the list, disconnected (PAUSED)."""

    @model_validator(mode="after")
    def _one_address(self) -> "Stream":
        if bool(self.uri) == bool(self.uri_file):
            raise ValueError("give either uri or uri_file, not both")
        check_not_mistyped(self.uri, "uri")
        scheme = split_scheme(self.uri)[0].lower()
        if "://" in self.uri and scheme not in (*SCHEMES, "file"):
            raise ValueError(f"uri: {scheme}:// is not supported; use {', '.join(SCHEMES)} or the path of a file")
        _check_escaped(self.uri, "uri")
        return self

    def address(self) -> str:
        """Return the uri, secrets included, from `uri` or `uri_file`. Raises ConfigError if the file is not usable."""
        if self.uri_file is None:
            return self.uri
        try:
            uri = Path(self.uri_file).read_text().strip()
        except (OSError, ValueError) as error:  # ValueError: not text, or not a file name
            raise ConfigError(f"stream {self.id}: cannot read uri_file: {error}") from error
        try:
            check_not_mistyped(uri, "uri_file")
            _check_escaped(uri, "uri_file")
        except ValueError as error:
            raise ConfigError(f"stream {self.id}: {error}") from error
        return uri


class Attention(Section):
    """Choice of the frames that the detector looks at: those that can show something new. See docs/operations.md."""

    enabled: bool = True
    """Choose frames. false looks at every frame."""
    effort: Annotated[int, Field(ge=1, le=5)] | None = None
    """How eagerly to look, from 1 (few frames) to 5 (every frame). null: live 3, recorded every frame."""
    max_fps: Rate | None = None
    """Look at no more than this many frames per second of each camera or video. null: no limit."""
    latency_s: Seconds = 0.25
    """Live: adapt the time of the detector so that faces are found this many seconds after the arrival of their frame.
    Higher allows more looks on a loaded machine, and later results."""
    full_look_s: Seconds = 3.0
    """Look at the whole frame at least this often, in seconds, whatever moves."""
    longest_gap_s: Seconds = 1.0
    """Live: under overload, let no camera wait longer than this for a look that it needs, in seconds, as far as the
    machine can look at every camera twice in this time."""

    @property
    def every_frame(self) -> bool:
        """Return whether every frame of a recording is looked at."""
        return not self.enabled or (self.effort in (None, 5) and self.max_fps is None)


class Detect(Section):
    weights: str = "default"
    """Face detector with five keypoints: a one-class ultralytics pose model (.pt or .onnx) or a YOLOv8-lite face model
    (.onnx). `default` is the file named by $FACEANALYTICS_DETECTOR or, without it, the bundled model."""
    device: Annotated[str, AfterValidator(_is_device)] = "cpu"
    """cpu or cuda:N. A device that cannot be used is an error; there is no fallback."""
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    """Arithmetic of the network on a CPU. bf16 and int8 are faster on CPUs that have them, need the extra `openvino`
    and change scores, boxes and landmarks a little. int8 needs the bundled detector or a quantised file."""
    input_size: Annotated[int, Field(ge=64, multiple_of=32)] = 640
    """Scale frames to fit a square with this side, in pixels. Larger finds smaller faces and takes longer."""
    min_score: Ratio = 0.1
    """Drop detections with a lower score. Weak detections above it still continue tracks (see track.high_score)."""
    max_overlap: Ratio = 0.5
    """Non-maximum suppression: of two boxes with a higher IoU, drop the one with the lower score."""
    max_faces: Annotated[int, Field(ge=1)] = 300
    """Keep at most this many faces per frame, highest score first."""
    max_upscale: Annotated[float, Field(ge=1)] = 1.5
    """Enlarge small images by at most this factor. Faces larger than those the detector was trained on are missed."""
    attention: Attention = Attention()
    """Choice of the frames that the detector looks at."""


class Track(Section):
    high_score: Ratio = 0.55
    """Match detections with at least this score first, weaker ones second."""
    new_score: Ratio = 0.6
    """Start a track only from a detection with at least this score. Lower starts more tracks, false ones included."""
    max_cost: Ratio = 0.8
    """First matching: accept a pair of track and detection up to this cost, 1 - IoU * score."""
    max_cost_weak: Ratio = 0.5
    """Second matching, of weak detections: accept a pair up to this cost, 1 - IoU."""
    confirm_hits: Annotated[int, Field(ge=1)] = 3
    """Confirm a track after this many detections in a row. Tracks are published once confirmed."""
    lost_s: Seconds = 2.0
    """End a track after this many seconds without a detection."""
    max_gap_s: Seconds = 1.5
    """After a longer gap between frames, in seconds of the source's clock, do not match boxes by motion. At one frame
    per second it must be above 1."""
    shot_change_levels: Annotated[float, Field(gt=0, le=255)] = 3.3
    """A shot change ends every track: only the face itself can show who goes on. The shot changes when the picture
    changes by at least this many of 255 grey levels, more than movement, light and the last second explain.
    255 turns detection off."""


class Crop(Section):
    min_score: Ratio = 0.5
    """Do not analyse faces with a lower detector score (LOW_CONFIDENCE)."""
    min_eye_distance_px: Pixels = 10.0
    """Do not analyse faces whose eyes are closer together, in pixels of the frame (SMALL_BOUNDING_BOX)."""
    max_yaw_deg: Annotated[float, Field(gt=0, le=90)] = 50.0
    """Do not analyse heads turned further to the side, in degrees (EXTREME_POSE)."""
    max_pitch_deg: Annotated[float, Field(gt=0, le=90)] = 30.0
    """Do not analyse heads tilted further up or down, in degrees (EXTREME_POSE)."""
    min_sharpness: Annotated[float, Field(ge=0)] = 0.005
    """Do not analyse crops with a lower contrast-normalised variance of the Laplacian (LOW_SHARPNESS)."""
    min_brightness: Annotated[float, Field(ge=0, le=255)] = 25.0
    """Do not analyse crops with a lower mean grey level, from 0 to 255 (LOW_BRIGHTNESS)."""


class Schedule(Section):
    """Choice of the crops to analyse: those expected to change a published answer most. See docs/operations.md."""

    analyses_per_second: Rate | None = None
    """Face analyses per second, over all cameras. null: live, as many as the workers answer within `answer_s`;
    recorded, no limit, because the video waits. A number is an upper limit live, and recorded counts in media time."""
    per_track_per_second: Rate = 2.0
    """Analyse each track at most this many times per second."""
    first_answer_s: Seconds = 0.5
    """Put a face ahead of all others once it has waited this many seconds for its first answer."""
    answer_s: Seconds = 0.5
    """Live: adapt the number of analyses so that an answer takes at most this many seconds from the choice of its
    crop. Higher allows more analyses and later answers."""
    choose_s: Seconds = 0.3
    """Send the best crop of each face from the last this many seconds. Higher gives better crops, but later answers."""
    age_step_years: Step = 0.5
    """Analyse a face when its published age is expected to change by this many years. Higher values of the three steps
    save analyses. Smaller changes of age, identity and expression add up to one step."""
    identity_step: Step = 0.05
    """The same for a change of the identity template, a vector of length 1."""
    expression_step: Step = 0.1
    """The same for a change of the score of an expression, from 0 to 1."""


class Dispatch(Section):
    bind: Endpoint = "ipc:///tmp/faceanalytics-workers.ipc"
    """ZeroMQ endpoint that workers connect to: ipc:///path or tcp://host:port."""
    keys: str | None = None
    """Folder of keys that `streamer keys new` made, for tcp: the connection is encrypted, and only workers whose public
    key is in it may connect. An address that other machines can reach needs it."""
    insecure: bool = False
    """Bind an address that other machines can reach without keys. Whoever reaches it can then play worker."""
    model: Annotated[str, Field(min_length=1)] | None = None
    """Id of the weights that workers must have, as the worker's log and `streamer health` show it. Others are refused.
    Default: the first worker decides; workers with other weights are refused while one with these is connected."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Largest batch, in crops. A worker may ask for smaller ones."""
    answer_within_s: Seconds = 30.0
    """Treat a batch as lost after this many seconds without an answer."""
    max_wait_s: Seconds = 5.0
    """Live: drop a crop that no worker has taken after this many seconds."""
    worker_silent_s: Seconds = 3.0
    """Treat a worker as gone after this many seconds of silence. Workers send a sign of life every second."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Recorded: resend a lost batch at most this many times before giving up its crops."""
    max_waiting: Annotated[int, Field(ge=1)] = 256
    """Most crops that may wait for a worker. Beyond it, the worst crop is dropped live; recorded, the video waits."""

    def on_socket(self, path: Path) -> "Dispatch":
        """Return these settings for a worker of our own on an ipc socket, which needs no keys."""
        return self.model_copy(update={"bind": f"ipc://{path}", "keys": None, "insecure": False})


class Aggregate(Section):
    age_error_years: Positive = 2.0
    """Standard error, in years, of the age estimated from one crop of quality 1."""
    age_error_poor_years: Positive = 8.0
    """The same for a crop of quality 0. Between the two, the error is interpolated geometrically."""
    age_bias_years: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 7.5
    """Standard deviation, in years, of the network's error that all crops of a person share. It limits how narrow the
    age interval becomes with more crops."""
    age_correlation_s: Seconds = 0.8
    """Time constant, in seconds, in which the errors of two crops become independent. Higher widens the interval."""
    expression_dwell_s: Seconds = 4.0
    """Mean duration of an expression, in seconds; neutral lasts twice as long. Higher gives fewer changes."""
    expression_error: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of crops whose expression is wrong whatever its score. Higher demands more crops before a change."""
    expression_temperature: Positive = 0.6
    """Temperature of the network's expression scores. Below 1 sharpens them, above 1 flattens them."""
    expression_lag_s: Seconds = 1.0
    """Decide the timeline's expression at a moment with the analyses up to this many seconds later."""
    expression_gap_s: Seconds = 2.0
    """A gap this long without an analysis, in seconds, ends the segment and makes the current expression unknown."""
    expression_min_s: Seconds = 0.6
    """Segments shorter than this many seconds are dropped."""
    attribute_seconds: Annotated[float, Field(ge=1)] = 2.0
    """Leave an attribute undecided until there is evidence from this many seconds, ..."""
    attribute_margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """... and until its mean score differs from 0.5 by this margin plus its standard error."""
    identity_min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.2
    """Leave a crop out of the template if its cosine to the other crops of its track is lower. It may be another
    person."""
    identity_swap_crops: Annotated[int, Field(ge=2)] = 4
    """Split a track after this many good crops in a row of another person, if it was not noticed before."""
    identity_suspect_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.45
    """Let a good crop wait for the next one if its cosine to its track's template is below this: it may be another
    person, from whose first crop on the track is then split. -1 turns this check off."""
    min_consistency: Annotated[float, Field(ge=-1, le=1)] = 0.45
    """Do not describe a track of three crops or more whose mean cosine to each other is below this (CONFLICTING)."""
    min_described_quality: Ratio = 0.25
    """Do not describe a track without a crop of at least this quality (LOW_QUALITY, or the cause: BORDER,
    EXTREME_POSE). Undescribed tracks have no age, expression and attributes."""
    min_described_evidence: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Do not describe a track until the qualities of its analysed crops add up to this (TOO_FEW_SAMPLES)."""
    min_described_score: Ratio = 0.55
    """Do not describe a track whose mean detector score is below this (LOW_QUALITY)."""
    min_inside: Ratio = 0.8
    """Do not describe a track if the frame's edge leaves less than this share of most of its crops (BORDER)."""
    max_cover: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 8.0
    """Do not describe a track if mouth and nose are less red and yellow than the rest of the face by more than this in
    most of its crops, in units of 8-bit CIELAB (COVERED). 255 turns this check off."""
    max_blank_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.45
    """Do not describe a track whose template has a higher cosine to that of images without content (LOW_QUALITY). 1
    turns this check and the next one off."""
    false_face_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.68
    """Call a track FALSE_FACE from this cosine on, if its mean detector score is below false_face_score too."""
    false_face_score: Ratio = 0.62
    """See false_face_cosine."""


class Gallery(Section):
    folder: str | None = None
    """Folder with one sub-folder of images per person, named after the person. null names nobody."""
    cohort: str | None = None
    """Folder in the same form, of people who are in no gallery. The similarity of strangers is measured on them. null
    uses the table in the weights' card (impostor_scores)."""
    false_accept_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Accepted share of strangers who are given a name, per search. The threshold follows from it: lower values name
    fewer strangers, and fewer people of the gallery."""
    margin: Ratio = 0.05
    """Answer AMBIGUOUS if the cosine of the best match leads the second by less than this."""
    hysteresis: Ratio = 0.05
    """Keep a name until its cosine falls this far below the threshold."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses before the first search. Further searches follow at twice, four times, eight times as many and at the
    end of the track, because each search is one more chance of a false accept."""
    min_quality: Ratio = 0.3
    """Lowest quality, from 0 to 1, that the best of these analyses must have."""
    switch_searches: Annotated[int, Field(ge=1)] = 2
    """Change a published name or UNKNOWN only after this many searches in a row agree."""
    candidates: Annotated[int, Field(ge=1, le=10)] = 3
    """List this many of the most similar people beside the decision."""
    mirrors: tuple[str, ...] = ()
    """Cameras that see people twice in one frame, in a mirror, on a screen or on a poster. Elsewhere two faces of one
    frame are never named as one person: the less similar one is UNDECIDED with SAME_FRAME. `*` is every camera."""
    twins: tuple[str, ...] = ("twin",)
    """Labels, names or ids of people of whom a second one may be in the frame, such as twins of whom one is enrolled.
    They may be named twice in a frame."""
    audit_at: TimeOfDay | None = None
    """Time of day, UTC, at which the gallery is audited for the metrics. null: only when asked to. It needs a store."""


class Relink(Section):
    enabled: bool = True
    """Join a new track to one that was lost shortly before, if the face is the same. This needs the similarity of
    strangers, from gallery.cohort or the table in the weights' card."""
    gap_s: Seconds = 10.0
    """Longest absence, in seconds. The END event of a track that may still continue is delayed by up to this long."""
    false_link_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Accepted share of new faces that are joined to a lost track of another person. The threshold follows from it and
    from the number of lost tracks."""
    margin: Ratio = 0.05
    """Do not join if the cosine of the best lost track leads the second by less than this."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses that each of the two tracks needs before they are compared."""


class People(Section):
    """Grouping of the tracks of whole recordings to people, after the last frame. See docs/operations.md."""

    false_join_rate: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Accepted share of people who are joined with somebody else, by the scores of strangers. The cosine from which
    tracks are joined follows from it and from the number of people."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses that a track needs before it is compared with others."""
    min_quality: Ratio = 0.4
    """Lowest quality that the best crop of such a track must have, from 0 to 1."""


class Publish(Section):
    listen: Address = "127.0.0.1:50051"
    """Address of the gRPC server, host:port. One that other machines can reach needs tls, and a store or
    access.folder for tokens."""
    tls: Tls | None = None
    """Certificate and key of the server. null: no encryption, which only an address of this machine may have."""
    insecure: bool = False
    """Listen on an address that other machines can reach without TLS, and without tokens until one is made. Whoever
    reaches it can then read faces and change cameras."""
    limits: Limits = Limits()
    """What one client may take."""
    heartbeat_s: Seconds = 5.0
    """Send a heartbeat to a subscriber after this many seconds without another event."""
    update_interval_s: Seconds = 1.0
    """Publish a track's box and last-seen time this often, in seconds, while its analyses do not change."""
    max_pending: Annotated[int, Field(ge=16)] = 4096
    """Most events that may wait for one subscriber. Beyond it the subscriber is disconnected (RESOURCE_EXHAUSTED)."""


class Keep(Section):
    """How long the store keeps what has ended. null keeps it until the store reaches its largest size."""

    events_days: Days | None = 30.0
    """Keep the log of events, from which watches go on after an interruption, for this many days."""
    tracks_days: Days | None = 90.0
    """Keep tracks that have ended for this many days."""
    faces_days: Days | None = 30.0
    """Keep pictures of faces for this many days, and never longer than their tracks."""
    templates_days: Days | None = 30.0
    """Keep the faces of past tracks as vectors, from which they are decided again when the gallery changes, for this
    many days, and never longer than their tracks (store.templates)."""
    jobs_days: Days | None = 30.0
    """Keep jobs that have ended for this many days."""
    audit_days: Days | None = 365.0
    """Keep the record of who changed what for this many days."""


class Store(Section):
    folder: str | None = None
    """Folder of the SQLite database, for one streamer. null: faceanalytics in $XDG_STATE_HOME, else in
    ~/.local/state."""
    url: Annotated[str, AfterValidator(_is_database)] | None = Field(default=None, repr=False)
    """postgresql://USER:PASSWORD@HOST/DATABASE of a PostgreSQL database to use instead of a folder, for one streamer,
    or for several that have ids (`streamer`). This needs the extra `postgres`."""
    url_file: str | None = None
    """File that contains the url, in place of `url`."""
    streamer: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] | None = None
    """Id of this streamer, where several use one PostgreSQL database. They have people, tokens and audit log together,
    and each has events, tracks, streams and jobs of its own. null: the streamer that has no id, of which there may be
    one. Lower-case letters, digits, - and _."""
    key_file: str | None = None
    """File of the key that `streamer keys encryption` made. It encrypts the settings of streams, whose addresses hold
    passwords, and the tracks, events and pictures of faces, which identify people. null: $FACEANALYTICS_ENCRYPTION_KEY,
    and without it they are not encrypted."""
    faces: bool = False
    """Store the best crop of each track as a JPEG of 112 x 112 pixels."""
    templates: bool = True
    """While people are recognised, store the face of each track that has ended as a vector, encrypted. Past tracks are
    decided again from them when the gallery changes."""
    search_memory_mb: Annotated[float, Field(ge=64)] = 1024.0
    """Memory for the search of past tracks by a face, in millions of bytes. A million tracks take about 210 with the
    bundled weights, and up to 600 with others. What does not fit is read from the database at each search."""
    keep: Keep = Keep()
    """Days after which stored data is deleted, for each kind of data."""
    max_size_mb: Positive | None = 4096.0
    """Delete the oldest data when the content of the store exceeds this size, in millions of bytes."""
    checkpoint_s: Seconds = 5.0
    """Store the values of open tracks this often, in seconds. After a crash a track ends with its last stored
    values."""
    commit_within_s: Seconds = 5.0
    """Longest wait for the database, in seconds. Then events are published without being stored, and marked so, until
    the database works again."""
    max_backlog: Annotated[int, Field(ge=16)] = 10_000
    """Keep at most this many events for a database that does not work. Beyond it the oldest are lost, and counted."""

    @model_validator(mode="after")
    def _one_place(self) -> "Store":
        given = [name for name in ("folder", "url", "url_file") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        if self.streamer and not (self.url or self.url_file):
            raise ValueError("several streamers share a store in PostgreSQL only: set url, or remove streamer")
        return self

    def database(self) -> str:
        """Return the url of the PostgreSQL database, or "" for SQLite. Raises ConfigError for an unusable url_file."""
        if self.url_file is None:
            return self.url or ""
        try:
            return _is_database(Path(self.url_file).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"store.url_file: {error}") from error


class Metrics(Section):
    listen: Address | None = None
    """Address of the Prometheus endpoint, host:port. null starts no endpoint. One that other machines can reach needs
    tls, and a token with the scope `read` or tls.client_ca."""
    tls: Tls | None = None
    """Certificate and key of the endpoint, as in publish.tls."""
    insecure: bool = False
    """Listen on an address that other machines can reach without TLS and without tokens. Whoever reaches it can read
    the ids of cameras and how many faces they see."""


class StreamerConfig(Section):
    streams: tuple[Stream, ...] = ()
    """Cameras to connect at the start. More can be added over gRPC."""
    sources: Sources = Sources()
    """What cameras and files may be, and what clients of the API may name."""
    detect: Detect = Detect()
    """Face detection."""
    track: Track = Track()
    """Tracking of detections from frame to frame."""
    crop: Crop = Crop()
    """Limits of quality below which a face is not analysed."""
    schedule: Schedule = Schedule()
    """Choice of the crops to analyse, and how many."""
    dispatch: Dispatch = Dispatch()
    """Sending of crops to the workers."""
    aggregate: Aggregate = Aggregate()
    """Estimates per track from its analyses: age, expression, attributes, identity template."""
    gallery: Gallery = Gallery()
    """Identification of known people."""
    relink: Relink = Relink()
    """Re-association of a face that comes back after an absence."""
    people: People = People()
    """Grouping of the tracks of recordings to people."""
    privacy: Privacy = Privacy()
    """How much of the people in view is published and stored."""
    visitors: Visitors = Visitors()
    """Pseudonyms for people who are not in the gallery."""
    publish: Publish = Publish()
    """The gRPC server."""
    store: Store | None = Store()
    """What survives a restart: events, tracks, and streams added over gRPC. null stores nothing."""
    sinks: tuple[SinkSettings, ...] = ()
    """Other systems that receive the events of the log: files, webhooks and message brokers. They need the store."""
    jobs: Jobs | None = Jobs()
    """Analyses of recordings over the API, which need a store. null: no analyses."""
    access: Access = Access()
    """Tokens of the gRPC API, and the log of who did what."""
    metrics: Metrics = Metrics()
    """Prometheus metrics."""
    web: Web = Web()
    """The dashboard, pages to look at. It needs the extra `web`."""
    tracing: Tracing = Tracing()
    """Spans of OpenTelemetry."""
    drain_s: Seconds = 10.0
    """Time, in seconds, to finish the work in progress after a signal to stop."""

    @model_validator(mode="after")
    def _a_batch_fits(self) -> "StreamerConfig":
        if self.dispatch.max_waiting < self.dispatch.batch:
            raise ValueError("dispatch: max_waiting must be at least batch, so that a full batch can wait")
        return self

    @model_validator(mode="after")
    def _allowed_sources(self) -> "StreamerConfig":
        limit = self.sources.max_streams
        if len(self.streams) > limit:
            raise ValueError(f"streams: {len(self.streams)} are more than the limit of {limit} (sources.max_streams)")
        for place, stream in enumerate(self.streams):
            if stream.uri:  # what a uri_file contains is checked when it is read
                try:
                    check_allowed(stream.uri, self.sources.allow)
                except ValueError as error:
                    raise ValueError(f"streams.{place}.uri: {error}") from error
        return self

    @model_validator(mode="after")
    def _nobody_is_recognised_in_counts(self) -> "StreamerConfig":
        if self.privacy.mode is Mode.AGGREGATE_ONLY and self.gallery.folder:
            raise ValueError(
                "gallery.folder: nobody is recognised in the privacy mode aggregate_only; leave the folder out, "
                "or set the mode of single streams"
            )
        for place, stream in enumerate(self.streams):
            if stream.privacy is not None and stream.privacy.strictness < self.privacy.mode.strictness:
                raise ValueError(
                    f"streams.{place}.privacy: {stream.privacy} is less strict than privacy.mode, which is "
                    f"{self.privacy.mode}; a stream can only be stricter"
                )
        return self

    @model_validator(mode="after")
    def _sinks_can_read(self) -> "StreamerConfig":
        if self.sinks and self.store is None:
            raise ValueError("sinks: they read the log of the store, so `store: null` excludes them")
        names = [sink.name for sink in self.sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sinks: name used twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _visitors_are_kept(self) -> "StreamerConfig":
        if self.visitors.enabled and (self.store is None or not self.store.templates):
            raise ValueError("visitors: they need a store with templates (store.templates: true)")
        return self

    @property
    def has_tokens(self) -> bool:
        """Whether there is a place for the tokens of clients: the store, or files without one."""
        return self.store is not None or self.access.folder is not None

    def check_safe(self) -> None:
        """Raise ConfigError if other machines could reach an address of this configuration without permission."""
        check_published(self.publish.listen, self.publish.tls, self.publish.insecure, self.has_tokens)
        check_bound(self.dispatch.bind, self.dispatch.keys, self.dispatch.insecure)
        self.tracing.check()
        if self.metrics.listen is not None:
            check_measured(self.metrics.listen, self.metrics.tls, self.metrics.insecure, self.has_tokens)
        self.web.check(self.has_tokens)

    @model_validator(mode="after")
    def _unique_ids(self) -> "StreamerConfig":
        ids = [stream.id for stream in self.streams]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"streams: id used twice: {', '.join(twice)}")
        return self
