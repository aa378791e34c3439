"""All that an operator may set, on one page. Units are in the names; unknown keys are errors with their path.

`${NAME}` in a text value is replaced by the environment variable; `uri_file` reads the uri from a file,
so that passwords need not stand in the configuration.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from faceanalytics.errors import ConfigError

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # per second
Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def split_address(address: str) -> tuple[str, int]:
    """`host:port` as its parts. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address of the form host:port, with a port from 0 to 65535")
    return host.strip("[]"), int(port)


def _is_address(address: str) -> str:
    split_address(address)
    return address


def _is_endpoint(endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("://")
    if scheme == "tcp":
        split_address(rest.replace(":*", ":0"))
    elif scheme != "ipc" or not rest:
        raise ValueError(f"{endpoint!r} is no ipc://PATH or tcp://HOST:PORT")
    return endpoint


def _is_device(device: str) -> str:
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise ValueError(f"{device!r} is neither cpu nor cuda:N")
    return device


_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_MISTYPED = re.compile(r"\s*(rtsps?(:|//|/.*@)|[\w+.-]*//[^/]*@|[^/]*:.*@)", re.IGNORECASE | re.DOTALL)


def _split_scheme(uri: str) -> tuple[str, str]:
    """Scheme, empty if there is none, and the rest."""
    match = _SCHEME.match(uri)
    return (match[1], uri[match.end() :]) if match else ("", uri)


def _check_not_mistyped(uri: str, field: str) -> None:
    """Raises ValueError if an address would pass for a path, which is printed whole, with its password."""
    scheme, path = _split_scheme(uri)
    if scheme.lower() in ("", "file") and _MISTYPED.match(path):
        raise ValueError(
            f"{field}: looks like a mistyped address, write rtsp://USER:PASSWORD@HOST/PATH "
            f"(or ./ before the name of a file)"
        )


Address = Annotated[str, AfterValidator(_is_address)]
Endpoint = Annotated[str, AfterValidator(_is_endpoint)]
StreamId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Reconnect(Section):
    initial_s: Seconds = 1.0
    """Wait before the first retry; it doubles at each failure."""
    max_s: Seconds = 30.0
    """Longest wait between two tries."""
    jitter: Ratio = 0.2
    """Each wait is changed at random by up to this share, so that cameras do not return all at once."""


class Stream(Section):
    id: StreamId
    """Name of the camera in results, logs and metrics."""
    uri: str = Field("", repr=False)
    """rtsp:// or rtsps:// address, or path of a video file that is played as if it were a camera."""
    uri_file: str | None = None
    """File that holds the uri, for addresses with a password."""
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport. UDP loses frames when the network drops packets."""
    tls_ca_file: str | None = None
    """rtsps only: PEM file of the certificates that the camera's must be signed by; none: any certificate will do."""
    connect_timeout_s: Seconds = 5.0
    """Longest wait for a connection."""
    first_frame_timeout_s: Seconds = 10.0
    """Longest wait from the connection to the first frame."""
    stall_timeout_s: Seconds = 5.0
    """Without a frame for so long the camera counts as lost and is connected anew."""
    reconnect: Reconnect = Reconnect()
    max_fps: Annotated[float, Field(gt=0)] | None = None
    """Analyse at most so many frames per second; none: all that the machine manages."""
    loop: bool = False
    """Files only: begin again at the end."""
    enabled: bool = True
    """false: the stream is known but not connected (PAUSED)."""

    @model_validator(mode="after")
    def _one_address(self) -> "Stream":
        if bool(self.uri) == bool(self.uri_file):
            raise ValueError("give either uri or uri_file")
        _check_not_mistyped(self.uri, "uri")
        scheme = _split_scheme(self.uri)[0].lower()
        if "://" in self.uri and scheme not in ("rtsp", "rtsps", "file"):
            raise ValueError(f"uri: {scheme}:// is not understood, use rtsp://, rtsps:// or the path of a file")
        return self

    def address(self) -> str:
        """The uri with its secrets, wherever it comes from. Raises ConfigError if its file is not usable."""
        if self.uri_file is None:
            return self.uri
        try:
            uri = Path(self.uri_file).read_text().strip()
        except (OSError, ValueError) as error:  # ValueError: not text, or no name of a file
            raise ConfigError(f"stream {self.id}: cannot read uri_file: {error}") from error
        try:
            _check_not_mistyped(uri, "uri_file")
        except ValueError as error:
            raise ConfigError(f"stream {self.id}: {error}") from error
        return uri


class Detect(Section):
    weights: str = "default"
    """Face detector with five keypoints: ultralytics pose model of one class (.pt, .onnx) or YOLOv8-lite face.
    `default`: what the environment variable FACEANALYTICS_DETECTOR names, else the one that comes with the project."""
    device: Annotated[str, AfterValidator(_is_device)] = "cpu"
    """cpu or cuda:N. There is no fallback: a device that cannot be used is an error."""
    input_size: Annotated[int, Field(ge=64, multiple_of=32)] = 640
    """Side of the square the frame is scaled into, pixels."""
    min_score: Ratio = 0.1
    """Weaker detections are dropped. Weak ones above it still hold on to tracks (see track.high_score)."""
    max_overlap: Ratio = 0.5
    """Non-maximum suppression: IoU above which the weaker of two boxes is dropped."""
    max_faces: Annotated[int, Field(ge=1)] = 300
    """At most so many faces per frame, the strongest."""
    max_upscale: Annotated[float, Field(ge=1)] = 1.5
    """Small images are enlarged at most so much: faces beyond what the detector was trained on are missed."""


class Track(Section):
    high_score: Ratio = 0.55
    """Detections from here on are matched first."""
    new_score: Ratio = 0.6
    """Detections from here on may start a track."""
    max_cost: Ratio = 0.8
    """First matching: largest 1 - IoU * score."""
    max_cost_weak: Ratio = 0.5
    """Second matching, weak detections: largest 1 - IoU."""
    confirm_hits: Annotated[int, Field(ge=1)] = 3
    """A track counts after so many detections in a row."""
    lost_s: Seconds = 2.0
    """A track without detection for so long has ended."""
    max_gap_s: Seconds = 1.5
    """After a longer gap in the source's time, boxes before and after are not matched by motion. One frame per second
    must stay below it."""
    min_shot_change: Annotated[float, Field(gt=0, le=2)] = 0.6
    """A shot change has the same effect: the image has changed by this much (0 not at all, 1 nothing in common) and by
    twice as much as it usually does. 2 turns it off."""


class Crop(Section):
    min_score: Ratio = 0.5
    """Detector score under which a face is not analysed (LOW_CONFIDENCE)."""
    min_eye_distance_px: Pixels = 10.0
    """Distance of the eyes in the frame under which a face is not analysed (SMALL_BOUNDING_BOX)."""
    max_yaw_deg: Annotated[float, Field(gt=0, le=90)] = 50.0
    """Head turned further to the side is not analysed (EXTREME_POSE)."""
    max_pitch_deg: Annotated[float, Field(gt=0, le=90)] = 30.0
    """Head tilted further up or down is not analysed (EXTREME_POSE)."""
    min_sharpness: Annotated[float, Field(ge=0)] = 0.005
    """Contrast-normalised variance of the Laplacian under which a crop is not analysed (LOW_SHARPNESS), see crop.py."""
    min_brightness: Annotated[float, Field(ge=0, le=255)] = 25.0
    """Mean grey value under which a crop is not analysed (LOW_BRIGHTNESS)."""


class Schedule(Section):
    """Which crops are analysed: those that would change a published answer most. See docs/operations.md."""

    analyses_per_second: Rate | None = None
    """Face analyses per second, over all cameras. None: live as many as the workers answer within `answer_s`; recorded
    no limit (the video waits). With a number, live it is the most, and recorded it counts in the video's own time."""
    per_track_per_second: Rate = 2.0
    """No face is analysed more often than this."""
    first_answer_s: Seconds = 0.5
    """A face that has waited so long for its first answer goes before all others."""
    answer_s: Seconds = 0.5
    """Live: the budget is what the workers answer within so long, from the choice of a crop to its answer."""
    choose_s: Seconds = 0.3
    """Of each face the best crop of the last so many seconds is sent."""
    age_step_years: Step = 0.5
    """An analysis that is expected to move the published age by so much is worth it..."""
    identity_step: Step = 0.05
    """... or the identity template, of length 1, by so much..."""
    expression_step: Step = 0.1
    """... or the score of an expression by so much; what they fall short of alone, they may reach together."""


class Dispatch(Section):
    bind: Endpoint = "ipc:///tmp/faceanalytics-workers.ipc"
    """ZeroMQ endpoint the workers connect to: ipc:///path or tcp://host:port."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    """Largest batch; a worker may ask for less."""
    answer_within_s: Seconds = 30.0
    """A batch unanswered for so long is lost."""
    max_wait_s: Seconds = 5.0
    """Live: a crop that no worker took for so long is given up."""
    worker_silent_s: Seconds = 3.0
    """A worker that says nothing for so long has gone; workers say something every second."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Recorded analysis: how often a lost batch is sent again before its crops are given up."""
    max_waiting: Annotated[int, Field(ge=1)] = 256
    """Crops that may wait for a worker. Live: beyond it the worst is dropped; recorded: the video waits."""


class Aggregate(Section):
    age_error_years: Positive = 2.0
    """Standard error of the age read from one crop of quality 1."""
    age_error_poor_years: Positive = 8.0
    """The same for a crop of quality 0; in between it grows geometrically."""
    age_bias_years: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 7.5
    """What the network gets wrong about a person in all images alike: more of them do not make an age surer."""
    age_correlation_s: Seconds = 0.8
    """Crops closer in time than this have mostly the same error."""
    expression_dwell_s: Seconds = 4.0
    """How long an expression lasts on the average; neutral lasts twice as long."""
    expression_error: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the crops whose expression is simply wrong, whatever the score says."""
    expression_temperature: Positive = 0.6
    """Below 1: the network is right more often than its scores say; above 1: less often."""
    expression_lag_s: Seconds = 1.0
    """The timeline judges a moment together with what came up to this long after it."""
    expression_gap_s: Seconds = 2.0
    """Without an analysis for so long a segment has ended, and the current expression is not known."""
    expression_min_s: Seconds = 0.6
    """Shorter segments are none."""
    attribute_seconds: Annotated[float, Field(ge=1)] = 2.0
    """An attribute is undecided until it has evidence from so many seconds."""
    attribute_margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """... and its mean score lies so far from even, by its own standard error besides."""
    identity_min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.2
    """Crops that resemble the others of their track less are left out, and may be another person."""
    identity_swap_crops: Annotated[int, Field(ge=2)] = 4
    """So many good crops in a row of somebody else split a track."""


class Gallery(Section):
    folder: str | None = None
    """Folder with a sub-folder of images for each person, named like the person; none: nobody is named."""
    cohort: str | None = None
    """Folder like it, of people who are in no gallery: what similarity strangers reach is measured on them. None: the
    weights' own table (impostor_scores in their card) says it."""
    false_accept_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of strangers who may be taken for somebody of the gallery at each search; the threshold follows from it."""
    margin: Ratio = 0.05
    """Lead over the second most similar person, cosine, without which the answer is AMBIGUOUS."""
    hysteresis: Ratio = 0.05
    """A person who was named stays so until the cosine is this much below the threshold."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses before the first search. The next ones are at twice as many, four times as many and so on, and at the
    end of the track: each search is one more chance for a false accept."""
    min_quality: Ratio = 0.3
    """Quality that the best of them must have."""
    switch_searches: Annotated[int, Field(ge=1)] = 2
    """So many searches in a row must agree before a name (or UNKNOWN) that was given is changed."""
    candidates: Annotated[int, Field(ge=1, le=10)] = 3
    """So many of the most similar people are listed beside the decision."""


class Relink(Section):
    enabled: bool = True
    """Join a new track to one that was lost shortly before, if it is the same face. Needs to know what similarity
    strangers reach: by gallery.cohort or the weights' own table."""
    gap_s: Seconds = 10.0
    """Longest absence. The END of a track that could still be continued is held back so long after its last sight."""
    false_link_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of new faces that may be taken for one that was lost; the threshold follows, for as many as are lost."""
    margin: Ratio = 0.05
    """Lead over the second most similar lost track, cosine, without which nothing is joined."""
    min_samples: Annotated[int, Field(ge=1)] = 2
    """Analyses that each of the two tracks needs."""


class Publish(Section):
    listen: Address = "127.0.0.1:50051"
    """gRPC address. It has no authentication yet: keep it on a trusted interface."""
    heartbeat_s: Seconds = 5.0
    """A subscriber that hears nothing else hears a heartbeat this often."""
    update_interval_s: Seconds = 1.0
    """A track whose analyses do not change is still updated (box, last seen) this often."""
    max_pending: Annotated[int, Field(ge=16)] = 4096
    """Events that may wait for one subscriber; beyond it the subscriber is disconnected with RESOURCE_EXHAUSTED."""


class Metrics(Section):
    listen: Address | None = None
    """host:port of the Prometheus endpoint; none: no endpoint."""


class StreamerConfig(Section):
    streams: tuple[Stream, ...] = ()
    detect: Detect = Detect()
    track: Track = Track()
    crop: Crop = Crop()
    schedule: Schedule = Schedule()
    dispatch: Dispatch = Dispatch()
    aggregate: Aggregate = Aggregate()
    gallery: Gallery = Gallery()
    relink: Relink = Relink()
    publish: Publish = Publish()
    metrics: Metrics = Metrics()
    drain_s: Seconds = 10.0
    """After a signal to stop, everything under way gets so long to finish."""

    @model_validator(mode="after")
    def _a_batch_fits(self) -> "StreamerConfig":
        if self.dispatch.max_waiting < self.dispatch.batch:
            raise ValueError("dispatch: max_waiting must be at least batch")
        return self

    @model_validator(mode="after")
    def _unique_ids(self) -> "StreamerConfig":
        ids = [stream.id for stream in self.streams]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"streams: id used twice: {', '.join(twice)}")
        return self


def redact(uri: str) -> str:
    """An address as it may be printed: without user, password and query; in a path what looks like them is masked."""
    scheme, rest = _split_scheme(uri)
    if scheme.lower() in ("", "file"):
        return uri[: len(uri) - len(rest)] + re.sub(r"[^/:@]*:.*@", "***@", rest, flags=re.DOTALL)
    rest = rest.rpartition("@")[2]  # the last @: a password may hold / ? or # as well
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"
