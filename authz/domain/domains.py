"""What keeps a domain from being taken up in the network, and the refusal that says so for all names at once.

Specification: shared `spec/dnssec.md` ("at onboarding ... only SECURE passes"). The checks themselves are `pki.dnssec`;
these values are what the authority and the authorization server tell their operators, in the same words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from authz.domain.errors import Refused
from authz.domain.reasons import Reason

MAX_TEXT: Final = 500
"""Characters of a text that is kept: it names records that strangers publish."""
_GRAVEST: Final = (
    Reason.DOMAIN_BOGUS,
    Reason.DOMAIN_INSECURE,
    Reason.DOMAIN_ABSENT,
    Reason.DOMAIN_INDETERMINATE,
    Reason.DOMAIN_UNREACHABLE,
    Reason.DOMAIN_UNCHECKED,
)
"""What the holder of a domain has to repair comes before what may be trouble of our own."""


@dataclass(frozen=True, slots=True)
class DomainFinding:
    """One name that does not pass. Texts lose what a terminal would obey, and what is too long.

    Attributes:
        name: as it was given.
        reason: one of the `domain_*` reasons.
        message: what was found.
        where: who or what has to change.
        to_do: what to change.
    """

    name: str
    reason: Reason
    message: str
    where: str
    to_do: str

    def __post_init__(self) -> None:
        for field in ("name", "message", "where", "to_do"):
            shown = "".join(character if character.isprintable() else "�" for character in getattr(self, field))
            object.__setattr__(self, field, shown[:MAX_TEXT])

    @property
    def state(self) -> str:
        """`insecure`, `bogus`, `absent` (proven not to exist), `indeterminate`, `unreachable` or `unchecked`."""
        return self.reason.value.removeprefix("domain_")

    def document(self) -> dict[str, str]:
        """For programs."""
        return {
            "domain": self.name,
            "state": self.state,
            "reason": self.reason.value,
            "message": self.message,
            "where": self.where,
            "to_do": self.to_do,
        }


class DomainsNotSecure(Refused):
    """Something was refused because of the names that it would bring into the network.

    Args:
        findings: every name that does not pass, at least one. The reason is that of the gravest.
    """

    def __init__(self, findings: Sequence[DomainFinding]) -> None:
        self.findings = tuple(findings)
        if not self.findings:
            raise ValueError("expected a finding: without one nothing is refused")
        reason = min((item.reason for item in self.findings), key=_GRAVEST.index)
        super().__init__(reason, " ".join(_sentence(item) for item in self.findings))

    def lines(self) -> str:
        """For a person at a terminal: the refusal, and below it each name with what to do."""
        shown = [f"refused ({self.reason}): not every name is secure (DNSSEC), and nothing was done"]
        for item in self.findings:
            shown += [f"  {item.name} is {item.state}: {item.message}", f"    where: {item.where}"]
            shown.append(f"    to do: {item.to_do}")
        return "\n".join(shown)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {"refused": self.reason.value, "domains": [item.document() for item in self.findings]}

    def details(self) -> dict[str, Any]:
        """For an audit record: coded facts and what was found, without the advice."""
        return {
            "domains": [{"domain": item.name, "state": item.state, "message": item.message} for item in self.findings]
        }


def _sentence(item: DomainFinding) -> str:
    return f"{item.name} is {item.state}: {item.message.rstrip('.')}. To do at {item.where}: {item.to_do}"
