"""Audit records of enrolment: written in the transaction of what they tell, and of their own when it was refused."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.audit import EventType
from authz.domain.clock import Clock
from authz.domain.domains import DomainsNotSecure
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.audit.records import Actor, RecordMaker
from pki.settings import PkiSettings
from pki.store.codes import EnrolmentCode
from pki.store.database import Database
from pki.store.register import Register


class Recording(Protocol):
    """What records are made with: an open authority, or the desk of operators."""

    @property
    def settings(self) -> PkiSettings:
        """Where the records come from."""
        ...

    @property
    def database(self) -> Database:
        """Where they wait."""
        ...

    @property
    def clock(self) -> Clock:
        """When it was."""
        ...


class Trail:
    """Records of one installation.

    Args:
        pki: the open authority, or the desk.
    """

    def __init__(self, pki: Recording) -> None:
        self._pki = pki
        self._records = RecordMaker(pki.settings.audit.source)

    async def write(
        self,
        connection: AsyncConnection,
        event: EventType,
        actor: Actor,
        subject: str,
        *,
        details: Mapping[str, Any] | None = None,
        refused: Reason | None = None,
    ) -> None:
        """Put one record in the outbox, within a transaction of the caller."""
        at = self._pki.clock.now()
        record = self._records.make(event, actor, at, subject=subject, details=details, refused=refused)
        await Register(connection).write([record])

    async def code(
        self,
        connection: AsyncConnection,
        event: EventType,
        actor: Actor,
        code: EnrolmentCode,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Something happened to a code; the record names it by its selector."""
        about = {
            "code": code.selector,
            "environment": code.environment,
            "two_person": code.two_person,
            "purpose": code.purpose,
        }
        await self.write(connection, event, actor, code.identifier.subject, details=about | dict(details or {}))

    async def refuse(
        self, event: EventType, actor: Actor, subject: str, reason: Reason, details: Mapping[str, Any] | None = None
    ) -> None:
        """Something was refused: a transaction of its own."""
        async with self._pki.database.write() as connection:
            await self.write(connection, event, actor, subject, details=details, refused=reason)

    @asynccontextmanager
    async def refusals(self, event: EventType, actor: Actor, subject: str) -> AsyncIterator[None]:
        """Record what is refused inside, and let it go on."""
        try:
            yield
        except Refused as refused:
            details = refused.details() if isinstance(refused, DomainsNotSecure) else None
            await self.refuse(event, actor, subject, refused.reason, details)
            raise
