"""Errors of the domain. Each carries a stable reason; none carries a secret, a BSN or a token."""

from authz.domain.reasons import Reason


class SluisError(Exception):
    """Base of every error that this product raises on purpose."""


class Refused(SluisError):  # noqa: N818  "Refused" is what happened; "RefusedError" would say less
    """A request was understood and is refused.

    Args:
        reason: the stable code that goes into the audit record.
        detail: one sentence that helps an honest caller and teaches a dishonest one nothing. It is shown to the
            caller, so it never holds what the caller sent, an internal name, a BSN, a token or a key.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidValue(SluisError, ValueError):  # noqa: N818
    """A text is not a well-formed value of its type. The text itself is never repeated."""
