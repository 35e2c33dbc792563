"""Two operators vouch with keys of their own; what two accounts agreed about is of no use any more."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns; open codes and intents that no two keys vouched for come to nothing."""
    connection = op.get_bind()
    false = sa.text("false")
    op.add_column("enrolment_codes", sa.Column("attempted_at", _MOMENT))
    op.add_column(
        "enrolment_codes", sa.Column("purpose", sa.String(8), nullable=False, server_default=sa.text("'issue'"))
    )
    for which in ("request", "approval"):
        op.add_column("enrolment_codes", sa.Column(f"{which}_statement", sa.Text))
        if which == "request":
            op.add_column("enrolment_codes", sa.Column("request_key", sa.String(200)))
        op.add_column("enrolment_codes", sa.Column(f"{which}_signature", sa.String(200)))
    op.add_column("enrolment_codes", sa.Column("before_keys", sa.Boolean, nullable=False, server_default=false))
    connection.execute(sa.text("UPDATE enrolment_codes SET before_keys = true WHERE two_person"))
    connection.execute(
        sa.text("UPDATE enrolment_codes SET status = 'withdrawn' WHERE two_person AND status IN ('pending', 'ready')")
    )
    # What somebody was issuing for production at this moment, or had been when he was killed, is given up (as
    # `Withdrawal.sweep` does) and goes on the next CRL.
    connection.execute(
        sa.text(
            "UPDATE certificates SET status = 'revoked', revoked_at = :at, revocation_reason = 'cessationOfOperation',"
            " held_at = NULL, given_up = true, crl_pending = true WHERE environment = 'PRD' AND status = 'issuing'"
        ).bindparams(sa.bindparam("at", type_=_MOMENT)),
        {"at": datetime.now(UTC)},
    )
    # SQLite adds no rule to a table that is there, but a column with its rules: both databases take this statement.
    op.execute(
        "ALTER TABLE enrolment_codes ADD COLUMN approval_key VARCHAR(200)"
        " CONSTRAINT approver_has_another_key CHECK (approval_key IS NULL OR approval_key <> request_key)"
        " CONSTRAINT two_signatures_before_use CHECK (NOT two_person OR before_keys OR status NOT IN ('ready', 'used')"
        " OR (request_signature IS NOT NULL AND approval_signature IS NOT NULL AND request_key IS NOT NULL"
        " AND approval_key IS NOT NULL))"
        " CONSTRAINT no_use_of_before_keys CHECK (NOT before_keys OR status NOT IN ('pending', 'ready'))"
    )
    op.execute(
        "ALTER TABLE certificates ADD COLUMN code VARCHAR(8)"
        " CONSTRAINT production_by_code CHECK (environment <> 'PRD' OR status <> 'issuing' OR code IS NOT NULL)"
    )


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
