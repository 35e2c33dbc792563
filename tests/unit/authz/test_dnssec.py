"""A domain that is refused is told once in the log, however often it is asked about."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from structlog.testing import capture_logs

from authz.dnssec import CheckedStanding
from authz.grants.audience import DomainState

if TYPE_CHECKING:
    from pki.dnssec.standing import CachedStanding

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class _Outcome:
    standing: DomainState
    message: str


@dataclass
class _Cached:
    outcomes: dict[str, _Outcome] = field(default_factory=dict)

    async def check(self, host: str, _at: datetime) -> _Outcome:
        return self.outcomes[host]


async def _logged(standing: CheckedStanding, host: str) -> list[Any]:
    with capture_logs() as logs:
        await standing.check(host, NOW)
    return [entry["why"] for entry in logs]


async def test_one_line_for_a_finding_and_not_one_for_each_request() -> None:
    cached = _Cached({"a.nl": _Outcome(DomainState.BOGUS, "expired"), "b.nl": _Outcome(DomainState.SECURE, "fine")})
    standing = CheckedStanding(cast("CachedStanding", cached))
    assert await _logged(standing, "a.nl") == ["expired"]
    assert await _logged(standing, "a.nl") == []
    assert await _logged(standing, "b.nl") == []
    cached.outcomes["a.nl"] = _Outcome(DomainState.BOGUS, "no key")
    assert await _logged(standing, "a.nl") == ["no key"]
    # Repaired and broken again is news, with the same words too.
    cached.outcomes["a.nl"] = _Outcome(DomainState.SECURE, "fine")
    assert await _logged(standing, "a.nl") == []
    cached.outcomes["a.nl"] = _Outcome(DomainState.BOGUS, "no key")
    assert await _logged(standing, "a.nl") == ["no key"]
