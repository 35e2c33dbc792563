"""Taking up a service: refused, before anything is written, while its domain is not DNSSEC-secure.

Specification: shared `spec/dnssec.md` ("The product checks: at onboarding ... only SECURE passes"). DNSSEC itself is
seen through a protocol. Looks at the host of the trust agent, as the listing and the token endpoint do. Services that
are there already are not looked at: the listing hides them while their domain is not in order.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from authz.directory.model import Service
from authz.domain.audit import AuditObject, AuditRecord, EventType
from authz.domain.domains import DomainFinding, DomainsNotSecure
from authz.domain.reasons import Reason


class HostExamination(Protocol):
    """Tells of host names what keeps them from being taken up."""

    async def examine(self, hosts: Sequence[str]) -> Sequence[DomainFinding]:
        """A finding for each host that does not pass at this moment, in the order of `hosts`.

        Trouble with DNS is a finding, never an exception.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServiceGate:
    """Lets services pass whose domain is secure.

    Attributes:
        examination: looks at their hosts.
        make_refusal: a record that something was refused.
        record: keeps records; returns when they are durable.
    """

    examination: HostExamination
    make_refusal: Callable[[EventType, AuditObject, Reason], AuditRecord]
    record: Callable[..., Awaitable[None]]

    async def require_secure(self, services: Sequence[Service]) -> None:
        """Let all pass, or none; a refusal is recorded for each service that it is about.

        Raises:
            DomainsNotSecure: names every host that does not pass.
            AuditUnavailable: the refusal could not be recorded; nothing passes.
        """
        hosts = sorted({service.host for service in services})
        findings = {finding.name: finding for finding in await self.examination.examine(hosts)}
        if not findings:
            return
        refused = [(service, findings[service.host]) for service in services if service.host in findings]
        await self.record(*(self._refusal(service, finding) for service, finding in refused))
        raise DomainsNotSecure([findings[host] for host in hosts if host in findings])

    def _refusal(self, service: Service, finding: DomainFinding) -> AuditRecord:
        details = {
            "systeemrolcode": service.system_role.value,
            "audience": service.audience,
            "domain": finding.name,
            "state": finding.state,
            "message": finding.message,
        }
        item = AuditObject("gegevensdienstId", service.gegevensdienst_id, "none", details=details)
        return self.make_refusal(EventType.DIRECTORY_CHANGE, item, finding.reason)
