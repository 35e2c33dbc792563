"""A token key can be withdrawn, and published bundles have serial numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that may be empty, and a table: a release of before does without both."""
    op.add_column("signing_key", sa.Column("withdrawn_us", sa.BigInteger(), nullable=True))
    op.create_table(
        "bundle_serial",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_bundle_serial")),
    )
