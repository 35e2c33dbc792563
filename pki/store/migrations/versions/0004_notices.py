"""Notices: what was noticed, how domains stand, and what waits for the webhook."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "expiry_notices",
        sa.Column("issuer", sa.String(64), primary_key=True),
        sa.Column("serial_number", sa.String(40), primary_key=True),
        sa.Column("days", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("noticed_at", _MOMENT, nullable=False),
    )
    op.create_table(
        "domain_standing",
        sa.Column("name", sa.String(253), primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("checked_at", _MOMENT, nullable=False),
        sa.Column("message", sa.Text),
    )
    op.create_index("by_checked_at", "domain_standing", ["checked_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("delivery_id", sa.String(36), nullable=False, unique=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("next_attempt_at", _MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_status", sa.Integer),
        sa.Column("delivered_at", _MOMENT),
        sa.Column("given_up_at", _MOMENT),
    )
    waiting = sa.text("delivered_at IS NULL AND given_up_at IS NULL")
    op.create_index(
        "webhook_due", "webhook_deliveries", ["next_attempt_at"], sqlite_where=waiting, postgresql_where=waiting
    )


def downgrade() -> None:
    """Refused: what was noticed would be noticed again."""
    raise NotImplementedError("notices are not forgotten by a migration")
