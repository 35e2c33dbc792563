"""CRLs in parts: a revocation writes what it changes, not 100,000 entries."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add what is kept for CRLs; the CRLs themselves are made anew from the register at the next start."""
    for name in ("crl_pending", "listed"):
        op.add_column("certificates", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("false")))
    for name, columns, condition in (
        ("crl_pending", ["issuer"], "crl_pending"),
        ("crl_listed", ["issuer", "not_after"], "listed"),
    ):
        op.create_index(
            name, "certificates", columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition)
        )
    op.execute("UPDATE certificates SET crl_pending = true WHERE status = 'revoked' OR held_at IS NOT NULL")
    op.drop_table("crls")
    op.create_table(
        "crls",
        sa.Column("issuer", sa.String(64), sa.ForeignKey("issuers.name"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("this_update", _MOMENT, nullable=False),
        sa.Column("next_update", _MOMENT, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("tail", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "crl_parts",
        sa.Column("issuer", sa.String(64), sa.ForeignKey("issuers.name"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("entries", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Serial numbers do not compress; trying would cost more than everything else.
        op.execute("ALTER TABLE crl_parts ALTER COLUMN entries SET STORAGE EXTERNAL")
    # What the OCSP responders sign with: certificates that are no party's, recorded like all others.
    op.create_table(
        "responders",
        sa.Column("issuer", sa.String(64), sa.ForeignKey("issuers.name"), primary_key=True),
        sa.Column("serial_number", sa.String(40), primary_key=True),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.Column("tbs", sa.LargeBinary, nullable=False),
        sa.Column("certificate", sa.LargeBinary),
    )
    # Who follows revocations asks for those of the last hours.
    op.create_index("by_revocation", "certificates", ["revoked_at"])
    op.create_index("by_hold", "certificates", ["held_at"])
    # Whoever is looked up by serial number or identifier alone must not wait for a look at every row.
    op.create_index("by_serial", "certificates", ["serial_number"])
    op.create_index("by_identifier", "certificates", ["identifier", "environment"])


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
