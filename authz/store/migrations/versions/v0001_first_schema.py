"""The first schema: participants, address book, revocations, signing keys and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite keeps rows in the order of a key only when its type says INTEGER, which holds 64 bits there.
_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", _POSITION, autoincrement=False, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("entry_index", _POSITION, autoincrement=False, nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("event_us", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("entry_index", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("source", "record_id", name=op.f("uq_audit_entry_source_record_id")),
    )
    op.create_index(
        op.f("ix_audit_entry_event_type_entry_index"), "audit_entry", ["event_type", "entry_index"], unique=False
    )
    op.create_index(op.f("ix_audit_entry_event_us"), "audit_entry", ["event_us"], unique=False)
    op.create_index(op.f("ix_audit_entry_trace_id"), "audit_entry", ["trace_id"], unique=False)
    op.create_table(
        "audit_term",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("entry_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", "entry_index", name=op.f("pk_audit_term")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_audit_term_entry_index"), "audit_term", ["entry_index"], unique=False)
    op.create_table(
        "change_counter",
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_change_counter")),
    )
    op.create_table(
        "participant",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("organization_type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("environment", "id", name=op.f("pk_participant")),
    )
    op.create_table(
        "revocation",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_revocation")),
    )
    op.create_index(op.f("ix_revocation_expires_us"), "revocation", ["expires_us"], unique=False)
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("public_jwk", sa.String(), nullable=False),
        sa.Column("published_us", sa.BigInteger(), nullable=False),
        sa.Column("signs_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "credential",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("issuer_key", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("participant", sa.String(), nullable=False),
        sa.Column("allowed_addresses", sa.String(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment", "participant"],
            ["participant.environment", "participant.id"],
            name=op.f("fk_credential_environment_participant"),
        ),
        sa.PrimaryKeyConstraint("environment", "issuer_key", "identity", name=op.f("pk_credential")),
    )
    op.create_table(
        "participant_identifier",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("participant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment", "participant"],
            ["participant.environment", "participant.id"],
            name=op.f("fk_participant_identifier_environment_participant"),
        ),
        sa.PrimaryKeyConstraint("environment", "participant", "kind", name=op.f("pk_participant_identifier")),
        sa.UniqueConstraint(
            "environment", "kind", "value", name=op.f("uq_participant_identifier_environment_kind_value")
        ),
    )
    op.create_table(
        "participant_log_source",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("participant", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment", "participant"],
            ["participant.environment", "participant.id"],
            name=op.f("fk_participant_log_source_environment_participant"),
        ),
        sa.PrimaryKeyConstraint("environment", "source", name=op.f("pk_participant_log_source")),
    )
    op.create_table(
        "participant_role",
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("participant", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment", "participant"],
            ["participant.environment", "participant.id"],
            name=op.f("fk_participant_role_environment_participant"),
        ),
        sa.PrimaryKeyConstraint("environment", "participant", "role", name=op.f("pk_participant_role")),
    )
    op.create_table(
        "service",
        sa.Column("organisation", sa.String(), nullable=False),
        sa.Column("function", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("system_role", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("authorization_endpoint", sa.String(), nullable=False),
        sa.Column("token_endpoint", sa.String(), nullable=False),
        sa.Column("resource_endpoint", sa.String(), nullable=False),
        sa.Column("register_name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment", "holder"],
            ["participant.environment", "participant.id"],
            name=op.f("fk_service_environment_holder"),
        ),
        sa.PrimaryKeyConstraint("organisation", "function", "environment", "system_role", name=op.f("pk_service")),
    )
