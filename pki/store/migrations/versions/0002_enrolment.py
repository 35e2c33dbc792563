"""Enrolment: one-time codes and blocked keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables; keys that were compromised before are blocked."""
    op.create_table(
        "enrolment_codes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("selector", sa.String(8), nullable=False, unique=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("verifier", sa.LargeBinary, nullable=False),
        sa.Column("environment", sa.String(3), nullable=False),
        sa.Column("identifier", sa.String(64), nullable=False),
        sa.Column("organization", sa.String(64), nullable=False),
        sa.Column("kvk", sa.String(8), nullable=False),
        sa.Column("dns_names", sa.Text, nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("two_person", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("approved_by", sa.String(64)),
        sa.Column("approved_at", _MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("used_at", _MOMENT),
        sa.Column("issuer", sa.String(64)),
        sa.Column("serial_number", sa.String(40)),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> created_by", name="approver_is_another"),
        sa.CheckConstraint(
            "NOT two_person OR approved_by IS NOT NULL OR status NOT IN ('ready', 'used')", name="two_before_use"
        ),
    )
    still_open = sa.text("status IN ('pending', 'ready')")
    op.create_index(
        "one_open_code_per_identifier",
        "enrolment_codes",
        ["environment", "identifier"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_table(
        "blocked_keys",
        sa.Column("subject_key", sa.String(64), primary_key=True),
        sa.Column("why", sa.String(24), nullable=False),
        sa.Column("blocked_by", sa.String(64), nullable=False),
        sa.Column("blocked_at", _MOMENT, nullable=False),
    )
    op.execute(
        "INSERT INTO blocked_keys (subject_key, why, blocked_by, blocked_at) "
        "SELECT subject_key, 'compromised', 'migration', compromised_at FROM subject_keys "
        "WHERE compromised_at IS NOT NULL"
    )


def downgrade() -> None:
    """Refused: what is blocked must stay blocked."""
    raise NotImplementedError("blocked keys are not forgotten by a migration")
