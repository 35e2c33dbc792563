"""The register: certificates, keys, issuers, CRLs, outbox and the change counter."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything. Written out, so that a later change of the tables does not change this migration."""
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("issuer", sa.String(64), nullable=False),
        sa.Column("serial_number", sa.String(40), nullable=False),
        sa.Column("environment", sa.String(3), nullable=False),
        sa.Column("identifier", sa.String(64), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("subject_key", sa.String(64), nullable=False),
        sa.Column("organization", sa.String(64), nullable=False),
        sa.Column("common_name", sa.String(64), nullable=False),
        sa.Column("kvk", sa.String(8), nullable=False),
        sa.Column("dns_names", sa.Text, nullable=False),
        sa.Column("not_before", _MOMENT, nullable=False),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.Column("intent_at", _MOMENT, nullable=False),
        sa.Column("tbs", sa.LargeBinary, nullable=False),
        sa.Column("issued_at", _MOMENT),
        sa.Column("certificate", sa.LargeBinary),
        sa.Column("replaces", sa.String(40)),
        sa.Column("renewed_by", sa.String(40)),
        sa.Column("overlap_until", _MOMENT),
        sa.Column("ends_on_use", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("held_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("revocation_reason", sa.String(24)),
    )
    for name, condition in (
        ("one_active_per_identifier", "status IN ('active', 'issuing')"),
        ("one_superseding_per_identifier", "status = 'superseding'"),
        ("one_renewing_per_identifier", "status = 'renewing'"),
    ):
        op.create_index(
            name,
            "certificates",
            ["environment", "identifier"],
            unique=True,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    op.create_index("serial_per_issuer", "certificates", ["issuer", "serial_number"], unique=True)
    op.create_index("by_status", "certificates", ["status", "not_after"])
    op.create_table(
        "subject_keys",
        sa.Column("subject_key", sa.String(64), primary_key=True),
        sa.Column("environment", sa.String(3), nullable=False),
        sa.Column("identifier", sa.String(64), nullable=False),
        sa.Column("compromised_at", _MOMENT),
    )
    op.create_table(
        "issuers",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("crl_number", sa.Integer, nullable=False),
    )
    op.create_table(
        "crls",
        sa.Column("issuer", sa.String(64), sa.ForeignKey("issuers.name"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("this_update", _MOMENT, nullable=False),
        sa.Column("next_update", _MOMENT, nullable=False),
        sa.Column("der", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("record_id", sa.String(36), nullable=False, unique=True),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("shipped_at", _MOMENT),
    )
    pending = sa.text("shipped_at IS NULL")
    op.create_index("unshipped", "outbox", ["id"], sqlite_where=pending, postgresql_where=pending)
    changes = op.create_table(
        "changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.bulk_insert(changes, [{"id": 1, "version": 0}])


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
