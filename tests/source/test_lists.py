"""Files that make FFmpeg read others are refused, whatever they are called."""

from pathlib import Path

import pytest

from faceanalytics.errors import InputError
from streamer.source.file import open_file, probe_file
from streamer.source.lists import HLS, LISTS, OTHERS, PLAYLISTS, TEXT, allowed_formats, name_of_list
from tests.support.videos import make_video

CONTENTS = {
    "m3u8 playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.mp4\n#EXT-X-ENDLIST\n",
    "m3u8 playlist with an absolute path": "\ufeff#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/etc/passwd\n",
    "ffconcat list": "ffconcat version 1.0\nfile a.mp4\n",
    "SDP description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "DASH manifest": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "IMF playlist": '<?xml version="1.0"?>\n<CompositionPlaylist></CompositionPlaylist>',
    "XSPF playlist": '<?xml version="1.0"?>\n<playlist version="1"><trackList/></playlist>',
    "ASX playlist": '<ASX version="3"><entry><ref href="a.mp4"/></entry></ASX>',
    "SMIL playlist": "<smil><body><video src='a.mp4'/></body></smil>",
}
NAMELESS = ["[playlist]\nFile1=a.mp4\n", "[Reference]\nRef1=http://example.org/a.asf\n", "a.mp4\na.mp4\n"]


@pytest.mark.parametrize("suffix", ["", ".mp4", ".ts", ".avi"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_list_of_other_files_is_refused_and_named(tmp_path: Path, kind: str, suffix: str) -> None:
    make_video(tmp_path / "a.mp4", frames=3)
    path = tmp_path / f"list{suffix}"
    path.write_text(CONTENTS[kind], encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_file(path)
    assert f"{kind.partition(' with')[0]}" in str(caught.value)
    assert str(caught.value).startswith(f"{path}: a")
    followed = any(known in kind for known in ("m3u8", "ffconcat", "DASH", "IMF"))
    assert ("--allow-lists" in str(caught.value)) is followed


@pytest.mark.parametrize("content", NAMELESS)
def test_a_list_that_ffmpeg_does_not_know_is_no_video(tmp_path: Path, content: str) -> None:
    make_video(tmp_path / "a.mp4", frames=3)
    (tmp_path / "list").write_text(content)
    with pytest.raises(InputError, match=r"not a video|contains no video"):
        probe_file(tmp_path / "list")


@pytest.mark.parametrize("name", ["concat:a.mp4|a.mp4", "subfile,,start,0,end,0,,:a.mp4", "cache:a.mp4", "a%d.mp4"])
def test_a_name_with_the_syntax_of_a_protocol_is_the_name_of_a_file(tmp_path: Path, name: str) -> None:
    make_video(tmp_path / "a.mp4", frames=3)
    with pytest.raises(InputError, match="no such file"):
        open_file(tmp_path / name)
    (tmp_path / "a.mp4").rename(tmp_path / name)
    assert probe_file(tmp_path / name).frames == 3


@pytest.mark.parametrize("name", ["still%03d.jpg", "still*.jpg"])
def test_a_name_that_is_a_pattern_does_not_read_the_images_beside_it(tmp_path: Path, name: str) -> None:
    for each in (name, "still001.jpg", "still002.jpg"):
        (tmp_path / each).write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError):
        open_file(tmp_path / name)


def test_the_whitelist_has_every_usual_format_and_no_list() -> None:
    allowed = set(allowed_formats().split(","))
    assert not allowed & (PLAYLISTS | OTHERS | TEXT)
    assert {"mov", "matroska", "mpegts", "avi", "flv", "asf", "gif", "h264", "hevc", "mpeg", "mjpeg"} <= allowed
    assert set(allowed_formats(HLS).split(",")) - allowed <= HLS
    assert set(allowed_formats(PLAYLISTS).split(",")) - allowed <= PLAYLISTS


def test_a_video_is_no_list(tmp_path: Path) -> None:
    assert name_of_list(make_video(tmp_path / "a.mp4", frames=3)) == ""
    assert len({name for _, name in LISTS}) == len(LISTS)
