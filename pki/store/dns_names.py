"""Which organisation a DNS name belongs to, as long as a certificate of it lives.

A name in a certificate lets its holder be the server of that name, so it may not stand in live certificates of two
organisations at once. An organisation is its KvK number: one that has several identifiers may use one name for all.
What an organisation uses in production it has for tests too, but only where two operators vouch for tests as well: one
alone, who types its KvK number, gets no certificate with such a name, in whatever environment (decision 0119).
Each step is inside a transaction that the caller opened, as in `pki.store.register`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.store.tables import certificates, dns_owners

_LIVING: Final = ("active", "superseding", "issuing", "renewing")
_ADD: Final = text(
    "INSERT INTO dns_owners (name, kvk) VALUES (:name, :kvk) ON CONFLICT (name) DO NOTHING RETURNING name"
)
_HOLD: Final = text("UPDATE dns_owners SET kvk = :kvk WHERE name = :name")
"""Who has a name. Nobody changes that until the transaction ends: of two that want it, the second waits."""


class DnsNames:
    """DNS names within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def take(self, names: Iterable[str], kvk: str, *, guarded: Collection[str] = ()) -> None:
        """Names that come into the network with a certificate of this organisation.

        Args:
            names: what is certified.
            kvk: of the organisation.
            guarded: environments from which no name is taken over, not even by the organisation itself.

        Raises:
            Refused: DNS_NAME_TAKEN, a live certificate of another organisation has one of them;
                DNS_NAME_OF_PRODUCTION, one of a guarded environment has.
        """
        known = []
        # In one order, so that two transactions never wait for each other.
        for name in _owned(names):
            row = {"name": name, "kvk": kvk}
            # A name that was never owned stands in no live certificate, which is told without reading them.
            if (await self._db.execute(_ADD, row)).first() is None:
                await self._db.execute(_HOLD, row)
                known.append(name)
        await self._require_not_anothers(known, kvk, guarded)

    async def require_free(self, names: Iterable[str], kvk: str, *, guarded: Collection[str] = ()) -> None:
        """What `take` would refuse at this moment; takes nothing.

        Raises:
            Refused: DNS_NAME_TAKEN, DNS_NAME_OF_PRODUCTION.
        """
        query = select(dns_owners.c.name).where(dns_owners.c.name.in_(_owned(names)))
        await self._require_not_anothers((await self._db.execute(query)).scalars().all(), kvk, guarded)

    async def _require_not_anothers(self, names: Sequence[str], kvk: str, guarded: Collection[str]) -> None:
        """No live certificate of any other organisation, or of a guarded environment, has one of these names.

        Asked of the certificates and not of the recorded owners: a register of before names had owners may hold a name
        that several organisations live with, and only one of them is recorded. All live ones are read once, whatever
        the number of names (0.2 seconds for 100,000).
        """
        if not names:
            return
        query = select(certificates.c.kvk).where(
            or_(certificates.c.kvk != kvk, certificates.c.environment.in_(guarded)),
            certificates.c.status.in_(_LIVING),
            # A JSON list of host names, in which neither a quote nor a wildcard of LIKE can stand.
            or_(*(certificates.c.dns_names.like(f'%"{name}"%') for name in names)),
        )
        found = set((await self._db.execute(query.distinct().limit(2))).scalars())
        if found - {kvk}:
            raise Refused(
                Reason.DNS_NAME_TAKEN,
                "A live certificate of another organisation has one of these DNS names; it is revoked or expires"
                " first.",
            )
        if found:
            raise Refused(
                Reason.DNS_NAME_OF_PRODUCTION,
                "A live certificate of production has one of these DNS names, and here one operator is enough: choose"
                " another name for tests.",
            )


def _owned(names: Iterable[str]) -> list[str]:
    """Names that somebody can own: one of a single label (a lab's `localhost`) means another machine everywhere."""
    return sorted(name for name in names if "." in name)
