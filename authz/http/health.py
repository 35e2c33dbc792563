"""What keeps the server from issuing tokens, as stable codes for `/health` and for whoever watches it."""

from collections.abc import Callable, Iterable
from datetime import datetime

from authz.audit.checkpoint import Checkpointer
from authz.domain.clock import Clock
from authz.participants.following import Follower
from authz.tokens.keyring import KeyRing


class ServerHealth:
    """Asks every part.

    Args:
        clock: the time.
        follower: whether stored state is seen.
        keys: whether a key signs.
        checkpointer: whether the audit log is what was written.
        log_failing: whether the audit log could not be written last time, so that no token can be given.
        crl_problems: what is wrong with the CRLs at a moment.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        follower: Follower,
        keys: KeyRing,
        checkpointer: Checkpointer,
        log_failing: Callable[[], bool],
        crl_problems: Callable[[datetime], Iterable[str]],
    ) -> None:
        self._clock = clock
        self._follower = follower
        self._keys = keys
        self._checkpointer = checkpointer
        self._log_failing = log_failing
        self._crl_problems = crl_problems

    def problems(self) -> list[str]:
        """Stable codes, empty when all is well."""
        now = self._clock.now()
        found = sorted(set(self._crl_problems(now)))
        if self._follower.blind:
            found.append("database_unavailable")
        if not self._keys.signs(now):
            found.append("no_signing_key")
        if self._checkpointer.refusal is not None:
            found.append("audit_log_altered")
        if self._log_failing():
            found.append("audit_log_unavailable")
        return found
