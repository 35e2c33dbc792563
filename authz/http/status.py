"""HTTP status of reasons that mean the same at every endpoint."""

from typing import Final

from authz.domain.reasons import Reason

CERTIFICATE_REASONS: Final = frozenset(
    reason for reason in Reason if reason.value.startswith(("certificate_", "crl_"))
) | {Reason.CREDENTIAL_UNKNOWN, Reason.CREDENTIAL_REVOKED}
"""The caller hears `Invalid Client Certificate`, whichever it is; the audit record says which."""

SERVER_REASONS: Final = frozenset(
    {Reason.POLICY_UNAVAILABLE, Reason.AUDIT_UNAVAILABLE, Reason.REVOCATIONS_STALE, Reason.INTERNAL_ERROR}
)
"""Not the caller's doing: an opaque 500."""

TRANSPORT_STATUS: Final = {
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.NOT_FOUND: 404,
    Reason.CONTENT_TYPE: 415,
    Reason.CONTENT_ENCODING: 415,
    Reason.BODY_TOO_LARGE: 413,
    Reason.BODY_TIMEOUT: 408,
    Reason.RATE_LIMITED: 429,
}
