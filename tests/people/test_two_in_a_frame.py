"""Two faces of one frame over gRPC: one of them has the name, live, after corrections, and when the past is decided."""

from collections.abc import Callable
from pathlib import Path

from faceanalytics.v1 import gallery_pb2, tracks_pb2
from streamer.config import Store
from tests.support.painted_people import Person, person, write_image, write_video
from tests.support.recognising import Client, recognising, settings

ADA = person(1)
LIKE_ADA: Person = tuple((min(b + 40, 255), g, max(r - 40, 0)) for b, g, r in ADA)
SAME_FRAME = tracks_pb2.IDENTITY_REASON_SAME_FRAME
TRACK = {"lost_s": 2.0, "max_gap_s": 60.0, "shot_change_levels": 255.0}


def named(client: Client) -> list[str]:
    return [one.track_id for one in client.seen.values() if one.decision.person == "Ada"]


def hidden(client: Client) -> list[str]:
    return [one.track_id for one in client.seen.values() if one.decision.reason == SAME_FRAME]


async def test_one_of_two_faces_in_a_frame_has_the_name(place: Callable[..., Store], tmp_path: Path) -> None:
    write_video(tmp_path / "both.mp4", {ADA: [(0, 30)], LIKE_ADA: [(0, 30)]}, 30)
    write_image(tmp_path / "ada.png", [ADA])
    async with recognising(settings(tmp_path, place(), track=TRACK)) as client:
        ada = await client.create("Ada")
        await client.add(ada.person_id, tmp_path / "ada.png")
        await client.play("door", tmp_path / "both.mp4", loop=True)
        seen = client.seen
        await client.until(lambda: bool(named(client)) and bool(hidden(client)))
        pair = [*named(client), *hidden(client)]
        await client.until(lambda: all(seen[one].last_seen_s - seen[one].first_seen_s > 4 for one in pair))
        await client.until(lambda: len(named(client)) == len(hidden(client)) == 1)
        (winner,), (loser,) = named(client), hidden(client)
        assert seen[loser].decision.beside_track_id == winner

        said = await client.gallery.RejectMatch(
            gallery_pb2.RejectMatchRequest(track_id=winner, person_id=ada.person_id)
        )
        await client.until(lambda: seen[winner].decision.person == "")  # it is searched without Ada
        await client.stop("door")

        await client.gallery.Undo(gallery_pb2.UndoRequest(entry_id=said.entry_id))  # past tracks are decided again
        await client.until_named(winner, "Ada")
        await client.until(lambda: seen[loser].decision.person == "")
        assert (await client.track(loser)).decision.beside_track_id in ("", winner)
        dry = await client.gallery.ConfirmMatch(
            gallery_pb2.ConfirmMatchRequest(track_id=loser, person_id=ada.person_id, dry_run=True)
        )
        after = {one.track_id: one.after.person or one.after.reason for one in dry.changes}
        assert after == {loser: "Ada", winner: SAME_FRAME}  # what somebody says comes first
