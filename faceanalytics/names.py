"""Names of files and folders as text that every output can hold: JSON, CSV, gRPC, logs and terminals.

Linux allows any bytes in a name. Those that are not UTF-8 reach Python as lone surrogates, which no encoder accepts.
"""

import codecs
import io
import re
import sys
from pathlib import PurePath

# control characters, line separators, marks that reverse the direction of text, surrogates
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_TO_ESCAPE = re.compile(_UNPRINTABLE + r"|\\(?=[xu])")  # and what would look like an escape
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # beginnings of what a spreadsheet computes
_BYTE = 0xDC00  # Python's surrogate for a byte that is not UTF-8, less the byte


def printable(name: str | PurePath) -> str:
    r"""Return a name or path with each byte that is not UTF-8 as `\xe9`, and control characters likewise.

    Different names stay different, because a backslash before x or u becomes `\x5c`; all other text stays as it is.
    Use it once, where a name leaves the program: a second time would escape the escapes.
    """
    return _TO_ESCAPE.sub(lambda found: _escaped(found[0]), str(name))


def original(name: str) -> str:
    """Return the name that `printable` was given, to find the file again."""
    return _ESCAPED.sub(_unescape, name)


def print_any_name() -> None:
    """Let standard output and standard error print any name, as `printable` shows it, instead of failing."""
    codecs.register_error("printable", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="printable")


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoder cannot write: a handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


def _escaped(character: str) -> str:
    code = ord(character)
    if _BYTE + 0x80 <= code <= _BYTE + 0xFF:
        code -= _BYTE
    elif code >= 0x80:
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f"\\x{code:02x}"


def _unescape(found: re.Match[str]) -> str:
    if found[2]:
        return chr(int(found[2], 16))
    code = int(found[1], 16)
    return chr(code if code < 0x80 else _BYTE + code)


def no_formula(text: str) -> str:
    """Return a text for a CSV file: an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(FORMULAS) else text
