"""Logins in the addresses of cameras: find characters that must be escaped, and put a password in. Prints no password.

In an address, `#`, `/` and `?` end the host, so a password that contains them unescaped is cut in two. `@`, `:` and `%`
work with FFmpeg in most places, but not with every program.
"""

import re
from urllib.parse import quote

from faceanalytics.errors import ConfigError
from streamer.kinds import split_scheme

CUTTING = "#/?"  # end the part of an address that holds the login
RESERVED = CUTTING + "@:%"
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[\w.-]+)(:\d*)?", re.IGNORECASE)


def unescaped(address: str) -> str:
    """Say which characters of the login must be escaped because they break the address; empty if it is intact."""
    authority, rest = _split(address)
    _, colon, port = authority.rpartition(":")
    cut = "@" not in authority and "@" in rest and not authority.startswith("[") and bool(colon)
    if not cut or (port.isdecimal() and int(port) <= 65535):
        return ""
    return _explained(_login(address) or authority + rest.rpartition("@")[0])


def suspicious(address: str) -> str:
    """Say what may be wrong with the login of an address whose host or password is refused; empty if nothing."""
    authority, rest = _split(address)
    longest = (authority + rest).rpartition("@")[0]
    if "@" in rest and ":" in longest:
        return f"if the host follows the last '@', {_explained(longest)}"
    password = authority.rpartition("@")[0].partition(":")[2]
    letters = [chr(int(code, 16)) for code in re.findall(r"%([0-9a-fA-F]{2})", password)]
    if any(
        letter.isalnum() or not letter.isascii() or not letter.isprintable() for letter in letters
    ):  # not on purpose
        return "if the password itself contains a '%', write %25 in its place"
    return ""


def careless(address: str) -> str:
    """Say which characters of the login work here, but should be escaped for other programs; empty if none."""
    authority, _ = _split(address)
    login = authority.rpartition("@")[0]
    said = _explained(login)
    return f"{said}; this program reads it, others may not" if said else ""


def lacks_password(address: str) -> bool:
    """Return whether an address has a user name but no password."""
    login, at, _ = _split(address)[0].rpartition("@")
    return bool(at) and bool(login) and ":" not in login


def has_login(address: str) -> bool:
    """Return whether an address has a user name."""
    return "@" in _split(address)[0]


def with_password(address: str, password: str) -> str:
    """Return the address with a password, escaped, behind its user name. Raises ConfigError if it has no place."""
    if not lacks_password(address):
        raise ConfigError("a password needs an address with a user name and without a password: rtsp://USER@HOST/PATH")
    authority, rest = _split(address)
    login, _, host = authority.rpartition("@")
    scheme = address[: len(address) - len(authority) - len(rest)]
    return f"{scheme}{login}:{quote(password, safe='')}@{host}{rest}"


def _split(address: str) -> tuple[str, str]:
    """Split a network address into what FFmpeg takes for login and host, and the rest. Both are empty for a path."""
    scheme, body = split_scheme(address)
    if scheme.lower() in ("", "file"):
        return "", ""
    end = next((place for place, letter in enumerate(body) if letter in CUTTING), len(body))
    return body[:end], body[end:]


def _login(address: str) -> str:
    """Return what looks like the login: up to the first '@' behind which a host follows. Empty without one."""
    body = "".join(_split(address))
    for match in re.finditer("@", body):
        host = re.split(r"[#/?]", body[match.end() :], maxsplit=1)[0]
        if _HOST.fullmatch(host):
            return body[: match.start()]
    return ""


def _explained(login: str) -> str:
    """Name the characters of a login that must be escaped, user name first."""
    user, _, password = login.partition(":")
    parts = [_in("user name", user), _in("password", password)]
    return "; ".join(part for part in parts if part)


def _in(what: str, text: str) -> str:
    escapes = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
    found = [letter for letter in RESERVED if letter in escapes.sub("", text)]
    if not found:
        return ""
    names = " and ".join(f"'{letter}'" for letter in found)
    codes = " and ".join(f"%{ord(letter):02X}" for letter in found)
    plural = len(found) > 1
    article = "" if plural else "an "
    return f"the {what} contains {article}unescaped {names}: write {codes} in {'their' if plural else 'its'} place"
