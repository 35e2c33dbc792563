"""One question of the story with what must come of it, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from authz.domain.audit import AuditRecord, Outcome
from deploy.lab.client import Answer

OK: Final = 200
BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403

_SHOWN: Final = 160
"""Characters of an answer that a report shows."""
PERMITTED: Final = ""
"""The reason of what was not refused."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer.

    Attributes:
        asked: what was asked and by whom, for a reader.
        wanted: the answer that the story needs, for a reader.
        answered: the answer that came, for a reader.
        as_wanted: whether the answer is the wanted one.
        trace_id: under which the audit log holds it; None for what the audit log does not know about.
        reason: the reason code that the audit record must carry; empty for a success.
        why: what the audit record says, for a reader; filled in when it was found.
        recorded: whether the audit record was found and says what it must; True when none is expected.
    """

    asked: str
    wanted: str
    answered: str
    as_wanted: bool
    trace_id: str | None = None
    reason: str = PERMITTED
    why: str = ""
    recorded: bool = True
    or_reasons: tuple[str, ...] = ()
    """Other reason codes that the record may carry; `reason` is the found one afterwards."""

    @property
    def ok(self) -> bool:
        """Whether both the answer and the audit record are as they must be."""
        return self.as_wanted and self.recorded

    def with_records(self, records: Sequence[AuditRecord]) -> "Exchange":
        """This exchange with what the audit log holds about it.

        Args:
            records: every record of its trace.
        """
        fitting = [record for record in records if record.reason in {self.reason, *self.or_reasons}]
        if not records:
            return replace(self, why="no audit record", recorded=False)
        if not fitting:
            found = ", ".join(record.reason or "success" for record in records)
            return replace(self, why=f"recorded as {found}", recorded=False)
        return replace(self, reason=fitting[0].reason, why=explained(fitting[0]), recorded=True)


def explained(record: AuditRecord) -> str:
    """What an audit record says of why: the policy that permitted, or the reason and what the policy missed."""
    about = record.objects[0]
    if record.outcome is Outcome.SUCCESS:
        return about.protocol
    missed = about.details.get("policy_reasons", ())
    return f"{record.reason}: {', '.join(missed)} ({about.protocol})" if missed else record.reason


@dataclass(frozen=True, slots=True)
class Step:
    """A numbered step of the story."""

    number: int
    title: str
    exchanges: tuple[Exchange, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What else is worth saying, for example a measured time."""

    @property
    def ok(self) -> bool:
        """Whether everything went as it must; a step in which nothing was asked proves nothing."""
        return bool(self.exchanges) and all(exchange.ok for exchange in self.exchanges)


def said(answer: Answer) -> str:
    """What a body says to its reader, whichever of the forms of the network it has."""
    try:
        document = answer.json()
    except ValueError:
        document = answer.text
    if isinstance(document, dict):
        code = document.get("ErrorCode") or document.get("error") or ""
        words = document.get("Error") or document.get("error_description") or ""
        document = ": ".join(filter(None, (code, words))) or answer.text
    return " ".join(str(document).split())[:_SHOWN]


def judged(asked: str, answer: Answer, status: int, reason: str = PERMITTED, *, shown: str | None = None) -> Exchange:
    """An HTTP answer as an exchange that still waits for its audit record.

    Args:
        asked: what was asked.
        answer: what came.
        status: the HTTP status that must have come.
        reason: the reason that the audit record must carry.
        shown: how to show the answer, where its own text is too long or secret.
    """
    text = shown if shown is not None else said(answer)
    return Exchange(
        asked=asked,
        wanted=f"{status} {reason}".strip(),
        answered=f"{answer.status} {text}".strip(),
        as_wanted=answer.status == status,
        trace_id=answer.trace_id,
        reason=reason,
    )
