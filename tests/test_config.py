from pathlib import Path

import pytest

from faceanalytics.errors import ConfigError
from streamer.config import Stream, StreamerConfig, redact
from streamer.configfile import config_hash, load_config, parse_config, show_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["demo.yaml", "live.yaml", "recorded.yaml"])
def test_the_shipped_configurations_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_USER", "operator")
    monkeypatch.setenv("CAMERA_PASSWORD", "secret")
    assert isinstance(load_config(CONFIGS / name), StreamerConfig)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("detekt: {}", "detekt: unknown key"),
        ("track: {lost: 2}", "track.lost: unknown key"),
        ("streams: [{id: a, uri: x, transport: http}]", "streams.0.transport"),
        ("streams: [{id: a}]", "give either uri or uri_file"),
        ("streams: [{id: a, uri: x}, {id: a, uri: y}]", "id used twice: a"),
        ("track: {lost_s: -1}", "track.lost_s"),
        ("schedule: {answer_s: soon}", "schedule.answer_s"),
        ("dispatch: {batch: 64, max_waiting: 10}", "max_waiting must be at least batch"),
        ("publish: {listen: nohost}", "publish.listen"),
        ("publish: {listen: '127.0.0.1:99999'}", "publish.listen"),
        ("metrics: {listen: x}", "metrics.listen"),
        ("dispatch: {bind: 'tcp//x'}", "dispatch.bind"),
        ("detect: {device: gpu}", "detect.device"),
        ("streams: [{id: a, uri: 'ftp://x'}]", "ftp:// is not supported"),
        ("streams: [{id: a, uri: 'http://h/x'}]", "streams.0.uri: http://h/x is a source of the kind http"),
        ("sources: {allow: [rtsp]}\nstreams: [{id: a, uri: a.mp4}]", r"problem\(s\)\n  streams.0.uri: .* add file to"),
        ("sources: {allow: [web]}", "sources.allow.0"),
        ("sources: {max_streams: 1}\nstreams: [{id: a, uri: x}, {id: b, uri: y}]", "more than the limit of 1"),
        ("sources: {decode_device: gpu}", "sources.decode_device"),
        ("streams: [{id: a, uri: x, decode_device: 'opencl:0'}]", "streams.0.decode_device"),
        ("track: {lost_s: 1}\ntrack: {lost_s: 2}", "'track' stands twice"),
        ("- a\n- b", "expected names with values"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_path_of_the_field(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(ConfigError, match=path.replace("[", r"\[")):
        load_config(write(tmp_path, text))


def test_environment_variables_and_files_hold_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uri").write_text("rtsp://b:pw@host/2\n")
    text = f"streams: [{{id: a, uri: 'rtsp://a:${{PW}}@host/1'}}, {{id: b, uri_file: {tmp_path / 'uri'}}}]"
    monkeypatch.setenv("PW", "geheim")
    config = load_config(write(tmp_path, text))
    assert [stream.address() for stream in config.streams] == ["rtsp://a:geheim@host/1", "rtsp://b:pw@host/2"]
    monkeypatch.delenv("PW")
    with pytest.raises(ConfigError, match="PW is not set"):
        load_config(write(tmp_path, text))


MISTYPED = [
    "rtsp:/admin:geheim@10.0.0.5/main",
    "rtsp//admin:geheim@10.0.0.5/main",
    "rtsp/admin:geheim@10.0.0.5/main",
    "rtsp:admin:ge/heim@10.0.0.5/main",
    "RTSPS:/admin:geheim@10.0.0.5/main",
    " rtsp://admin:geheim@10.0.0.5/main",
    "rtsp:/10.0.0.5/main?password=geheim",
    "http:/admin:geheim@10.0.0.5/main",
    "//admin:geheim@10.0.0.5/main",
    "admin:geheim@10.0.0.5/main",
    "file://admin:geheim@10.0.0.5/main",
    "rtsp:/admin:geheim://x@10.0.0.5/main",
]


@pytest.mark.parametrize("uri", MISTYPED)
def test_a_mistyped_address_is_no_path_and_is_not_printed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match="uri: looks like a mistyped address") as caught:
        parse_config({"streams": [{"id": "a", "uri": uri}]}, "test")
    assert "geheim" not in str(caught.value)
    (tmp_path / "uri").write_text(uri.strip(" ").replace("rtsp://", "rtsp:/"))
    stream = Stream.model_validate({"id": "a", "uri_file": str(tmp_path / "uri")})
    with pytest.raises(ConfigError, match="stream a: uri_file: looks like a mistyped address") as caught:
        stream.address()
    assert "geheim" not in str(caught.value)


def test_an_address_that_its_password_cuts_in_two_is_refused_with_the_form_to_write(tmp_path: Path) -> None:
    uri = "rtsp://admin:geheim#1@10.0.0.5/main"
    with pytest.raises(ConfigError, match="uri: the password contains an unescaped '#': write %23") as caught:
        parse_config({"streams": [{"id": "a", "uri": uri}]}, "test")
    assert "geheim" not in str(caught.value)
    (tmp_path / "uri").write_text(uri)
    with pytest.raises(ConfigError, match="stream a: uri_file: the password contains") as caught:
        Stream.model_validate({"id": "a", "uri_file": str(tmp_path / "uri")}).address()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["/videos/12:30 me@home.mp4", "videos/me@home.mp4", "./12:30@home.mp4", "12:30.mp4", "file:///v/a@b.mp4"]
)
def test_the_path_of_a_file_may_hold_signs_of_addresses(uri: str) -> None:
    assert Stream(id="a", uri=uri).address() == uri


@pytest.mark.parametrize("uri_file", ["a" * 300, "a\0b", "missing", "binary"])
def test_a_uri_file_that_cannot_be_read_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri_file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="stream a: cannot read uri_file"):
        Stream.model_validate({"id": "a", "uri_file": uri_file}).address()


def test_shown_configurations_and_errors_hold_no_credentials(tmp_path: Path) -> None:
    text = "streams: [{id: a, uri: 'rtsp://user:geheim@host/1?token=geheim'}]"
    assert "geheim" not in show_config(load_config(write(tmp_path, text)))
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text.replace("id: a", "id: a, id2: a")))
    assert "geheim" not in str(caught.value)
    assert redact("rtsp://u:p@h:554/x?y=1") == "rtsp://h:554/x"
    assert redact("/videos/a.mp4") == "/videos/a.mp4"


def test_a_shown_configuration_is_a_configuration(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "track: {lost_s: 3}\nstreams: [{id: a, uri: rtsp://h/1}]"))
    assert load_config(write(tmp_path, show_config(config))) == config


def test_the_hash_changes_with_what_decides_the_results_only() -> None:
    base = parse_config({}, "test")
    assert config_hash(base) == config_hash(parse_config({"publish": {"listen": "0.0.0.0:1"}}, "test"))
    assert config_hash(base) == config_hash(parse_config({"detect": {"weights": "elsewhere.onnx"}}, "test"))
    assert config_hash(base) != config_hash(parse_config({"track": {"lost_s": 1}}, "test"))
    assert config_hash(base) == config_hash(parse_config({"sources": {"allow": ["http"]}}, "test"))
    assert config_hash(base) != config_hash(parse_config({"sources": {"decode_device": "cuda:0"}}, "test"))


def test_kinds_that_are_switched_on_are_accepted() -> None:
    uris = ["http://h/a", "rtmps://h/a/b", "srt://h:1", "/dev/video0", "a.mp4", "rtsp://h/a"]
    streams = [{"id": f"s{number}", "uri": uri} for number, uri in enumerate(uris)]
    allow = ["rtsp", "file", "http", "rtmp", "srt", "device"]
    config = parse_config({"sources": {"allow": allow}, "streams": streams}, "test")
    assert [stream.uri for stream in config.streams] == uris
