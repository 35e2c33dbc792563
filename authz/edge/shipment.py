"""What an answer to a shipment of audit records means, and how many records go into the next one.

Specification: shared `spec/audit.md`, "Writing without losing or blocking": at least once, in order, for ever. That one
record can never be taken must not hold up all others, and an answer that says nothing about the records must not put
one of them aside: only the audit store itself refuses a record, in its own words; a page of something in between that
answers 400 to everything does not count as one. What is done with a refused record is the caller's.
"""

import re
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from authz.domain.reasons import Reason

_ABOUT_A_RECORD: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Every other 4xx is about the sender, the place or the moment, and the same records are sent again."""
MAX_WORDS: Final = 16 * 1024
"""Bytes of an answer that are looked at."""
NO_CODE: Final = "unknown"
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")


class Verdict(Enum):
    """What to do after an answer."""

    TAKEN = auto()
    LATER = auto()
    """Nothing was said about the records: send the same ones again, after a pause."""
    SMALLER = auto()
    """Together they were refused: one of them may be the reason, or they are too large. Send fewer, at once."""
    REFUSED = auto()
    """This one record is refused for good."""


class _Refusal(msgspec.Struct):
    error: str


class ShipmentSize:
    """How many records the next shipment has: halved until the record that is refused stands alone, then grown again.

    Args:
        most: records in one shipment.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = most
        """Records that the next shipment may have."""

    def judge(self, answer: httpx.Response, sent: int) -> Verdict:
        """What an answer means; the size of the next shipment follows it.

        Args:
            answer: of the audit store, or of something before it.
            sent: number of records that were sent, at least one.
        """
        if answer.is_success:
            self.now = min(self._most, self.now * 2)
            return Verdict.TAKEN
        if not _refuses_records(answer):
            return Verdict.LATER
        if sent > 1:
            self.now = sent // 2
            return Verdict.SMALLER
        return Verdict.REFUSED


def refusal_code(answer: httpx.Response) -> str:
    """Why a record was refused, as a code and in no other words: what is kept and shown never holds text of others.

    Args:
        answer: for which `ShipmentSize.judge` said REFUSED.
    """
    if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Reason.BODY_TOO_LARGE.value
    try:
        code = msgspec.json.decode(answer.content, type=_Refusal).error
    except (msgspec.MsgspecError, ValueError):
        return NO_CODE
    return code if _CODE.fullmatch(code) else NO_CODE


def _refuses_records(answer: httpx.Response) -> bool:
    if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True  # whoever says it: these bytes do not get through
    if answer.status_code not in _ABOUT_A_RECORD or len(answer.content) > MAX_WORDS:
        return False
    try:
        return bool(msgspec.json.decode(answer.content, type=_Refusal).error)
    except (msgspec.MsgspecError, ValueError):
        return False
