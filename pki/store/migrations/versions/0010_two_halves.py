"""Each of two operators has one half of a code; a code of which one of them had the whole is of no use any more."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns; open codes that one operator knows whole come to nothing."""
    false = sa.text("false")
    op.add_column("enrolment_codes", sa.Column("before_halves", sa.Boolean, nullable=False, server_default=false))
    op.add_column("enrolment_codes", sa.Column("second_salt", sa.LargeBinary))
    op.add_column("enrolment_codes", sa.Column("second_verifier", sa.LargeBinary))
    connection = op.get_bind()
    connection.execute(
        sa.text("UPDATE enrolment_codes SET status = 'withdrawn' WHERE two_person AND status IN ('pending', 'ready')")
    )
    connection.execute(sa.text("UPDATE enrolment_codes SET before_halves = true WHERE two_person"))
    # As in 0008: a rule comes with a column.
    op.execute(
        "ALTER TABLE enrolment_codes ADD COLUMN subject_key VARCHAR(64)"
        " CONSTRAINT no_use_of_before_halves CHECK (NOT before_halves OR status NOT IN ('pending', 'ready'))"
        " CONSTRAINT two_halves_before_use CHECK (NOT two_person OR before_halves OR status NOT IN ('ready', 'used')"
        " OR (second_salt IS NOT NULL AND second_verifier IS NOT NULL))"
    )


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
