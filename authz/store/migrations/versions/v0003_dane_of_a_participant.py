"""DANE can be required of a deelnemer."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column with a default: a release of before neither reads nor writes it, and leaves it as it is."""
    op.add_column("participant", sa.Column("dane", sa.String(), server_default="optional", nullable=False))
