"""An intent as the register keeps it: what it says of the certificate to come, and why one cannot begin.

Specification: shared `spec/pki.md`, "One per AGB-code". The order of intent, signature and outcome is in
`pki.authority`.
"""

import json
from collections.abc import Sequence

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.requests import CertificateRequest
from pki.issuing import Holder, IssuingCa, Prepared
from pki.store.codes import EnrolmentCode
from pki.store.register import Register, Registered
from pki.store.tables import certificates


def renewal_holder(had: Holder, dns_names: Sequence[str] | None, code: EnrolmentCode | None) -> Holder:
    """Who gets the renewal: as certified before, unless names were given or a code says otherwise."""
    if code is not None:
        same = (code.organization, code.dns_names) == (had.organization, had.dns_names)
        return Holder(had.identifier, code.organization, code.kvk, code.dns_names, had.common_name if same else "")
    return had if dns_names is None else Holder(had.identifier, had.organization, had.kvk, tuple(dns_names))


def intent_columns(
    ca: IssuingCa, holder: Holder, request: CertificateRequest, prepared: Prepared, code: EnrolmentCode | None
) -> dict[str, object]:
    """What the register keeps of an intent, besides its state and its moment."""
    key = request.name
    return {
        "code": None if code is None else code.selector,
        "issuer": ca.name,
        "serial_number": f"{prepared.serial_number:x}",
        "environment": ca.environment,
        "identifier": holder.identifier.subject,
        "subject_key": key.subject_key,
        "key_core": key.core,
        "organization": holder.organization,
        "common_name": holder.display_name,
        "kvk": holder.kvk,
        "dns_names": json.dumps(holder.dns_names),
        "not_before": prepared.not_before,
        "not_after": prepared.not_after,
        "tbs": prepared.tbs,
    }


async def why_no_renewal(register: Register, old: Registered) -> Refused:
    """The refusal for whoever cannot begin to renew a certificate at this moment.

    Args:
        register: within the transaction in which it could not be begun.
        old: the certificate, as it was read before.
    """
    now = (await register.find(certificates.c.id == old.id))[0]
    if now.status != "active" or now.held_at is not None:
        return Refused(Reason.CERTIFICATE_NOT_ACTIVE, "Only an active certificate can be renewed.")
    earlier = await register.find(
        certificates.c.environment == old.environment,
        certificates.c.identifier == old.identifier.subject,
        certificates.c.status == "superseding",
        limit=1,
    )
    until = earlier[0].overlap_until if earlier else None
    if until is not None:
        return Refused(
            Reason.RENEWAL_UNDERWAY,
            f"The overlap with the certificate before this one lasts until {until:%Y-%m-%d %H:%M} UTC:"
            " renew after that, or end it by confirming that this one is in use (`pki reenrol --confirm`).",
        )
    return Refused(Reason.RENEWAL_UNDERWAY, "A renewal is under way at this moment: try again in a minute.")
