"""Who may come in: requests as an attacker sends them, over real sockets to a real streamer."""

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from streamer.web.sessions import Sessions
from tests.support.patience import WAIT_S
from tests.web.conftest import Place, open_place

METHOD = "/api/StreamService/ListStreams"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Place]:
    """A streamer for which a token was made, so that everybody needs one."""
    with open_place() as found:
        found.token("admin")
        yield found


def client(place: Place, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=place.url, timeout=WAIT_S, **options)


@contextlib.contextmanager
def signed_in(place: Place, token: str) -> Iterator[httpx.Client]:
    with client(place) as found:
        answer = found.post("/login", data={"token": token}, headers={"origin": place.url})
        assert answer.status_code == 303, answer.text
        yield found


def csrf(found: httpx.Client) -> str:
    page = found.get("/live").text
    about = page.split('id="about">')[1].split("</script>")[0]
    text: str = json.loads(about)["csrf"]
    return text


def post(found: httpx.Client, path: str = METHOD, body: Any = None, **headers: str) -> httpx.Response:
    own = str(found.base_url).rstrip("/")
    return found.post(path, json=body or {}, headers={"origin": own, "x-csrf-token": csrf(found), **headers})


def test_pages_and_calls_need_a_session(guarded: Place) -> None:
    with client(guarded) as found:
        answer = found.get("/live?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Flive%3Fx%3D1")
        assert found.get("/cameras/door/picture.jpg").status_code == 401
        assert found.get("/cameras/door/mjpeg").status_code == 401
        assert found.get("/tracks/a.json").status_code == 401


def test_a_session_shows_pages_and_makes_calls(guarded: Place) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        assert found.get("/live").status_code == 200
        assert post(found).json()["streams"][0]["streamId"] == "door"


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(guarded: Place) -> None:
    with client(guarded) as found:
        token = guarded.token("read")
        answer = found.post("/login", data={"token": token}, headers={"origin": guarded.url})
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/", "max-age="):
        assert part in cookie
    assert token.lower() not in cookie


@pytest.mark.parametrize("what", ["garbage", "signature", "content", "key", "expired"])
def test_a_forged_or_expired_cookie_opens_nothing(guarded: Place, what: str) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        ((name, value),) = found.cookies.items()
    body, _, signature = value.partition(".")
    session_id, token, begun, _ = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    later = base64.urlsafe_b64encode(json.dumps([session_id, token, begun, begun + 1e9]).encode()).decode().rstrip("=")
    other = Sessions(b"another key", 1)
    past = Sessions(b"another key", -1)
    forged = {
        "garbage": "\x7f",
        "signature": f"{body}.{signature[:-2]}AA",
        "content": f"{later}.{signature}",
        "key": other.write(other.begin(token)),
        "expired": past.write(past.begin(token)),
    }[what]
    with client(guarded) as found:
        assert found.get("/live", headers={"cookie": f"{name}={forged}"}).status_code == 303


def test_sessions_are_read_until_they_end() -> None:
    sessions = Sessions(b"key", 1)
    session = sessions.begin("a" * 64)
    assert sessions.read(sessions.write(session)) is not None
    over = Sessions(b"key", -1)
    assert sessions.read(over.write(over.begin("a" * 64))) is None
    sessions.end(session)
    assert sessions.read(sessions.write(session)) is None


def test_signing_out_ends_the_session_also_for_whoever_kept_the_cookie(guarded: Place) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        kept = dict(found.cookies)
        answer = found.post("/logout", headers={"origin": guarded.url, "x-csrf-token": csrf(found)})
        assert answer.status_code == 303
    with client(guarded, cookies=kept) as found:
        assert found.get("/live").status_code == 303


def test_a_token_that_expires_ends_the_session_and_its_socket(guarded: Place) -> None:
    with signed_in(guarded, guarded.token("read", expires="4s")) as found:
        cookie = "; ".join(f"{name}={value}" for name, value in found.cookies.items())
        with opened(guarded, cookie, guarded.url) as socket:
            socket.send(json.dumps({"watch": {"cameras": ["door"], "width": 320}}))
            assert closing_code(socket) == 4401
        assert found.get("/live").status_code == 303


def closing_code(socket: ClientConnection) -> int | None:
    """Read, and acknowledge pictures, until the streamer closes the socket; the reason that it gives."""
    try:
        while True:
            if isinstance(socket.recv(WAIT_S), bytes):
                socket.send(json.dumps({"ack": 1}))
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


def opened(place: Place, cookie: str, origin: Any) -> ClientConnection:
    """A WebSocket as a browser opens it."""
    address = f"{place.url.replace('http', 'ws')}/socket"
    return connect(address, origin=origin, additional_headers={"cookie": cookie})


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None, "http://127.0.0.1:1"])
def test_the_socket_is_for_pages_of_the_dashboard_only(guarded: Place, origin: Any) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        cookie = "; ".join(f"{name}={value}" for name, value in found.cookies.items())
    with pytest.raises(InvalidStatus) as refused:
        opened(guarded, cookie, origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("text", ["{", "[]", '{"watch": 1}', '{"watch": {"cameras": 5}}', '{"ack": "x"}'])
def test_the_socket_closes_on_what_is_no_message(guarded: Place, text: str) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        cookie = "; ".join(f"{name}={value}" for name, value in found.cookies.items())
    with opened(guarded, cookie, guarded.url) as socket:
        socket.send(text)
        assert closing_code(socket) == 4400


def test_changes_need_the_token_of_the_page_and_its_origin(guarded: Place) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        good = csrf(found)
        for headers in (
            {"origin": guarded.url},
            {"origin": guarded.url, "x-csrf-token": "0" * 32},
            {"origin": "http://evil.example", "x-csrf-token": good},
            {"x-csrf-token": good},
            {"origin": guarded.url, "x-csrf-token": good, "sec-fetch-site": "cross-site"},
        ):
            assert found.post(METHOD, json={}, headers=headers).status_code == 403, headers


def test_another_name_for_this_machine_is_refused(place: Place) -> None:
    """A page whose name was pointed at this machine must not read faces through the browser of a user."""
    with client(place) as found:
        assert found.get("/live", headers={"host": "evil.example"}).status_code == 403
        assert found.get("/live", headers={"host": "localhost:1"}).status_code == 200


def test_without_a_token_this_machine_needs_none(place: Place) -> None:
    with client(place) as found:
        assert found.get("/live").status_code == 200
        assert post(found).json()["streams"][0]["streamId"] == "door"


@pytest.mark.parametrize(
    ("method", "body", "scope"),
    [
        ("StreamService/DeleteStream", {"streamId": "door"}, "operate"),
        ("StreamService/CreateStream", {"streamId": "b", "settings": {"uri": "rtsp://h/b"}}, "operate"),
        ("GalleryService/CreatePerson", {"person": {"displayName": "x"}}, "enrol"),
        ("TrackService/ListTracks", {"filter": {"persons": ["Ada"]}}, "biometric"),
    ],
)
def test_the_server_refuses_what_the_token_may_not(guarded: Place, method: str, body: Any, scope: str) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        answer = post(found, f"/api/{method}", body)
    assert answer.status_code == 403
    assert answer.json()["reason"] == "SCOPE_MISSING"
    assert scope in answer.json()["text"]


def test_a_token_without_biometric_gets_boxes_but_no_picture(guarded: Place) -> None:
    with signed_in(guarded, guarded.token("read")) as found:
        cookie = "; ".join(f"{name}={value}" for name, value in found.cookies.items())
        assert found.get("/cameras/door/mjpeg").status_code == 403
    with opened(guarded, cookie, guarded.url) as socket:
        socket.send(json.dumps({"watch": {"cameras": ["door"], "width": 320}}))
        data = next(one for one in iter(lambda: socket.recv(WAIT_S), None) if isinstance(one, bytes))
    length = int.from_bytes(data[:4], "big")
    assert json.loads(data[4 : 4 + length])["camera"] == "door"
    assert data[4 + length :] == b""


@pytest.mark.parametrize(
    "path",
    ["../door.py", "..%2f..%2fserver.py", "%2e%2e/%2e%2e/layout.py", "....//door.py", "/etc/passwd", "..\\door.py"],
)
def test_no_path_leads_out_of_the_static_files(place: Place, path: str) -> None:
    with client(place) as found:
        static = found.get("/live").text.split('href="/static/')[1].split("/")[0]
        answer = found.get(f"/static/{static}/{path}")
    assert answer.status_code in (403, 404)
    assert "import" not in answer.text


def test_every_answer_has_the_security_headers(place: Place) -> None:
    with client(place) as found:
        for path in ("/live", "/login", "/nothing", "/tracks/none", "/cameras/none/picture.jpg"):
            headers = found.get(path).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert "server" not in headers


def test_what_is_too_large_or_not_json_is_refused_in_words(place: Place) -> None:
    with client(place) as found:
        headers = {"origin": place.url, "x-csrf-token": csrf(found)}
        large = found.post(METHOD, content=b"x" * (13 << 20), headers=headers)
        assert large.status_code == 429
        assert "too large" in large.json()["text"]
        assert found.post(METHOD, content=b"{", headers=headers).json()["reason"] == "INVALID_REQUEST"
        unknown = post(found, "/api/StreamService/Nothing")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "UNIMPLEMENTED")
        nul = post(found, "/api/StreamService/GetStream", {"streamId": "a\0"})
        assert nul.json()["reason"] == "INVALID_REQUEST"


def test_signing_in_is_limited_and_written_down(guarded: Place) -> None:
    with client(guarded) as found:
        answers = [
            found.post("/login", data={"token": f"fa_{'x' * 42}{one % 10}"}, headers={"origin": guarded.url})
            for one in range(20)
        ]
    assert {one.status_code for one in answers} == {401, 429}
    assert "not known here" in answers[0].text


def test_another_program_reads_mjpeg_with_its_token_as_password(guarded: Place) -> None:
    token = guarded.token("read", "biometric")
    with client(guarded, auth=("any", token)) as found, found.stream("GET", "/cameras/door/mjpeg?width=320") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
        data = b""
        for part in answer.iter_bytes():
            data += part
            if data.count(b"--picture") >= 3:
                break
    assert data.count(b"\xff\xd8\xff") >= 2
