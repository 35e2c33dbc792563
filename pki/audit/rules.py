"""Under which operators and rules this authority works, written down whenever they are others than before.

Decision 0116: who may change the settings could put keys of his own in the place of the operators', have two of them
vouch, and put the others back. So each start of `pki serve`, and the first act of any command under another roster,
leaves the hash of what it was. Hashes and counts only: names and keys stand in the settings.

What this does not see: somebody who changes the program, or who writes the register without it.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, text

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from pki.audit.records import Actor, RecordMaker
from pki.certificate_files import read_certificate
from pki.settings import PkiSettings
from pki.store.database import Database
from pki.store.register import Register
from pki.store.tables import operating_rules

_KEEP: Final = text(
    "INSERT INTO operating_rules (id, roster, rules) VALUES (1, :roster, :rules)"
    " ON CONFLICT (id) DO UPDATE SET roster = :roster, rules = :rules"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds here.

    Attributes:
        roster: hex SHA-256 of the operators; see `roster_hash`.
        rules: hex SHA-256 of the rest that decides who gets a certificate, and where the records of it go.
        operators: how many stand in the settings.
        retired: how many of them act no more.
        two_persons: environments in which two vouch.
    """

    roster: str
    rules: str
    operators: int
    retired: int
    two_persons: tuple[str, ...]

    def details(self) -> dict[str, Any]:
        """For an audit record."""
        return {
            "roster": self.roster,
            "rules": self.rules,
            "operators": self.operators,
            "retired": self.retired,
            "two_persons": list(self.two_persons),
        }


def roster_hash(settings: PkiSettings) -> str:
    """Hex SHA-256 of the operators: JSON without spaces, sorted by name, members `name`, `public_key`, `retired`.

    The order in the file does not count. An auditor makes the same from `pki operator list --json`.
    """
    operators = sorted(settings.operators, key=lambda item: item.name)
    return _hash([{"name": item.name, "public_key": item.public_key, "retired": item.retired} for item in operators])


def rules_of(settings: PkiSettings) -> Rules:
    """What holds under these settings.

    Raises:
        CertificateFileError: the certificate of a CA cannot be read.
    """
    two = tuple(environment for environment in settings.environments() if settings.needs_two(environment))
    issuers = sorted(
        [item.name, item.environment, hashlib.sha256(read_certificate(item.certificate)).hexdigest()]
        for item in settings.issuers
    )
    rules = {
        "two_persons": list(two),
        "issuers": issuers,
        "active": settings.active_issuers(),
        "issuing": settings.issuing.model_dump(mode="json"),
        "enrolment": settings.enrolment.model_dump(mode="json"),
        "audit": [settings.audit.source, settings.audit.url],
    }
    retired = sum(item.retired for item in settings.operators)
    return Rules(roster_hash(settings), _hash(rules), len(settings.operators), retired, two)


class RulesRecord:
    """Writes down what holds.

    Args:
        settings: what this process works under.
        database: the register.
        clock: the time.
    """

    def __init__(self, settings: PkiSettings, database: Database, clock: Clock) -> None:
        self._rules = rules_of(settings)
        self._database = database
        self._clock = clock
        self._records = RecordMaker(settings.audit.source)

    async def started(self, actor: Actor) -> None:
        """`pki serve` starts: recorded each time."""
        await self._write(actor, always=True)

    async def acted(self, actor: Actor) -> None:
        """A command is about to act: recorded when what holds is not what was recorded last."""
        async with self._database.read() as connection:
            before = (await connection.execute(select(operating_rules))).mappings().first()
        if before is None or (before["roster"], before["rules"]) != (self._rules.roster, self._rules.rules):
            await self._write(actor, always=False)

    async def _write(self, actor: Actor, *, always: bool) -> None:
        rules = self._rules
        async with self._database.write() as connection:
            before = (await connection.execute(select(operating_rules))).mappings().first()
            kept = (None, None) if before is None else (before["roster"], before["rules"])
            if kept == (rules.roster, rules.rules) and not always:
                return  # another process was faster
            details = rules.details() | {
                "occasion": "start" if always else "command",
                "roster_changed": kept[0] not in {None, rules.roster},
                "rules_changed": kept[1] not in {None, rules.rules},
            }
            if details["roster_changed"]:
                details["roster_before"] = kept[0]
            if details["rules_changed"]:
                details["rules_before"] = kept[1]
            event = EventType.RULES_IN_FORCE
            record = self._records.make(event, actor, self._clock.now(), subject="unknown", details=details)
            await Register(connection).write([record])
            await connection.execute(_KEEP, {"roster": rules.roster, "rules": rules.rules})


def _hash(value: Any) -> str:  # noqa: ANN401  a JSON value
    text_of = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text_of.encode("ascii")).hexdigest()
