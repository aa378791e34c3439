"""What the report says in tables: shots, what was dropped or not described, and how the recording was analysed."""

from collections.abc import Mapping, Sequence

from streamer.recorded.report import words
from streamer.recorded.report.markup import Markup, Part, element, join, table
from streamer.recorded.report.reading import Recording
from streamer.recorded.report.rows import Row, undescribed
from streamer.recorded.report.timeline import moment, shot_end, small

MOST_UNDESCRIBED, MOST_SHOTS = 300, 600  # rows
MOST_PEOPLE = 8  # named per shot
TIMES = {"pts": "those of the file", "dts": "decoding times of the file", "estimated": "partly estimated"}


def shots(recording: Recording, rows: Sequence[Row], pictures: Mapping[str, str], video: str | None) -> Markup:
    """Return the shots as tiles: picture, start, length, and the people in them."""
    people: dict[int, list[Row]] = {}
    for row in rows:
        for number in row.shots:
            people.setdefault(number, []).append(row)
    tiles = []
    for place, shot in enumerate(recording.shots[:MOST_SHOTS]):
        number = shot["shot"]
        source = pictures.get(f"shot {number}")
        frame = element("img", src=source, alt="") if source else None
        lasts = words.length(shot_end(recording, place) - shot["start_s"])
        kind = words.TRANSITIONS.get(shot["transition"], words.words(shot["transition"]))
        inside = people.get(number, [])
        names: list[Part] = [element("a", element("bdi", row.title), href=f"#{row.id}") for row in inside[:MOST_PEOPLE]]
        more = len(inside) - MOST_PEOPLE
        text = [
            element("strong", f"Shot {number}") if frame else moment(video, shot["start_s"], f"Shot {number}"),
            element("small", f"{words.clock(shot['start_s'])}, {lasts}, {kind}"),
            element("p", [[name, " "] for name in names], f" and {more} more" if more > 0 else None),
        ]
        link = moment(video, shot["start_s"], frame, aria_label=f"Shot {number}: show it") if frame else None
        tiles.append(element("li", link, element("div", text)))
    more = len(recording.shots) - MOST_SHOTS
    rest = element("p", f"And {words.count(more, 'more shot')}: see shots.jsonl.") if more > 0 else None
    return join(element("ol", tiles, class_="tiles"), rest)


def dropped(recording: Recording, rows: Sequence[Row], pictures: Mapping[str, str], video: str | None) -> Markup:
    """Return what was dropped or not described, and why."""
    return join(_losses(recording), _not_described(recording, rows, pictures, video), _skipped(recording))


def incomplete(recording: Recording) -> list[str]:
    """Return in sentences why the results are not complete; empty if they are."""
    summary = recording.summary
    if summary["complete"]:
        return []
    found = [
        f"{words.count(number, 'frame')} could not be analysed and {'was' if number == 1 else 'were'} dropped: "
        f"{words.words(reason)}."
        for reason, number in sorted(summary["dropped"].items())
    ]
    if summary["lost_crops"]:
        found.append(f"No worker answered for {words.count(summary['lost_crops'], 'crop')} of {summary['crops']:,}.")
    if any(track["end_reason"] == "SHUTDOWN" for track in recording.tracks):
        found.append(
            f"The analysis was stopped at {words.clock(recording.end_s)}; the rest of the video is missing here."
        )
    problem = summary.get("problem")
    if problem:
        found.append(f"{problem}.")
    return found or ["The analysis was stopped, or the video broke off; the rest of the video is missing here."]


def _losses(recording: Recording) -> Markup:
    base, seen = recording.header["time_base"], recording.seen
    lines = incomplete(recording)
    if base["estimated_frames"]:
        lines.append(
            f"{words.count(base['estimated_frames'], 'frame')} had no usable time and got that of its neighbours."
        )
    if base["restarts"]:
        lines.append(f"The timestamps jumped {words.count(base['restarts'], 'time')}; the jumps are left out here.")
    if seen.sizes:
        sizes = ", ".join(f"{size} px" for size in sorted(seen.sizes))
        lines.append(f"The size of the pictures changes within the video: also {sizes}.")
    if not lines:
        return element("p", "No frame was dropped and no crop was lost.")
    return element("ul", [element("li", line) for line in lines])


def _not_described(
    recording: Recording, rows: Sequence[Row], pictures: Mapping[str, str], video: str | None
) -> Markup | None:
    owner = {track["track_id"]: row for row in rows for track in row.tracks}
    silent = [track for track in recording.tracks if undescribed(track)]
    if not silent:
        return element("p", "Every track is described.") if recording.tracks else None
    lines: list[list[Part]] = []
    for track in silent[:MOST_UNDESCRIBED]:
        row = owner.get(track["track_id"])
        track_id = track["track_id"]
        source = pictures.get(track_id)
        image = None if source is None else small(track_id, row.id) if row else element("img", src=source, alt="")
        lines.append(
            [
                image,
                f"Track {track['number']}",
                [moment(video, track["first_seen_s"]), f"\N{EN DASH}{words.clock(track['last_seen_s'])}"],
                element("a", element("bdi", row.title), href=f"#{row.id}") if row else "nobody",
                undescribed(track),
                _details(recording, track["track_id"]),
            ]
        )
    more = len(silent) - MOST_UNDESCRIBED
    rest = element("p", f"And {words.count(more, 'more track')}: see tracks.jsonl.") if more > 0 else None
    heads = ("", "Track", "Seen", "Person", "Why not described", "Frames that could not be analysed")
    return join(table(heads, lines, "Tracks without age and expression", "undescribed"), rest)


def _details(recording: Recording, track_id: str) -> str:
    faces = recording.seen.tracks[track_id]
    parts = [f"{name} {number}" for name, number in words.counted(faces.skipped, words.REASONS)]
    if faces.lost:
        parts.append(words.count(faces.lost, "crop") + " without an answer")
    return ", ".join(parts)


def _skipped(recording: Recording) -> Markup | None:
    """Return how many faces in frames could not be analysed, and with explain.jsonl what was decided on each."""
    seen = recording.seen
    parts: list[Markup] = []
    if seen.skipped:
        rows = words.counted(seen.skipped, words.REASONS)
        title = f"Faces in frames that could not be analysed, of {seen.faces:,}"
        parts.append(table(("Reason", "Faces"), rows, title))
    if seen.decisions:
        title = "What was decided on each face in each frame"
        parts.append(table(("Decision", "Faces"), words.counted(seen.decisions, words.DECISIONS), title))
    return element("div", parts, class_="pair") if parts else None


def about(recording: Recording) -> Markup:
    """Return how the recording was analysed."""
    header, summary = recording.header, recording.summary
    outputs, gallery = header["outputs"], header["gallery"]
    missing = [name for name in ("age", "expression", "identity") if not outputs[name]]
    attributes = len(outputs["attributes"])
    lines: list[tuple[str, Part]] = [
        ("File", element("bdi", recording.name)),
        ("SHA-256 of the file", element("code", header["source"]["sha256"])),
        ("Run", element("code", header["run_id"])),
        ("Complete", "yes" if summary["complete"] else " ".join(["no:", *incomplete(recording)])),
        ("Detector", header["detector"]),
        ("Face model", header["model_id"]),
        ("Terms of the weights", header["licence"] or "not stated"),
        (
            "Outputs",
            f"{'without ' + ', '.join(missing) + '; ' if missing else ''}{words.count(attributes, 'attribute')}",
        ),
        ("Gallery", "none: nobody could be named" if gallery is None else "used for the names"),
        ("Times", TIMES.get(header["time_base"]["source"], header["time_base"]["source"])),
        ("First frame", header.get("start_time")),
        ("Settings", element("code", header["config_hash"])),
        ("Program", f"faceanalytics {header['version']}, results of schema {header['schema_version']}"),
    ]
    rows = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in lines if value]
    return element("div", element("table", element("tbody", rows), class_="about"), class_="wide")
