"""Filters of a search as a person types them: one that nothing could ever fit is refused, not answered with nothing.

An empty table is a statement about the log ("nobody did this"), and a typing mistake must not make it. What is
well-formed and fits nothing is answered with an empty table all the same.
"""

import re
from datetime import UTC, datetime
from typing import Final

from authz.audit.search import MAX_TERM_LENGTH, Criteria
from authz.domain.audit import EventType, Outcome
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier, IdentifierKind

_TRACE: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_REASON: Final = re.compile(r"[a-z][a-z0-9_]*")
_SOURCE: Final = re.compile(r"sluis/[a-z-]+(?:/[A-Za-z0-9:._-]+)*")
_NOBODY: Final = "unknown"
"""The user of a record about a request of which nobody knows whose it was."""


def parse_filters(
    *,
    participant: str | None = None,
    event: EventType | None = None,
    item: str | None = None,
    outcome: Outcome | None = None,
    reason: str | None = None,
    protocol: str | None = None,
    trace: str | None = None,
    source: str | None = None,
    since: str | None = None,
    until: str | None = None,
    below: int | None = None,
    limit: int,
) -> Criteria:
    """Read filters; the names are those of the options of `authz audit list`.

    Raises:
        InvalidValue: one is malformed, or two contradict each other; the text names the option and what is expected.
    """
    _shaped("--trace", trace, _TRACE, "32 lower-case hex digits, as the answer and the record have it")
    _shaped("--reason", reason, _REASON, "a reason code such as scope_unknown (docs/reference/reasons.md)")
    _shaped("--source", source, _SOURCE, "a component such as sluis/authz or sluis/trust-agent/<name>")
    for name, text in (("--participant", participant), ("--object", item), ("--protocol", protocol)):
        if text is not None and (not text.isprintable() or not 0 < len(text) <= MAX_TERM_LENGTH):
            raise InvalidValue(f"{name}: expected 1 to {MAX_TERM_LENGTH} printable characters")
    begin, end = _moment("--since", since), _moment("--until", until)
    if begin is not None and end is not None and begin >= end:
        raise InvalidValue("--since and --until: nothing happens at or after an end and before its beginning")
    return Criteria(
        participant=None if participant is None else _user(participant),
        event_type=event,
        outcome=outcome,
        reason=reason,
        object_identifier=item,
        protocol=protocol,
        trace_id=trace,
        source=source,
        since=begin,
        until=end,
        below=below,
        limit=limit,
    )


def _shaped(name: str, text: str | None, form: re.Pattern[str], expected: str) -> None:
    if text is not None and (len(text) > MAX_TERM_LENGTH or not form.fullmatch(text)):
        raise InvalidValue(f"{name}: expected {expected}")


def _user(text: str) -> str:
    prefix, separator, _ = text.partition(":")
    if prefix in IdentifierKind._value2member_map_:
        # In the one spelling of its kind: a URA is recorded in eight digits.
        return Identifier.parse_subject(text).subject
    if not separator and not _SOURCE.fullmatch(text) and text != _NOBODY:
        raise InvalidValue(
            "--participant: expected <kind>:<value>, for example uzovi:5000, agbcode:01234567, operator:jan"
        )
    return text


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # In UTC here: what lies before the first year or after the last one there has no text in the log.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidValue(f"{name}: a time is written as in 2026-11-22T12:00:00Z") from None
