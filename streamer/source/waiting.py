"""How long to wait for a camera's pictures: a pure core that separates silence, a missing key frame and damage."""

from dataclasses import dataclass

from streamer.config import Stream

NOTICE_S = 2.0  # packets without a key frame are reported after this long


@dataclass(slots=True)
class Waiting:
    """The packets and frames of one connection. All times are s of one monotonic clock."""

    connected: float
    packets: int = 0
    first_packet: float = 0.0
    last_packet: float = 0.0
    first_key: float | None = None  # packet that starts with a key frame
    last_frame: float | None = None
    noticed: bool = False

    def packet(self, now: float, key: bool) -> None:
        """Record a packet; `key`: a decoder can start with it."""
        if not self.packets:
            self.first_packet = now
        self.packets += 1
        self.last_packet = now
        if key and self.first_key is None:
            self.first_key = now

    def frame(self, now: float) -> None:
        """Record a decoded frame."""
        self.last_frame = now

    def notice(self, now: float, stream: Stream) -> str:
        """Return, once, that packets arrive and the key frame is still missing; else an empty string."""
        waits = self.packets and self.first_key is None and self.last_frame is None
        if self.noticed or not waits or now - self.first_packet < NOTICE_S:
            return ""
        self.noticed = True
        return f"packets arrive, but no key frame yet; waiting at most {self._key_frame_limit(stream):g} s"

    def overdue(self, now: float, stream: Stream) -> str:
        """Return what failed to arrive within the time-outs of `stream`; an empty string while they last."""
        if self.last_frame is not None:
            return self._stalled(now, stream.stall_timeout_s)
        limit = stream.first_frame_timeout_s
        if now - (self.last_packet if self.packets else self.connected) >= limit:
            return f"connected, but no packet for {limit:g} s" + _udp_hint(stream)
        if self.first_key is not None and now - self.first_key >= limit:
            return f"key frames arrive, but none could be decoded for {limit:g} s"
        limit = self._key_frame_limit(stream)
        if self.first_key is None and self.packets and now - self.connected >= limit:
            return (
                f"packets arrive, but no key frame for {limit:g} s; shorten the camera's key-frame (I-frame) interval, "
                "or raise key_frame_timeout_s"
            )
        return ""

    def _stalled(self, now: float, limit: float) -> str:
        assert self.last_frame is not None
        if now - self.last_frame < limit:
            return ""
        return f"no frame for {limit:g} s" + (", although packets arrive" if now - self.last_packet < limit else "")

    @staticmethod
    def _key_frame_limit(stream: Stream) -> float:
        return max(stream.key_frame_timeout_s, stream.first_frame_timeout_s)


def _udp_hint(stream: Stream) -> str:
    return "; a firewall may block UDP: try transport tcp" if stream.transport == "udp" else ""
