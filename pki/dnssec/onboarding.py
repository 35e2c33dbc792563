"""The check at onboarding: every name that is to be taken up, each with what is wrong and what to repair.

Specification: shared `spec/dnssec.md` ("The product checks: at onboarding ... only SECURE passes"). Used by the
authority before it makes codes and first certificates, and by the authorization server before it takes up a service.
What is refused because of a finding is the caller's matter.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from authz.domain.clock import Clock
from authz.domain.domains import DomainFinding
from authz.domain.errors import InvalidValue
from authz.domain.reasons import Reason
from pki.dnssec.advice import advise
from pki.dnssec.anchors import TrustAnchor, read_anchors, root_anchors
from pki.dnssec.choosing import DnssecMode, choose_validator, parse_address
from pki.dnssec.model import Answer, DnssecResult, DnssecState, Limits
from pki.dnssec.rollover import AnchorFile
from pki.dnssec.standing import Validator

CONCURRENT: Final = 8
"""Checks at the same time."""
_REASONS: Final = {
    DnssecState.INSECURE: Reason.DOMAIN_INSECURE,
    DnssecState.BOGUS: Reason.DOMAIN_BOGUS,
    DnssecState.INDETERMINATE: Reason.DOMAIN_INDETERMINATE,
    DnssecState.UNREACHABLE: Reason.DOMAIN_UNREACHABLE,
}


def open_validator(mode: str, resolvers: Sequence[str], anchors: Path | None, anchor_state: Path) -> Validator:
    """What checks names by the settings.

    Args:
        mode: `validate` or `resolver-ad`.
        resolvers: addresses, at least one.
        anchors: file with configured anchors; the public root when None.
        anchor_state: where the running service keeps the keys of the public root (RFC 5011); read before each check,
            never written here.

    Raises:
        InvalidValue: an address, the mode, the anchors or the anchor file can not be used. A check raises it too, when
            the anchor file was damaged meanwhile.
    """
    addresses = [parse_address(text) for text in resolvers]
    chosen = DnssecMode(mode)
    if anchors is None:
        return choose_validator(chosen, addresses, lambda: _followed(anchor_state))
    try:
        fixed = read_anchors(anchors)
    except OSError as error:
        raise InvalidValue("the file with trust anchors can not be read") from error
    return choose_validator(chosen, addresses, lambda: fixed)


def _followed(path: Path) -> tuple[TrustAnchor, ...]:
    try:
        return AnchorFile(path, root_anchors()).anchors()
    except OSError as error:
        raise InvalidValue("the file that follows the keys of the root can not be read") from error


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
    if result.secure and result.answer in {Answer.DATA, Answer.NODATA}:
        return None
    if result.secure and result.answer is Answer.NXDOMAIN:
        reason = Reason.DOMAIN_ABSENT
    else:
        reason = _REASONS.get(result.state, Reason.DOMAIN_INDETERMINATE)
    advice = advise(result)
    if advice is None:
        return DomainFinding(name, reason, result.message, "this machine's settings", "Check the resolver.")
    return DomainFinding(name, reason, result.message, advice.where, advice.what)


def _too_late(name: str, seconds: float) -> DomainFinding:
    return DomainFinding(
        name,
        Reason.DOMAIN_UNREACHABLE,
        f"no outcome within {seconds:g} seconds.",
        "the resolver and the name servers",
        "They answer too slowly: try again, and measure each name server.",
    )
