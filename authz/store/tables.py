"""The tables of authz. Rows are not domain objects: a `table=True` model validates nothing, so repositories map them.

Times are microseconds since the epoch as integers, because SQLite has no type for a moment and both databases then
compare and index them alike. The schema is made by the migrations; a test compares the two.
"""

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Integer, MetaData, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# SQLite keeps rows in the order of a key only when its type says INTEGER, which holds 64 bits there.
_POSITION = BigInteger().with_variant(Integer(), "sqlite")


class Table(SQLModel, registry=registry(metadata=metadata)):
    """Base with its own metadata, so that tables of other services never mix with these."""

    metadata = metadata


def _owner() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["environment", "participant"], ["participant.environment", "participant.id"])


class ParticipantRow(Table, table=True):
    """A deelnemer in one environment."""

    __tablename__ = "participant"
    environment: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    name: str
    organization_type: str
    status: str
    # With a default of the database, for a release of before that writes no such column.
    dane: str = Field(default="optional", sa_column_kwargs={"server_default": "optional"})


class ParticipantIdentifierRow(Table, table=True):
    """An identifier of a deelnemer; nobody else in the environment has it."""

    __tablename__ = "participant_identifier"
    __table_args__ = (_owner(), UniqueConstraint("environment", "kind", "value"))
    environment: str = Field(primary_key=True)
    participant: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    value: str


class ParticipantRoleRow(Table, table=True):
    """A further role of a deelnemer."""

    __tablename__ = "participant_role"
    __table_args__ = (_owner(),)
    environment: str = Field(primary_key=True)
    participant: str = Field(primary_key=True)
    role: str = Field(primary_key=True)
    position: int


class ParticipantLogSourceRow(Table, table=True):
    """A source of audit records that a deelnemer, and nobody else in the environment, may send."""

    __tablename__ = "participant_log_source"
    __table_args__ = (_owner(),)
    environment: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    participant: str
    position: int


class CredentialRow(Table, table=True):
    """Which deelnemer an identity, asserted by one issuing key, stands for."""

    __tablename__ = "credential"
    __table_args__ = (_owner(),)
    environment: str = Field(primary_key=True)
    issuer_key: str = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    participant: str
    allowed_addresses: str
    blocked: bool
    position: int


class ServiceRow(Table, table=True):
    """A record of the address book."""

    __tablename__ = "service"
    __table_args__ = (ForeignKeyConstraint(["environment", "holder"], ["participant.environment", "participant.id"]),)
    organisation: str = Field(primary_key=True)
    function: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    system_role: str = Field(primary_key=True)
    holder: str
    authorization_endpoint: str
    token_endpoint: str
    resource_endpoint: str
    register_name: str


class RevocationRow(Table, table=True):
    """Something that is revoked until nothing it could stop is valid any more."""

    __tablename__ = "revocation"
    kind: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    expires_us: int = Field(sa_type=BigInteger, index=True)


class SigningKeyRow(Table, table=True):
    """What is known of a signing key besides the key itself."""

    __tablename__ = "signing_key"
    kid: str = Field(primary_key=True)
    algorithm: str
    public_jwk: str
    published_us: int = Field(sa_type=BigInteger)
    signs_us: int = Field(sa_type=BigInteger)
    withdrawn_us: int | None = Field(default=None, sa_type=BigInteger)


class BundleSerialRow(Table, table=True):
    """The content that was last published under a name, and its serial number."""

    __tablename__ = "bundle_serial"
    name: str = Field(primary_key=True)
    serial: int = Field(sa_type=BigInteger)
    content: str


class ChangeRow(Table, table=True):
    """A counter per topic that grows with every change, so that other processes notice."""

    __tablename__ = "change_counter"
    topic: str = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)


def _some(column: str, condition: str) -> Index:
    """An index of the few entries for which a condition holds; the others do not pay for it."""
    return Index(None, column, "entry_index", sqlite_where=text(condition), postgresql_where=text(condition))


class AuditEntryRow(Table, table=True):
    """One entry of the log: the evidence, and beside it copies of what is searched for."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        UniqueConstraint("source", "record_id"),
        Index(None, "trace_id"),
        Index(None, "source", "entry_index"),
        Index(None, "event_type", "entry_index"),
        _some("outcome", "outcome > 1"),
        _some("reason", "reason <> ''"),
    )
    entry_index: int = Field(primary_key=True, sa_type=_POSITION, sa_column_kwargs={"autoincrement": False})
    received_us: int = Field(sa_type=BigInteger)
    payload: bytes | None
    salt: bytes | None
    commitment: bytes
    leaf_hash: bytes
    record_id: str
    source: str
    event_type: str
    event_us: int = Field(sa_type=BigInteger)
    outcome: int
    reason: str
    trace_id: str


class AuditTermRow(Table, table=True):
    """A user, object or protocol that an entry names, for searching."""

    __tablename__ = "audit_term"
    __table_args__ = (Index(None, "entry_index"), {"sqlite_with_rowid": False})
    kind: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    entry_index: int = Field(primary_key=True, sa_type=BigInteger)


class AuditBlockRow(Table, table=True):
    """The oldest and the newest event of a block of entries (`authz.store.blocks`)."""

    __tablename__ = "audit_block"
    block: int = Field(primary_key=True, sa_type=_POSITION, sa_column_kwargs={"autoincrement": False})
    oldest_us: int = Field(sa_type=BigInteger)
    newest_us: int = Field(sa_type=BigInteger)


class AuditCheckpointRow(Table, table=True):
    """A signed checkpoint of the log."""

    __tablename__ = "audit_checkpoint"
    size: int = Field(primary_key=True, sa_type=_POSITION, sa_column_kwargs={"autoincrement": False})
    note: str
    frontier: bytes
