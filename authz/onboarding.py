"""The check at onboarding wired to `pki.dnssec`, by the settings of this server.

Specification: shared `spec/dnssec.md`. Beside `authz.dnssec` and `authz.dane` the only module of authz that
knows `pki.dnssec` (docs/decisions/0001).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authz.dnssec import ANCHOR_STATE
from authz.domain.clock import Clock
from authz.domain.domains import DomainFinding
from authz.settings import AuthzSettings
from pki.dnssec.onboarding import examine
from pki.dnssec.opening import open_dnssec
from pki.dnssec.standing import Validator


@dataclass(frozen=True, slots=True)
class DnssecExamination:
    """Implements `authz.directory.onboarding.HostExamination`, without a memory: whoever asks again sees a repair.

    Attributes:
        validator: tells the standing of a name.
        clock: the time.
    """

    validator: Validator
    clock: Clock

    async def examine(self, hosts: Sequence[str]) -> tuple[DomainFinding, ...]:
        """See `HostExamination.examine`."""
        return await examine(self.validator, hosts, self.clock)


def open_examination(settings: AuthzSettings, clock: Clock) -> DnssecExamination:
    """By the settings; the anchors are those that the running server follows.

    Raises:
        InvalidValue: the anchors cannot be used.
    """
    return DnssecExamination(open_dnssec(settings.dnssec, settings.state_dir / ANCHOR_STATE).validator, clock)
