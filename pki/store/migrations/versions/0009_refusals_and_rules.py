"""Why the audit store refused a record; and under which operators and rules the register was opened last."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ASIDE = sa.text("shipped_at IS NULL AND refused_at IS NOT NULL")


def upgrade() -> None:
    """Add both."""
    op.add_column("outbox", sa.Column("refused_why", sa.String(48)))
    op.create_index("put_aside", "outbox", ["id"], sqlite_where=_ASIDE, postgresql_where=_ASIDE)
    op.create_table(
        "operating_rules",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("roster", sa.String(64), nullable=False),
        sa.Column("rules", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
