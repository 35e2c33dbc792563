"""An audit record that the audit store refuses for good is put aside, instead of holding up everything after it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add when it was refused."""
    op.add_column("outbox", sa.Column("refused_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
