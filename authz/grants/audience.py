"""What the token endpoint needs to know of an audience, and who must be able to tell it.

Specification: shared `spec/authorization.md` rule 3. `authz.directory` knows the address book and the application
wires DNSSEC; both are seen through the protocols here.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from authz.domain.errors import Refused
from authz.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Audience:
    """A registered service.

    Attributes:
        url: the audience, exactly as registered.
        host: its DNS name.
        organization: `CIZ`, an AGB or a UZOVI.
        function: REGISTER, NOTIFICATIE or MELDING.
        environment: PRD, TST or ACC.
        register: short name of the register, or empty.
    """

    url: str
    host: str
    organization: str
    function: str
    environment: str
    register: str

    def policy_input(self) -> dict[str, Any]:
        """The form that policies read (`policies/schemas/token.json`)."""
        return {
            "url": self.url,
            "organization": self.organization,
            "function": self.function,
            "environment": self.environment,
            "register": self.register,
        }


class AudienceDirectory(Protocol):
    """Finds audiences."""

    def find(self, url: str) -> Audience | None:
        """The audience with exactly this text, or None.

        Raises:
            InvalidValue: the text could not be the URL of any service (cases/oauth.md 49).
        """
        ...


class DomainState(StrEnum):
    """Outcome of a DNSSEC check (spec/dnssec.md). Only SECURE passes."""

    SECURE = "secure"
    ABSENT = "absent"
    """Proven not to exist: the zone is sound, and there is nothing at the other end to talk to."""
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"
    UNREACHABLE = "unreachable"


class DomainStanding(Protocol):
    """Tells the DNSSEC standing of a domain."""

    async def check(self, host: str, at: datetime) -> DomainState:
        """The standing at this moment, from memory while an earlier check holds.

        Trouble with DNS is an outcome, never an exception.
        """
        ...


class DaneState(StrEnum):
    """What DANE says of an endpoint (spec/dnssec.md, "DANE"). Only MATCHED passes."""

    MATCHED = "matched"
    ABSENT = "absent"
    MISMATCHED = "mismatched"
    FAILED = "failed"
    """The TLSA records or the addresses cannot be trusted."""
    ADDRESS = "address"
    """The name leads to an address to which this server does not connect."""
    UNREACHABLE = "unreachable"
    """Not to be looked at, for longer than the last match is remembered."""
    UNCHECKED = "unchecked"
    """Not looked at yet, or too long ago."""


class EndpointStanding(Protocol):
    """Tells what DANE says of the endpoints whose holders require it."""

    def dane(self, url: str) -> DaneState | None:
        """What is remembered of the endpoint of an audience; None when its holder does not require DANE.

        From memory only: asking connects to nothing.
        """
        ...


_REFUSALS = {
    DomainState.ABSENT: (Reason.DOMAIN_ABSENT, "the domain of the audience is proven not to exist"),
    DomainState.INSECURE: (Reason.DOMAIN_INSECURE, "the domain of the audience is not signed with DNSSEC"),
    DomainState.BOGUS: (Reason.DOMAIN_BOGUS, "the DNSSEC signatures of the audience's domain are not valid"),
    DomainState.INDETERMINATE: (
        Reason.DOMAIN_INDETERMINATE,
        "whether the audience's domain is signed with DNSSEC cannot be determined",
    ),
    DomainState.UNREACHABLE: (Reason.DOMAIN_UNREACHABLE, "the audience's domain could not be checked at this moment"),
}


def require_secure(state: DomainState) -> None:
    """Pass only a secure domain.

    Raises:
        Refused: a reason of its own for each other state.
    """
    if state is not DomainState.SECURE:
        raise Refused(*_REFUSALS[state])


_DANE_REFUSALS = {
    DaneState.ABSENT: (Reason.DANE_ABSENT, "the audience must have DANE and has no usable TLSA record"),
    DaneState.MISMATCHED: (Reason.DANE_MISMATCH, "the audience presents a certificate that fits no TLSA record"),
    DaneState.FAILED: (Reason.DANE_FAILED, "the TLSA records or addresses of the audience cannot be trusted"),
    DaneState.ADDRESS: (Reason.DANE_ADDRESS, "the audience must have DANE, and its address cannot be looked at"),
    DaneState.UNREACHABLE: (Reason.DANE_UNREACHABLE, "the audience must have DANE and could not be looked at"),
    DaneState.UNCHECKED: (Reason.DANE_UNCHECKED, "the audience must have DANE and was not looked at lately"),
}


def require_dane(state: DaneState | None) -> None:
    """Pass an audience whose holder does not require DANE, or whose endpoint matches.

    Raises:
        Refused: a reason of its own for each other state.
    """
    if state is not None and state is not DaneState.MATCHED:
        raise Refused(*_DANE_REFUSALS[state])
