"""A record as the log takes it: its bytes, and beside them the terms by which it is found.

What is stored and committed to is exactly `payload`; the terms are copies of what it says, made once, where the record
is encoded or where it was read.
"""

from dataclasses import dataclass

from authz.audit.record_format import encode_record
from authz.audit.search import Terms, terms_of
from authz.domain.audit import AuditRecord


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A record as bytes, with its searchable terms."""

    payload: bytes
    terms: Terms

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same record: its source and its id there."""
        return self.terms.source, self.terms.record_id


def encode(record: AuditRecord) -> EncodedRecord:
    """Encode a record.

    Raises:
        InvalidValue: it cannot be stored (details that are not JSON, too long, unsearchable text).
    """
    return EncodedRecord(encode_record(record), terms_of(record))
