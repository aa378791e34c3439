"""The audit of a streamer's gallery, by gRPC and by its commands, and the replay of its store, with painted people."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from faceanalytics.internal.v1 import faces_pb2
from faceanalytics.v1 import gallery_audit_pb2 as audit_pb2
from faceanalytics.v1 import gallery_pb2
from streamer import cli, commands
from streamer.config import Store
from streamer.people import auditing, nightly
from streamer.people.drift import Seen, by_week, halves
from tests.support.painted_people import person, write_image, write_video
from tests.support.patience import WAIT_S
from tests.support.recognising import Client, recognising, settings

ADA, BOB, EVE = person(1), person(2), person(7)
TABLE = faces_pb2.ImpostorScores(
    pairs=2_000_000, people=3000, shares=[1e-5, 0.001, 0.05, 0.25, 1], cosines=[0.95, 0.8, 0.5, 0.2, -1], source="card"
)
Place = Callable[..., Store]
NOW = datetime(2030, 5, 6, tzinfo=UTC)  # a Monday


async def audit(client: Client, **request: Any) -> audit_pb2.AuditGalleryResponse:
    answer: audit_pb2.AuditGalleryResponse = await client.gallery.AuditGallery(audit_pb2.AuditGalleryRequest(**request))
    return answer


async def audited(client: Client, references: int) -> audit_pb2.GalleryAudit:
    """The audit of a gallery that has just changed, and now has this number of references."""
    found = (await audit(client)).audit
    assert found.references == references
    return found


def shown(name: str, **labels: str) -> float | None:
    """A metric of the newest audit."""
    return REGISTRY.get_sample_value(f"faceanalytics_gallery_audit_{name}", labels)


async def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = await asyncio.to_thread(commands.run, cli.parser().parse_args([*words]))
    return code, capsys.readouterr().out


async def test_what_is_planted_is_found_set_aside_and_restored(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, who in (("ada", ADA), ("bob", BOB), ("eve", EVE)):
        write_image(tmp_path / f"{name}.png", [who])
    with_name = tmp_path / "markup.html"
    async with recognising(settings(tmp_path, place()), impostors=TABLE) as client:
        with pytest.raises(Exception, match="nobody is in it"):
            await audit(client)
        people = {}
        for name, files in (("Ada", "ada"), ("<b>Bob</b>", "bob"), ("Eve", "eve"), ("Twin", "ada")):
            people[name] = (await client.create(name)).person_id
            await client.add(people[name], tmp_path / f"{files}.png")
        clean = await audited(client, 4)
        (twice,) = clean.pairs
        assert {twice.person.display_name, twice.other.display_name} == {"Ada", "Twin"}
        assert twice.verdict == audit_pb2.PAIR_VERDICT_SAME_IMAGE
        assert clean.attention[0].startswith("1 pair of people may be one person")
        assert shown("findings", kind="pairs") == 1
        assert shown("false_accept_rate", figure="stated") == 0.01
        assert shown("false_accept_rate", figure="estimate") is None  # without visitors there is a bound only
        assert shown("timestamp_seconds") == pytest.approx(clean.made_at.ToDatetime(UTC).timestamp(), abs=1)
        said = await client.gallery.DistinguishPeople(
            audit_pb2.DistinguishPeopleRequest(person_id=people["Ada"], other_person_id=people["Twin"])
        )
        apart = (await audit(client)).audit
        assert (len(apart.pairs), apart.distinguished, list(apart.attention)) == (0, 1, [])
        assert shown("findings", kind="pairs") == 0
        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=said.entry_id))
        assert len((await audit(client, days=7)).audit.pairs) == 1
        assert shown("findings", kind="pairs") == 0  # which are of audits by the usual tracks

        await client.add(people["<b>Bob</b>"], tmp_path / "ada.png", tmp_path / "eve.png")
        await audited(client, 6)
        code, text = await run(
            capsys, "people", "audit", "--set-aside", "--faces", "--html", str(with_name), "--server", client.address
        )
        assert code == 1
        assert "1 reference should be set aside" in text
        page = with_name.read_text()
        assert "&lt;b&gt;Bob&lt;/b&gt;" in page
        assert "<b>Bob" not in page
        assert "data:image/jpeg;base64," in page
        assert "http://" not in page
        entries = (await client.gallery.ListLedger(gallery_pb2.ListLedgerRequest())).entries
        aside = [one for one in entries if one.action == gallery_pb2.LEDGER_ACTION_SET_ASIDE]
        assert {one.person_id for one in aside} == {people["<b>Bob</b>"]}
        await audited(client, 6 - len(aside))
        code, text = await run(capsys, "people", "audit", "--restore", "--json", "--server", client.address)
        assert (code, len(json.loads(text)["reference_ids"])) == (0, len(aside))
        await audited(client, 6)
        code, text = await run(capsys, "people", "different", "Ada", "Twin", "--server", client.address)
        assert (code, "are two people" in text) == (0, True)


async def test_a_replay_says_who_would_have_been_named_otherwise_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, who in (("ada", ADA), ("eve", EVE)):
        write_image(tmp_path / f"{name}.png", [who])
        write_video(tmp_path / f"{name}.mp4", {who: [(0, 40)]}, 40)
    folder = tmp_path / "store"
    config = settings(tmp_path, Store(folder=str(folder)))
    yaml = tmp_path / "live.yaml"
    yaml.write_text(f"store: {{folder: {folder}}}\ngallery: {{min_quality: 0.0}}\n")
    async with recognising(config) as client:
        for name in ("Ada", "Eve"):
            await client.add((await client.create(name)).person_id, tmp_path / f"{name.lower()}.png")
        await audited(client, 2)
        for camera, name in (("door", "ada"), ("yard", "eve")):
            track = await client.play(camera, tmp_path / f"{name}.mp4", loop=True)
            await client.until_named(track, name.capitalize())
            await client.stop(camera)
        async with asyncio.timeout(WAIT_S):
            while (found := await audit(client)).audit.false_accepts.tracks < 2:  # they are stored soon
                await asyncio.sleep(0.1)
        assert not found.audit.false_accepts.HasField("rate")
        stored = hashlib.sha256((folder / "store.sqlite").read_bytes()).hexdigest()
        words = ("replay", "--config", str(yaml), "--json")
        code, text = await run(capsys, *words)  # beside the running streamer
        same = json.loads(text)
        assert (code, same["changed"]) == (0, 0)
        before = [one["before"]["person"] for one in same["each"]]  # a clip may have begun again, with a track more
        assert (len(before), sorted(set(before))) == (same["tracks"], ["Ada", "Eve"])
        assert hashlib.sha256((folder / "store.sqlite").read_bytes()).hexdigest() == stored
    code, text = await run(capsys, *words, "--set", "gallery.min_samples=1000", "--stream", "door")
    changed = json.loads(text)
    at_the_door = before.count("Ada")
    assert (changed["tracks"], changed["changed"]) == (at_the_door, at_the_door)
    assert changed["each"][0]["after"]["reason"] == "TOO_LITTLE_EVIDENCE"
    assert changed["by_person"] == [
        {"person": "Ada", "before": at_the_door, "after": 0, "lost": at_the_door, "gained": 0}
    ]
    code, text = await run(capsys, "replay", "--config", str(yaml), "--set", "gallery.min_samples=1000")
    assert f"{len(before)} of {len(before)} tracks would have another identity" in text
    code, text = await run(capsys, *words, "--until", "2001-01-01")
    assert json.loads(text)["tracks"] == 0
    await run(capsys, "store", "backup", str(tmp_path / "copy.sqlite"), "--config", str(yaml))
    code, text = await run(capsys, *words, "--backup", str(tmp_path / "copy.sqlite"))
    assert json.loads(text)["tracks"] == len(before)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("gallery.false_accept_rate", "write it as"),
        ("gallery.nothing=1", "there is no setting gallery.nothing"),
        ("track.lost_s=1", "it does not apply: a replay decides by the stored templates"),
        ("gallery.hysteresis=0.1", "it does not apply: a replay searches once"),
        ("gallery.folder=x", "it does not apply"),
        ("gallery.margin=2", "gallery.margin"),
    ],
)
def test_settings_that_do_not_apply_are_refused(
    setting: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = tmp_path / "live.yaml"
    yaml.write_text(f"store: {{folder: {tmp_path}/store}}\n")
    assert commands.run(cli.parser().parse_args(["replay", "--config", str(yaml), "--set", setting])) == 2
    assert problem in capsys.readouterr().err


async def test_work_of_the_night_is_done_once_a_day_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "LOOK_S", 0)
    hours, done = count(), list[datetime]()
    clock = [NOW]

    def now() -> datetime:
        clock[0] = NOW + timedelta(hours=next(hours))
        return clock[0]

    async def work() -> None:
        done.append(clock[0])
        if len(done) == 3:
            raise ZeroDivisionError  # ends it

    with pytest.raises(ZeroDivisionError):
        await nightly.every_night("03:30", work, now)
    assert done == [NOW + timedelta(days=day, hours=4) for day in range(3)]


async def test_an_audit_of_the_night_that_is_not_possible_is_said_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = count()
    monkeypatch.setattr(
        auditing, "every_night", partial(nightly.every_night, now=lambda: NOW + timedelta(minutes=next(minutes)))
    )
    config = settings(tmp_path, Store(folder=str(tmp_path / "store")))
    gallery = config.gallery.model_copy(update={"audit_at": "00:01"})
    async with recognising(config.model_copy(update={"gallery": gallery}), impostors=TABLE), asyncio.timeout(WAIT_S):
        while "the gallery cannot be audited: nobody is in it" not in caplog.text:
            await asyncio.sleep(0.05)


def test_scores_that_fall_are_parted_from_chance() -> None:
    def tracks(scores: list[float]) -> list[Seen]:
        return [Seen(NOW + timedelta(days=day), "door", "ada", score, 0.6) for day, score in enumerate(scores)]

    level = [0.7 + 0.02 * (day % 3) for day in range(24)]
    assert not halves(tracks(level)).fallen
    fallen = halves(tracks([score - 0.01 * day for day, score in enumerate(level)]))
    assert fallen.fallen
    assert fallen.earlier > fallen.later + 0.05
    assert not halves(tracks([0.9, 0.3])).fallen  # too few
    weeks = by_week(tracks(level))
    assert [(one.begin.isoweekday(), one.tracks) for one in weeks] == [(1, 7), (1, 7), (1, 7), (1, 3)]
