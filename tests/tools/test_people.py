"""`streamer people` against a live streamer with painted people: what each command prints, and its exit code."""

import asyncio
import json
from pathlib import Path

import pytest

from streamer.cli import main
from streamer.config import Store
from tests.support.painted_people import person, write_image, write_video
from tests.support.recognising import recognising, settings

ADA, BOB, EVE = person(1), person(2), person(7)


class Line:
    """Runs commands in a thread, while the streamer works in this one."""

    def __init__(self, address: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._address = address
        self._capsys = capsys
        self.errors = ""

    async def __call__(self, *words: str | Path, code: int = 0) -> str:
        """What a command prints; what it complains about is in `errors`."""
        command = ["people", *map(str, words), "--server", self._address]
        assert await asyncio.to_thread(main, command) == code, self._capsys.readouterr()
        printed = self._capsys.readouterr()
        self.errors = printed.err
        return printed.out


async def test_people_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, who in (("ada", [ADA]), ("two", [ADA, BOB]), ("nobody", [])):
        write_image(tmp_path / f"{name}.png", who)
    write_image(tmp_path / "people" / "bob" / "1.png", [BOB])
    write_image(tmp_path / "people" / "nobody" / "1.png", [])
    write_video(tmp_path / "eve.mp4", {EVE: [(0, 8)]}, 8)
    config = settings(tmp_path, Store(folder=str(tmp_path / "store"), faces=True))
    async with recognising(config) as client:
        people = Line(client.address, capsys)
        assert await people("list") == "no id\n"
        made = await people("add", "Ada", tmp_path / "ada.png", "--label", "staff", "--data", "room=7")
        assert "ada.png: quality 0." in made
        assert made.endswith(" Ada: 1 of 1 references used; staff\n")
        again = await people("enrol", "Ada", tmp_path / "ada.png", tmp_path / "two.png", code=5)
        assert "ada.png: the same image is reference" in again
        assert "two.png: 2 faces" in people.errors
        await people("enrol", "Ada", tmp_path / "nobody.png", code=3)
        assert "nobody.png: no face is found" in people.errors
        assert "Ada" in await people("list", "--label", "staff")
        assert await people("list", "--label", "guest") == "no id\n"
        imported = await people("import", tmp_path / "people", code=5)
        assert " bob: 1 of 1 references used" in imported
        shown = json.loads(await people("show", "Ada", "--json"))
        assert shown["person"]["metadata"] == {"room": "7"}
        (reference,) = shown["references"]
        assert [one["action"] for one in shown["entries"]] == ["LEDGER_ACTION_ENROL", "LEDGER_ACTION_CREATE"]
        assert "0 of 1 references used" in await people("set-aside", reference["reference_id"])
        assert "1 of 1 references used" in await people("restore", reference["reference_id"])
        assert "used" in await people("show", "Ada")

        track = await client.play("door", tmp_path / "eve.mp4", loop=True)
        said = await people("confirm", track, "--new", "Eve")
        assert "shows Eve (entry" in said
        await client.until_named(track, "Eve")
        assert "shows Eve" in await people("confirm", track)  # its best candidate
        assert "1 tracks would change" in await people("reject", track, "--dry-run")
        await people("reject", track, "Eve")
        await client.until_named(track, "")
        entry = json.loads(await people("ledger", "--json"))["entries"][0]["entry_id"]
        assert "is undone" in await people("undo", entry)
        await client.until_named(track, "Eve")
        await people("undo", entry, code=2)
        assert "is undone already" in people.errors
        assert "reject" in await people("ledger")
        assert "eve" in (await people("search", "--track", track)).lower()
        assert "Ada" in await people("search", tmp_path / "ada.png", "--past")
        await people("search", code=2)
        await people("confirm", track, "Ada", "--new", "x", code=2)
        await people("show", "Somebody", code=2)
        assert "there is nobody called Somebody" in people.errors
        assert "Eva:" in await people("rename", "Eve", "Eva")
        assert "(entry" in await people("merge", "Ada", "Eva")
        await client.until_named(track, "Ada")
        await people("add", "Ada")
        await people("show", "Ada", code=2)
        assert "2 people are called Ada" in people.errors
        assert "deleted" in await people("delete-reference", reference["reference_id"])
        await people("erase", shown["person"]["person_id"], code=2)
        assert "add --yes" in people.errors
        erased = await people("erase", shown["person"]["person_id"], "--yes")
        assert "signature: " in erased
        assert "STILL THERE" not in erased
        await client.until_named(track, "")


@pytest.mark.parametrize("words", [["add", "x", "--data", "room"], ["search"], ["confirm", "t", "p", "--new", "n"]])
def test_wrong_options_need_no_streamer(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["people", *words, "--server", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.startswith("streamer: ")
