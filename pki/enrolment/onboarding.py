"""The authority's own check of domains: no code and no first certificate for a name that is not secure.

Specification: shared `spec/dnssec.md` ("The product checks: at onboarding ... only SECURE passes"). A party that renews
what it has is not asked: see docs/decisions/0102. Does not check that the names are the party's; that is vetting.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from authz.domain.clock import Clock
from authz.domain.domains import DomainFinding, DomainsNotSecure
from authz.domain.reasons import Reason
from pki.settings import PkiSettings

if TYPE_CHECKING:
    from pki.dnssec.standing import Validator

SECONDS: Final = 15.0
"""For all names of one party together. Somebody waits for it: an operator, or an EST client (RFC 7030 names no limit;
`pki enrol` waits 30 seconds, Envoy 75)."""


class DomainGate:
    """Lets names pass that are secure at this moment.

    Args:
        settings: those of `[dnssec]`, and the names of one label that are no DNS names.
        clock: the time.
        validator: tells the standing of a name; by the settings when None.
    """

    def __init__(self, settings: PkiSettings, clock: Clock, validator: "Validator | None" = None) -> None:
        self._dnssec = settings.dnssec
        # A dot makes a name one of DNS, whatever the settings call it.
        self._local = frozenset(name for name in settings.issuing.local_names if "." not in name)
        self._clock = clock
        self._given = validator
        self._standing: Validator | None = None

    async def require_secure(self, names: Sequence[str]) -> None:
        """Let pass, or refuse with every name that is not secure and what to do about it.

        Raises:
            DomainsNotSecure: DOMAIN_INSECURE, DOMAIN_BOGUS, DOMAIN_INDETERMINATE, DOMAIN_UNREACHABLE, DOMAIN_ABSENT; or
                DOMAIN_UNCHECKED, no resolver is configured, so that nothing is known of any name.
            SluisError: the anchors or the file that follows them cannot be used.
        """
        wanted = [name for name in names if name not in self._local]
        if not wanted:
            return
        if self._given is None and not self._dnssec.resolvers:
            raise DomainsNotSecure([_unchecked(name) for name in wanted])
        # Slow to import, and most commands certify nothing.
        from pki.dnssec.onboarding import examine  # noqa: PLC0415

        findings = await examine(self._open(), wanted, self._clock, seconds=SECONDS)
        if findings:
            raise DomainsNotSecure(findings)

    def _open(self) -> "Validator":
        """Outcomes are remembered as long as DNS says that they hold, so that repeated attempts ask nothing."""
        from pki.dnssec.standing import CachedStanding  # noqa: PLC0415

        if self._standing is None:
            self._standing = CachedStanding(self._given or self._by_settings())
        return self._standing

    def _by_settings(self) -> "Validator":
        from pki.dnssec.opening import open_dnssec  # noqa: PLC0415

        return open_dnssec(self._dnssec, self._dnssec.anchor_state).validator


def _unchecked(name: str) -> DomainFinding:
    return DomainFinding(
        name,
        Reason.DOMAIN_UNCHECKED,
        "no resolver is configured, so the name cannot be checked.",
        "the settings of this authority",
        'Name a resolver in pki.toml, as in [dnssec] resolvers = ["127.0.0.1:53"].',
    )
