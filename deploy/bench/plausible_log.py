"""An audit log as years of traffic would leave it, as rows, fast: what searching is measured on.

Payloads are real encodings of real records with the varying members filled in afterwards; salts are random, commitments
and leaves are those of the payloads. No checkpoint is signed. The same seed gives the same log.
"""

import random
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain, islice
from typing import Final

from authz.audit.commitment import SALT_BYTES, commit, leaf_of
from authz.audit.record_format import encode_record
from authz.audit.search import TermKind, from_microseconds, to_microseconds
from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, ObjectClass, Outcome
from authz.domain.tracing import TraceContext

BATCH: Final = 20_000
"""Records made at a time."""
YEARS: Final = 3
_START: Final = to_microseconds(datetime(2023, 11, 22, tzinfo=UTC))
_PARTICIPANTS: Final = (
    *(f"uzovi:{5000 + number}" for number in range(40)),
    *(f"agbcode:{41_000_000 + number}" for number in range(400)),
)
_WEIGHTS: Final = list(accumulate(400 // (rank + 1) + 1 for rank in range(len(_PARTICIPANTS))))
_REGISTERS: Final = tuple(f"register-{number}" for number in range(12))
_AUDIENCES: Final = tuple(f"https://agent.{name}.example.nl/graphql" for name in _REGISTERS)
_REASONS: Final = (
    "scope_not_allowed",
    "filter_required",
    "own_zorgkantoor_required",
    "token_expired",
    "audience_unknown",
)
_REVISIONS: Final = 12
_REFUSED: Final = 0.015
_TOKENS: Final = 0.35
_REQUESTS_PER_CARE_CLIENT: Final = 20
_OUTAGE_EVERY: Final = 50_000
"""Records between two outages, after which an agent ships what it kept: the newest entries of old events."""
_OUTAGE: Final = 300
_LATE_US: Final = int(timedelta(days=2).total_seconds()) * 1_000_000
_USER, _OBJECT, _PROTOCOL = (kind.value for kind in (TermKind.USER, TermKind.OBJECT, TermKind.PROTOCOL))
_TOKEN, _ACCESS = EventType.TOKEN_REQUEST.value, EventType.ACCESS_DECISION.value
_IN, _OUT = int(Outcome.SUCCESS), int(Outcome.REFUSED)
_VARYING: Final = ("record_id", "time", "user", "protocol", "audience", "jti", "record", "reason", "source", "trace")
_PLACEHOLDER: Final = datetime(2001, 1, 1, 1, 1, 1, 1, tzinfo=UTC)

Row = tuple[object, ...]


class PlausibleLog:
    """Makes the rows: all entries first, then all terms, in the order in which the database keeps them.

    Ids, tokens and traces grow with the log, as UUIDs of version 7 do. Ours are random; a search for one takes the same
    steps, but nothing has to be sorted here.

    Args:
        number: of records.
        seed: of the random choices.
    """

    def __init__(self, number: int, seed: int = 1) -> None:
        self.number = number
        self._random = random.Random(seed)  # noqa: S311  a log to search in, not a secret
        self._step = YEARS * 365 * 86_400 * 1_000_000 // number
        self._shapes = {
            (token, refused): _shape(token, refused) for token in (True, False) for refused in (True, False)
        }
        self._positions: dict[tuple[str, str], array[int]] = {}
        self._care_clients: dict[int, array[int]] = {}
        self._tokens: list[str] = []
        self.begin = from_microseconds(_START)
        self.end = from_microseconds(_START + number * self._step)
        self.audiences = _AUDIENCES
        self.participants = _PARTICIPANTS
        self.sources = tuple(f"sluis/trust-agent/{name}" for name in _REGISTERS)
        self.protocols = tuple(f"access@revision-{number}" for number in range(_REVISIONS))
        self.reasons = _REASONS
        self.care_clients: list[str] = []
        self.traces: list[str] = []
        self.tokens: list[str] = []

    def entries(self) -> Iterator[list[Row]]:
        """Rows of `audit_entry`, in the order of its columns."""
        for first in range(0, self.number, BATCH):
            count = min(BATCH, self.number - first)
            drawn = self._random.randbytes(count * SALT_BYTES)
            users = self._random.choices(_PARTICIPANTS, cum_weights=_WEIGHTS, k=count)
            yield [
                self._entry(first + place, users[place], drawn[place * SALT_BYTES : (place + 1) * SALT_BYTES])
                for place in range(count)
            ]
            # A value now and then, for the searches.
            index = first + count // 2
            self.traces.append(_trace(index))
            self.tokens.append(_token(index))
            self.care_clients.append(_care_client(self._random.choice(list(islice(self._care_clients, 1_000)))))

    def terms(self) -> Iterator[list[Row]]:
        """Rows of `audit_term`, once all entries were made."""
        rows: Iterator[Row] = chain(
            (
                (_OBJECT, _care_client(each), at)
                for each in sorted(self._care_clients)
                for at in self._care_clients[each]
            ),
            (
                (kind, value, at)
                for kind, value in sorted(self._positions)
                if kind == _OBJECT
                for at in self._positions[kind, value]
            ),
            ((_OBJECT, _token(index), index) for index in range(self.number)),
            (
                (kind, value, at)
                for kind, value in sorted(self._positions)
                if kind != _OBJECT
                for at in self._positions[kind, value]
            ),
        )
        while batch := list(islice(rows, BATCH)):
            yield batch

    def _entry(self, index: int, user: str, salt: bytes) -> Row:
        choose = self._random.random
        received = _START + (index + 1) * self._step
        late = index > _OUTAGE_EVERY and index % _OUTAGE_EVERY < _OUTAGE
        token, refused = choose() < _TOKENS and not late, choose() < _REFUSED
        register = index // _OUTAGE_EVERY % len(_REGISTERS) if late else int(choose() ** 2 * len(_REGISTERS))
        source = "sluis/authz" if token else self.sources[register]
        happened = received - int(choose() * (_LATE_US if late else self._step))
        protocol = f"{'token' if token else 'access'}@revision-{index * _REVISIONS // self.number}"
        audience, trace = _AUDIENCES[register], _trace(index)
        reason = _REASONS[int(choose() * len(_REASONS))] if refused else ""
        record_id = f"{index >> 16:08x}-{index & 0xFFFF:04x}-7000-a000-{salt[:6].hex()}"
        self._note(index, user, protocol, audience)
        record = ""
        if not token:
            number = int(choose() * (self.number // _REQUESTS_PER_CARE_CLIENT + 1))
            record = _care_client(number)
            self._care_clients.setdefault(number, array("q")).append(index)
        time = from_microseconds(happened).isoformat(timespec="microseconds")[:-6]
        values = (record_id, time, user, protocol, audience, _token(index), record, reason, source, trace)
        payload = self._shapes[token, refused].format(*values).encode()
        commitment = commit(salt, index, received, payload)
        return (
            *(index, received, payload, salt, commitment, leaf_of(commitment), record_id, source),
            *(_TOKEN if token else _ACCESS, happened, _OUT if refused else _IN, reason, trace),
        )

    def _note(self, index: int, user: str, protocol: str, audience: str) -> None:
        for key in ((_USER, user), (_PROTOCOL, protocol), (_OBJECT, audience)):
            known = self._positions.get(key)
            if known is None:
                known = self._positions[key] = array("q")
            known.append(index)


def _trace(index: int) -> str:
    # A trace of zeros only would be none.
    return f"{index:015x}a{index * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016x}"


def _token(index: int) -> str:
    return f"jti-{index:032x}"


def _care_client(number: int) -> str:
    """The id of an indication; each is asked for some thirteen times in all."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def _shape(token: bool, refused: bool) -> str:  # noqa: FBT001  two kinds of two
    """An encoded record with a numbered place for each member that varies."""
    place = {name: f"@{name}@" for name in _VARYING}
    objects = [
        AuditObject("audience", place["audience"], place["protocol"], name="wlzindicatieregister"),
        AuditObject(
            "jti", place["jti"], place["protocol"], details={"scopes": ["indicatie:read"], "exp": 1_900_000_000}
        ),
    ]
    if not token:
        fields = {"fields": [f"WlzIndicatie.field{number}" for number in range(12)]}
        objects.append(
            AuditObject("wlzindicatieID", place["record"], place["protocol"], ObjectClass.OTHER, None, fields)
        )
    record = AuditRecord(
        record_id=place["record_id"],
        event_type=EventType.TOKEN_REQUEST if token else EventType.ACCESS_DECISION,
        action=Action.EXECUTE if token else Action.READ,
        time=_PLACEHOLDER,
        outcome=Outcome.REFUSED if refused else Outcome.SUCCESS,
        reason=place["reason"] if refused else "",
        checks="FFFF" if refused else "TFFF",
        source=place["source"],
        users=(AuditUser(place["user"], "ZORGKANTOOR", name="Zorgkantoor Noord", access_point="192.0.2.7"),),
        objects=tuple(objects),
        trace=TraceContext("1" * 32, "2" * 16),
    )
    text = encode_record(record).decode().replace("{", "{{").replace("}", "}}")
    found = place | {"time": _PLACEHOLDER.isoformat()[:-6], "trace": "1" * 32}
    for number, name in enumerate(_VARYING):
        text = text.replace(found[name], f"{{{number}}}")
    return text
