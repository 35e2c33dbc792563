"""Keys by their core, DNS names by their owner, intents that were given up, and one spelling of a URA."""

import hashlib
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from alembic import op
from asn1crypto.x509 import TbsCertificate
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

revision = "0006"
down_revision = "0005"

_LIVING: Final = ("active", "superseding", "issuing", "renewing")
_PAGE: Final = 1000
_OVERLAP: Final = timedelta(days=7)
_TWO: Final = 2


def upgrade() -> None:
    """Add, fill, and take away what had no effect. Written out, so that later changes do not change it."""
    op.add_column("certificates", sa.Column("key_core", sa.String(64)))
    op.add_column("certificates", sa.Column("given_up", sa.Boolean, nullable=False, server_default=sa.text("false")))
    op.add_column("subject_keys", sa.Column("key_core", sa.String(64)))
    op.add_column("blocked_keys", sa.Column("key_core", sa.String(64)))
    op.drop_column("certificates", "ends_on_use")
    op.create_table(
        "dns_owners",
        sa.Column("name", sa.String(253), primary_key=True),
        sa.Column("kvk", sa.String(8), nullable=False),
    )
    connection = op.get_bind()
    _one_spelling(connection)
    _fill(connection)
    op.create_index("by_kvk", "certificates", ["kvk"])
    op.create_index("by_key_core", "certificates", ["key_core"])
    op.create_index("one_dress_per_key", "subject_keys", ["key_core"], unique=True)
    op.create_index("blocked_by_core", "blocked_keys", ["key_core"])


def _fill(connection: sa.Connection) -> None:
    """Cores of the keys that are known, and owners of the names that are in use; who came first has them."""
    seen: set[str] = set()
    owned: set[str] = set()
    last = 0
    page = sa.text(
        "SELECT id, subject_key, tbs, kvk, dns_names, status FROM certificates WHERE id > :last ORDER BY id LIMIT :page"
    )
    while rows := connection.execute(page, {"last": last, "page": _PAGE}).all():
        for row, key, tbs, kvk, names, status in rows:
            last = row
            core = _core(bytes(tbs))
            values = {"core": core, "row": row, "key": key}
            connection.execute(sa.text("UPDATE certificates SET key_core = :core WHERE id = :row"), _of(values, "row"))
            connection.execute(
                sa.text("UPDATE blocked_keys SET key_core = :core WHERE subject_key = :key"), _of(values, "key")
            )
            if core not in seen:
                seen.add(core)
                connection.execute(
                    sa.text("UPDATE subject_keys SET key_core = :core WHERE subject_key = :key"), _of(values, "key")
                )
            for name in json.loads(names) if status in _LIVING else ():
                if name not in owned:
                    owned.add(name)
                    connection.execute(
                        sa.text("INSERT INTO dns_owners (name, kvk) VALUES (:name, :kvk)"), {"name": name, "kvk": kvk}
                    )


def _of(values: dict[str, object], name: str) -> dict[str, object]:
    return {"core": values["core"], name: values[name]}


def _core(tbs: bytes) -> str:
    key = load_der_public_key(TbsCertificate.load(tbs)["subject_public_key_info"].dump())
    if isinstance(key, ec.EllipticCurvePublicKey):
        number, kind = key.public_numbers().x, key.curve.name
    elif isinstance(key, rsa.RSAPublicKey):
        number, kind = key.public_numbers().n, "rsa"
    else:
        raise TypeError("a certificate of a key of a kind that was never certified")
    return hashlib.sha256(f"{kind}:{number:x}".encode("ascii")).hexdigest()


def _one_spelling(connection: sa.Connection) -> None:
    """A URA is kept in eight digits.

    Who had a certificate under both spellings keeps the newest, and the one before it for a usual overlap; everything
    else of his is withdrawn.
    """
    found: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    query = "SELECT id, environment, identifier, status FROM certificates WHERE identifier LIKE 'ura:%' ORDER BY id"
    for row, environment, identifier, status in connection.execute(sa.text(query)).all():
        if status in _LIVING:
            found[environment, _canonical(identifier)].append((row, status, identifier))
    now = datetime.now(UTC)
    for items in found.values():
        if len({identifier for _, _, identifier in items}) == 1:
            continue
        active = [row for row, status, _ in items if status == "active"]
        for row, status, _ in items:
            if row in active[-1:] or (status == "superseding" and len(active) < _TWO):
                continue
            supersedes = row in active[-_TWO:]
            connection.execute(
                _SUPERSEDE if supersedes else _REVOKE, {"row": row, "at": now + _OVERLAP if supersedes else now}
            )
    for table, column in (
        ("certificates", "identifier"),
        ("subject_keys", "identifier"),
        ("domain_standing", "subject"),
    ):
        names = connection.execute(sa.text(f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE 'ura:%'"))  # noqa: S608  names of this file
        for (name,) in names.all():
            values = {"new": _canonical(name), "old": name}
            connection.execute(sa.text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old"), values)  # noqa: S608
    _codes(connection)


def _codes(connection: sa.Connection) -> None:
    """One open code of a party: of two, the older one is withdrawn."""
    query = (
        "SELECT id, environment, identifier, status FROM enrolment_codes WHERE identifier LIKE 'ura:%' ORDER BY id DESC"
    )
    opened: set[tuple[str, str]] = set()
    for row, environment, identifier, status in connection.execute(sa.text(query)).all():
        party = (environment, _canonical(identifier))
        if status in ("pending", "ready"):
            if party in opened:
                connection.execute(
                    sa.text("UPDATE enrolment_codes SET status = 'withdrawn' WHERE id = :row"), {"row": row}
                )
            opened.add(party)
        values = {"new": party[1], "row": row}
        connection.execute(sa.text("UPDATE enrolment_codes SET identifier = :new WHERE id = :row"), values)


def _canonical(subject: str) -> str:
    return f"ura:{subject.removeprefix('ura:').zfill(8)}"


_MOMENT = sa.bindparam("at", type_=sa.DateTime(timezone=True))
_SUPERSEDE = sa.text("UPDATE certificates SET status = 'superseding', overlap_until = :at WHERE id = :row").bindparams(
    _MOMENT
)
_REVOKE = sa.text(
    "UPDATE certificates SET status = 'revoked', revoked_at = :at, revocation_reason = 'superseded', held_at = NULL,"
    " crl_pending = true WHERE id = :row"
).bindparams(_MOMENT)


def downgrade() -> None:
    """Refused: a register of certificates is never thrown away by a program."""
    raise NotImplementedError("the register is not dropped by a migration")
