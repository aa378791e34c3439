"""Decides which workers get work: all of them have the same weights, so that no track mixes two models.

Without clock or socket.
"""

import logging
from collections.abc import Iterable

from streamer import metrics
from streamer.config import Dispatch
from streamer.values import Model

log = logging.getLogger(__name__)


class Refused(Exception):
    """A worker gets no work, for a reason that both sides show."""


class Admission:
    """The weights that workers must have, and the workers that are refused.

    The weights are those of `dispatch.model`, or those of the workers that are connected: the first one decides, until
    the last of them has gone.
    """

    def __init__(self, config: Dispatch, keep: bool) -> None:
        """`keep`: the weights of the first worker stay the only ones, also when it has gone."""
        self._config = config
        self._keep = keep
        self._kept: Model | None = None
        self._refused: dict[bytes, tuple[str, float]] = {}  # by address: reason, time of the last READY (s, monotonic)

    def admit(self, address: bytes, name: str, model: Model, others: Iterable[Model], now: float) -> None:
        """Admit a worker beside the other workers. Raises Refused; the first time this is logged and counted."""
        reason = self._reason(model, others)
        if reason:
            if self._refused.get(address, ("", now))[0] != reason:
                log.warning("worker %s refused: %s", name, reason)
                metrics.workers_refused.inc()
            self._refused[address] = reason, now
            raise Refused(reason)
        self.forget(address)
        if self._keep:
            self._kept = model

    def forget(self, address: bytes) -> None:
        """Forget a worker that has gone."""
        self._refused.pop(address, None)

    def forget_silent(self, now: float) -> None:
        """Forget refused workers that have fallen silent."""
        for address, (_, heard) in list(self._refused.items()):
            if now - heard > self._config.worker_silent_s:
                self.forget(address)

    def _reason(self, model: Model, others: Iterable[Model]) -> str:
        """Return why a worker with this model gets no work, or an empty string."""
        asked = self._config.model
        if asked is not None and model.id != asked:
            return f"its weights are {model.id}, but dispatch.model of the streamer is {asked}"
        if self._kept is not None and model != self._kept:
            return f"its weights are {model.id}, but this analysis began with {self._kept.id}"
        for other in others:
            if model != other:
                return (
                    f"its weights are {model.id}, but the connected workers have {other.id}; it gets work when those "
                    "have stopped"
                )
        return ""
