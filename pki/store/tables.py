"""Tables of the register.

Specification: shared `spec/pki.md`, "One per AGB-code": the database itself keeps the rule, by partial unique indexes,
so that it holds under concurrent requests on several instances. A row is made before anything is signed (the intent,
with the exact bytes to be signed) and completed afterwards, so a signed certificate is never absent from here.

Life of a row: `issuing` -> `active`, or `renewing` -> `active`; then `superseding` (a newer one is active, this one
still works for a bounded time), `revoked` or `expired`. On hold is a moment (`held_at`), not a state: a certificate on
hold keeps its place, or releasing it could make two.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite has no time zones, so there it is kept without and read back with UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


certificates = Table(
    "certificates",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("issuer", String(64), nullable=False),
    Column("serial_number", String(40), nullable=False),
    Column("environment", String(3), nullable=False),
    Column("identifier", String(64), nullable=False),
    Column("status", String(12), nullable=False),
    Column("subject_key", String(64), nullable=False),
    Column("key_core", String(64)),  # what the key keeps in another dress (pki.key_names)
    Column("organization", String(64), nullable=False),
    Column("common_name", String(64), nullable=False),
    Column("kvk", String(8), nullable=False),
    Column("dns_names", Text, nullable=False),  # JSON list
    Column("not_before", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("intent_at", UtcDateTime, nullable=False),
    Column("tbs", LargeBinary, nullable=False),
    Column("issued_at", UtcDateTime),
    Column("certificate", LargeBinary),  # DER; null while it is not signed, or was never completed
    Column("replaces", String(40)),  # serial number of the certificate that this one renews
    Column("renewed_by", String(40)),  # serial number of the renewal that was begun last
    Column("overlap_until", UtcDateTime),  # when a superseding certificate is revoked
    Column("held_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("revocation_reason", String(24)),
    # The intent came to nothing by a fault of ours. Not its reason of revocation, which an operator gives as well.
    Column("given_up", Boolean, nullable=False, server_default=text("false")),
    Column("crl_pending", Boolean, nullable=False, server_default=text("false")),  # the CRL does not tell it yet
    Column("listed", Boolean, nullable=False, server_default=text("false")),  # it stands on the CRL
    Column("code", String(8)),  # the enrolment code that entitled to it, and with it who vouched (pki.warrants)
    # No program begins a first certificate for production without one.
    CheckConstraint("environment <> 'PRD' OR status <> 'issuing' OR code IS NOT NULL", name="production_by_code"),
)

# At most one that is active, counting the one that is being issued at this moment.
Index(
    "one_active_per_identifier",
    certificates.c.environment,
    certificates.c.identifier,
    unique=True,
    sqlite_where=text("status IN ('active', 'issuing')"),
    postgresql_where=text("status IN ('active', 'issuing')"),
)
# "Never two beyond that": one that is being superseded, one renewal under way.
for _status in ("superseding", "renewing"):
    Index(
        f"one_{_status}_per_identifier",
        certificates.c.environment,
        certificates.c.identifier,
        unique=True,
        sqlite_where=text(f"status = '{_status}'"),
        postgresql_where=text(f"status = '{_status}'"),
    )
Index("serial_per_issuer", certificates.c.issuer, certificates.c.serial_number, unique=True)
Index("by_status", certificates.c.status, certificates.c.not_after)
Index("by_revocation", certificates.c.revoked_at)
Index("by_hold", certificates.c.held_at)
Index("by_serial", certificates.c.serial_number)
Index("by_identifier", certificates.c.identifier, certificates.c.environment)
Index("by_kvk", certificates.c.kvk)
Index("by_key_core", certificates.c.key_core)
# What a CRL has to take up, and what has left it after it expired: few rows beside those that are on it.
Index(
    "crl_pending",
    certificates.c.issuer,
    sqlite_where=text("crl_pending"),
    postgresql_where=text("crl_pending"),
)
Index(
    "crl_listed",
    certificates.c.issuer,
    certificates.c.not_after,
    sqlite_where=text("listed"),
    postgresql_where=text("listed"),
)

subject_keys = Table(
    "subject_keys",
    metadata,
    Column("subject_key", String(64), primary_key=True),
    Column("key_core", String(64)),
    Column("environment", String(3), nullable=False),
    Column("identifier", String(64), nullable=False),
    Column("compromised_at", UtcDateTime),
)
"""Which party a key belongs to, for ever: a key never speaks for two, and a compromised one for nobody."""
# The database itself keeps a key from coming back in another dress.
Index("one_dress_per_key", subject_keys.c.key_core, unique=True)

dns_owners = Table(
    "dns_owners",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("kvk", String(8), nullable=False),
)
"""The organisation whose certificate had a DNS name last; while one lives, no other organisation gets the name."""

issuers = Table(
    "issuers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("crl_number", Integer, nullable=False),
)
"""Raising `crl_number` locks the row, so CRLs of one CA are made one after another, on both databases."""

crls = Table(
    "crls",
    metadata,
    Column("issuer", String(64), ForeignKey("issuers.name"), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("this_update", UtcDateTime, nullable=False),
    Column("next_update", UtcDateTime, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("tail", LargeBinary, nullable=False),
)
"""The newest CRL of each CA: what stands before and after its entries, the signature included."""

crl_parts = Table(
    "crl_parts",
    metadata,
    Column("issuer", String(64), ForeignKey("issuers.name"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("name", LargeBinary, nullable=False),  # SHA-256 of the entries, before them: they are long to read past
    Column("entries", LargeBinary, nullable=False),
)
"""The entries of the CRL, encoded, by the last octet of the serial number: a revocation writes one part, not all."""

responders = Table(
    "responders",
    metadata,
    Column("issuer", String(64), ForeignKey("issuers.name"), primary_key=True),
    Column("serial_number", String(40), primary_key=True),
    Column("not_after", UtcDateTime, nullable=False),
    Column("tbs", LargeBinary, nullable=False),
    Column("certificate", LargeBinary),  # null while it is not signed
)
"""Certificates of OCSP responders: short-lived, of no party, and recorded before they are signed like all others."""

_aside = "shipped_at IS NULL AND refused_at IS NOT NULL"
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("record_id", String(36), nullable=False, unique=True),
    Column("record", Text, nullable=False),
    Column("shipped_at", UtcDateTime),
    Column("refused_at", UtcDateTime),  # when the audit store refused it for good
    Column("refused_why", String(48)),  # its code; null of the time when that was not kept
)
"""Audit records, written in the transaction of what they describe, until the audit store has them."""
# Among them the refused ones, which are few.
Index("unshipped", outbox.c.id, sqlite_where=text("shipped_at IS NULL"), postgresql_where=text("shipped_at IS NULL"))
# What was put aside, for who looks at it; nearly always empty.
Index("put_aside", outbox.c.id, sqlite_where=text(_aside), postgresql_where=text(_aside))

changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
)
"""One row: grows when a CRL changes, so that other processes notice with one cheap query."""

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("selector", String(8), nullable=False, unique=True),  # the part of a code that is no secret
    Column("salt", LargeBinary, nullable=False),
    Column("verifier", LargeBinary, nullable=False),  # slow hash of the secret part; the code itself is nowhere
    Column("environment", String(3), nullable=False),
    Column("identifier", String(64), nullable=False),
    Column("organization", String(64), nullable=False),
    Column("kvk", String(8), nullable=False),
    Column("dns_names", Text, nullable=False),  # JSON list
    Column("status", String(12), nullable=False),  # pending, ready, used, expired, withdrawn, locked
    Column("two_person", Boolean, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("approved_by", String(64)),
    Column("approved_at", UtcDateTime),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("used_at", UtcDateTime),
    Column("issuer", String(64)),
    Column("serial_number", String(40)),  # of the certificate that it was used for
    Column("attempted_at", UtcDateTime),  # when the last attempt was counted
    Column("purpose", String(8), nullable=False, server_default=text("'issue'")),  # or renew: beside a live one
    # Each operator's statement, the key that verifies it and his signature (pki.operators).
    Column("request_statement", Text),
    Column("request_key", String(200)),
    Column("request_signature", String(200)),
    Column("approval_statement", Text),
    Column("approval_key", String(200)),
    Column("approval_signature", String(200)),
    # Of the time in which the names of accounts told operators apart: kept, and never of use again.
    Column("before_keys", Boolean, nullable=False, server_default=text("false")),
    # Of the time in which one operator had the whole code: kept too, and never of use again.
    Column("before_halves", Boolean, nullable=False, server_default=text("false")),
    Column("second_salt", LargeBinary),
    Column("second_verifier", LargeBinary),  # slow hash of the half that only the second operator is shown
    Column("subject_key", String(64)),  # of the only key that may be certified; null for any
    # The database itself keeps the two persons apart, whatever a program does.
    CheckConstraint("approved_by IS NULL OR approved_by <> created_by", name="approver_is_another"),
    CheckConstraint(
        "NOT two_person OR approved_by IS NOT NULL OR status NOT IN ('ready', 'used')", name="two_before_use"
    ),
    CheckConstraint("approval_key IS NULL OR approval_key <> request_key", name="approver_has_another_key"),
    CheckConstraint(
        "NOT two_person OR before_keys OR status NOT IN ('ready', 'used') OR (request_signature IS NOT NULL"
        " AND approval_signature IS NOT NULL AND request_key IS NOT NULL AND approval_key IS NOT NULL)",
        name="two_signatures_before_use",
    ),
    CheckConstraint("NOT before_keys OR status NOT IN ('pending', 'ready')", name="no_use_of_before_keys"),
    CheckConstraint("NOT before_halves OR status NOT IN ('pending', 'ready')", name="no_use_of_before_halves"),
    CheckConstraint(
        "NOT two_person OR before_halves OR status NOT IN ('ready', 'used') OR (second_salt IS NOT NULL"
        " AND second_verifier IS NOT NULL)",
        name="two_halves_before_use",
    ),
)
"""One-time codes, each bound to an identity that an operator vetted."""
Index(
    "one_open_code_per_identifier",
    enrolment_codes.c.environment,
    enrolment_codes.c.identifier,
    unique=True,
    sqlite_where=text("status IN ('pending', 'ready')"),
    postgresql_where=text("status IN ('pending', 'ready')"),
)

blocked_keys = Table(
    "blocked_keys",
    metadata,
    Column("subject_key", String(64), primary_key=True),
    Column("key_core", String(64)),  # null of a key of which only the hash is known
    Column("why", String(24), nullable=False),
    Column("blocked_by", String(64), nullable=False),
    Column("blocked_at", UtcDateTime, nullable=False),
)
"""Keys that are never certified, whoever asks: compromised, or of a published list of weak keys."""
Index("blocked_by_core", blocked_keys.c.key_core)

operating_rules = Table(
    "operating_rules",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("roster", String(64), nullable=False),
    Column("rules", String(64), nullable=False),
)
"""One row: hashes of who vouches here and of where two are needed, as last recorded (pki.audit.rules)."""

expiry_notices = Table(
    "expiry_notices",
    metadata,
    Column("issuer", String(64), primary_key=True),
    Column("serial_number", String(40), primary_key=True),
    Column("days", Integer, primary_key=True, autoincrement=False),
    Column("noticed_at", UtcDateTime, nullable=False),
)
"""Which certificate was noticed at which number of days before its end: once each, whoever comes first."""

domain_standing = Table(
    "domain_standing",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("subject", String(64), nullable=False),  # a party with a certificate for it
    Column("state", String(16), nullable=False),  # a DNSSEC state, `absent`, or `unknown` before the first check
    Column("since", UtcDateTime, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("message", Text),
)
"""The DNSSEC standing of participants' domains at their last check."""
Index("by_checked_at", domain_standing.c.checked_at)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("delivery_id", String(36), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer),
    Column("delivered_at", UtcDateTime),
    Column("given_up_at", UtcDateTime),
)
"""Notices on their way to the configured receiver, written in the transaction of what they tell."""
_waiting = text("delivered_at IS NULL AND given_up_at IS NULL")
Index("webhook_due", webhook_deliveries.c.next_attempt_at, sqlite_where=_waiting, postgresql_where=_waiting)
