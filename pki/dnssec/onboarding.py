"""The check at onboarding: every name that is to be taken up, each with what is wrong and what to repair.

Specification: shared `spec/dnssec.md` ("The product checks: at onboarding ... only SECURE passes"). Used by the
authority before it makes codes and first certificates, and by the authorization server before it takes up a service.
What is refused because of a finding is the caller's matter.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from authz.domain.clock import Clock
from authz.domain.domains import DomainFinding
from authz.domain.reasons import Reason
from pki.dnssec.advice import advise
from pki.dnssec.model import DnssecResult, Limits, Standing
from pki.dnssec.standing import Validator

CONCURRENT: Final = 8
"""Checks at the same time."""
_REASONS: Final = {
    Standing.ABSENT: Reason.DOMAIN_ABSENT,
    Standing.INSECURE: Reason.DOMAIN_INSECURE,
    Standing.BOGUS: Reason.DOMAIN_BOGUS,
    Standing.INDETERMINATE: Reason.DOMAIN_INDETERMINATE,
    Standing.UNREACHABLE: Reason.DOMAIN_UNREACHABLE,
}


async def examine(
    validator: Validator, names: Sequence[str], clock: Clock, *, seconds: float | None = None
) -> tuple[DomainFinding, ...]:
    """Check all names; returns those that do not pass, in the order of `names`.

    Args:
        validator: tells the standing of a name.
        names: host names; each is looked at once.
        clock: read once, so that all names are judged at one moment.
        seconds: for all of them together; a name without an outcome by then is unreachable. None leaves it to the limit
            that each check has.
    """
    at = clock.now()
    gate = asyncio.Semaphore(CONCURRENT)

    async def check(name: str) -> DnssecResult:
        async with gate:
            return await validator.check(name, at)

    longest = seconds if seconds is not None else _longest(len(names))
    wanted = list(dict.fromkeys(names))
    tasks = [asyncio.create_task(check(name), name="onboarding check") for name in wanted]
    if not tasks:
        return ()
    try:
        _, late = await asyncio.wait(tasks, timeout=longest)
    finally:
        for task in tasks:
            task.cancel()
    # Also of those that failed: the first failure is raised below, and none is left unseen.
    await asyncio.gather(*tasks, return_exceptions=True)
    outcomes = [
        _too_late(name, longest) if task in late else _finding(name, task.result())
        for name, task in zip(wanted, tasks, strict=True)
    ]
    return tuple(finding for finding in outcomes if finding is not None)


def _longest(names: int) -> float:
    """What checks of so many names take when each takes as long as it may."""
    rounds = -(-names // CONCURRENT)
    return rounds * Limits().seconds + Limits().seconds


def _finding(name: str, result: DnssecResult) -> DomainFinding | None:
    """None is the only pass: a sound chain, and a name that is not proven to be nowhere."""
    if result.standing is Standing.SECURE:
        return None
    reason = _REASONS[result.standing]
    advice = advise(result)
    # The chain is sound, and what it proves is that there is nothing.
    found = "its zone proves that there is no such name." if result.standing is Standing.ABSENT else result.message
    if advice is None:
        return DomainFinding(name, reason, found, "this machine's settings", "Check the resolver.")
    return DomainFinding(name, reason, found, advice.where, advice.what)


def _too_late(name: str, seconds: float) -> DomainFinding:
    return DomainFinding(
        name,
        Reason.DOMAIN_UNREACHABLE,
        f"no outcome within {seconds:g} seconds.",
        "the resolver and the name servers",
        "They answer too slowly: try again, and measure each name server.",
    )
