"""The settings of streams as they are stored: JSON, encrypted if there is a key, because addresses hold passwords."""

import base64
import binascii

from streamer.encryption import NotReadable, Sealer

PURPOSE = "streams.settings"
MARK = "sealed:"  # begins what is encrypted; JSON begins with a brace


class Sealed:
    """Writes and reads texts of a table. Without a key they are written as they are."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def write(self, text: str, row: str) -> str:
        """Return what to store for a row."""
        if self._sealer is None:
            return text
        return MARK + base64.b64encode(self._sealer.seal(text.encode(), PURPOSE, row)).decode()

    def read(self, stored: str, row: str) -> str:
        """Return the text of a row. Raises NotReadable, also if it is encrypted and there is no key."""
        if not stored.startswith(MARK):
            return stored
        if self._sealer is None:
            raise NotReadable("its settings are encrypted: name the key with store.key_file")
        return self._sealer.open(_decoded(stored), PURPOSE, row).decode()

    def is_current(self, stored: str) -> bool:
        """Return whether `write` would encrypt it in the same way; if not, store it again."""
        if self._sealer is None or not stored.startswith(MARK):
            return self._sealer is None
        return self._sealer.is_current(_decoded(stored))


def _decoded(stored: str) -> bytes:
    try:
        return base64.b64decode(stored.removeprefix(MARK), validate=True)
    except binascii.Error as error:
        raise NotReadable(f"{PURPOSE}: damaged") from error
