"""Each part of a CRL has a name, the hash of what it says: a process that has a part knows it without reading it."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table anew, because a name behind the entries would be found only by reading past them."""
    kept = op.get_bind().execute(sa.text("SELECT issuer, part, entries FROM crl_parts")).all()
    op.drop_table("crl_parts")
    parts = op.create_table(
        "crl_parts",
        sa.Column("issuer", sa.String(64), sa.ForeignKey("issuers.name"), primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Serial numbers do not compress; trying would cost more than everything else.
        op.execute("ALTER TABLE crl_parts ALTER COLUMN entries SET STORAGE EXTERNAL")
    op.bulk_insert(
        parts,
        [
            {"issuer": issuer, "part": part, "name": hashlib.sha256(entries).digest(), "entries": entries}
            for issuer, part, entries in kept
        ],
    )


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
