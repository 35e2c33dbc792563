"""Making the CRLs of our CAs, in the transaction of what they tell.

Specification: shared `spec/pki.md`, "Revocation": regenerated at once on a revocation and at least every 30 minutes. A
CRL is made while the row of its CA is locked, so numbers grow and no revocation is missed between two makers.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from pki.issuing import IssuingCa, IssuingError
from pki.lint import second_opinion
from pki.revocation.crl import CRL_LIFE, CRL_REFRESH, CrlPlan, sign_crl
from pki.revocation.crl_parts import parts_of, take_up
from pki.signing.encoding import CrlEntry
from pki.store.database import Database
from pki.store.kept_parts import KeptParts
from pki.store.register import Register, StoredCrl


class CrlPublisher:
    """Makes the full CRL of each CA.

    Args:
        cas: all issuing CAs, also those that no longer issue.
        life: from thisUpdate to nextUpdate.
        refresh: age at which a CRL is made anew although nothing changed.
    """

    def __init__(
        self, cas: Sequence[IssuingCa], *, life: timedelta = CRL_LIFE, refresh: timedelta = CRL_REFRESH
    ) -> None:
        self._cas: Mapping[str, IssuingCa] = {ca.name: ca for ca in cas}
        self._life = life
        self._refresh = refresh
        self._kept = KeptParts()

    async def make_ready(self, database: Database) -> None:
        """Do beforehand, the first time in a process, what other writers would have to wait for.

        Raises:
            LinterMissing: nothing could be signed.
        """
        second_opinion.load()
        cold = [name for name in self._cas if name not in self._kept]
        if cold:
            async with database.read() as connection:
                for name in cold:
                    await self._kept.read(Register(connection), name)

    async def publish(
        self,
        register: Register,
        ca: IssuingCa,
        at: datetime,
        *,
        until: datetime | None = None,
        also: Mapping[int, CrlEntry] | None = None,
    ) -> StoredCrl:
        """Make a new CRL with everything that the register says at this point of the transaction.

        Only what changed since the one before is encoded; the rest is taken as it was kept, and signed again.

        Args:
            register: in a transaction.
            ca: whose.
            at: thisUpdate.
            until: nextUpdate of a last CRL; after the usual life when None.
            also: entries of certificates that the register does not know, by serial number. They stay on the list, and
                only `rebuild` takes them off.
        """
        return await self._make(register, ca, at, await register.next_crl_number(ca.name), until=until, also=also)

    async def publish_named(self, register: Register, names: Collection[str], at: datetime) -> None:
        """Publish for the CAs of certificates that changed; each once.

        All CAs are locked before anything else is, and in one order: two makers of CRLs never wait for each other.
        """
        numbers = {name: await register.next_crl_number(name) for name in sorted(set(names) & self._cas.keys())}
        for name, number in numbers.items():
            await self._make(register, self._cas[name], at, number)

    async def refresh(self, database: Database, name: str, at: datetime) -> bool:
        """Make a CRL anew that is due although nothing changed.

        It is linted and signed while nobody waits for it, and kept if it is still the next one then. If not, nobody
        ever sees it.

        Returns:
            Whether it is kept. If not, another was made meanwhile, or there is something to take up: see `publish`.
        """
        async with database.read() as connection:
            register = Register(connection)
            number = await register.crl_number(name) + 1
            parts = await self._kept.read(register, name)
        crl = self._sign(self._cas[name], self._plan(number, at), parts, changed=())
        async with database.write() as connection:
            register = Register(connection)
            kept = await register.claim_crl_number(name, number, at)
            if kept:
                await register.put_crl(crl)
        return kept

    async def _make(
        self,
        register: Register,
        ca: IssuingCa,
        at: datetime,
        number: int,
        *,
        until: datetime | None = None,
        also: Mapping[int, CrlEntry] | None = None,
    ) -> StoredCrl:
        parts = await self._kept.read(register, ca.name)
        changed = take_up(parts, {**(also or {}), **await register.crl_changes(ca.name, at)})
        return await self._put(register, ca, self._plan(number, at, until), parts | changed, changed)

    def _plan(self, number: int, at: datetime, until: datetime | None = None) -> CrlPlan:
        moment = at.replace(microsecond=0)
        return CrlPlan(number, moment, until or moment + self._life)

    async def _put(
        self, register: Register, ca: IssuingCa, plan: CrlPlan, parts: Mapping[int, bytes], changed: Mapping[int, bytes]
    ) -> StoredCrl:
        await self._kept.write(register, ca.name, changed)
        crl = self._sign(ca, plan, parts, changed)
        await register.put_crl(crl)
        return crl

    def _sign(self, ca: IssuingCa, plan: CrlPlan, parts: Mapping[int, bytes], changed: Collection[int]) -> StoredCrl:
        signed = sign_crl(ca.signer, ca.certificate.subject, ca.published, plan, parts, changed=changed)
        return StoredCrl(ca.name, plan.number, plan.this_update, plan.next_update, signed)

    async def rebuild(self, database: Database, at: datetime) -> list[StoredCrl]:
        """Make every CRL anew from the register alone, without what was kept of the ones before.

        Nothing needs it in daily work, and it would take off what only `pki restored` knows of. It holds the writers of
        the register for as long as it takes.
        """
        made = []
        for name in sorted(self._cas):
            async with database.write() as connection:
                register = Register(connection)
                number = await register.next_crl_number(name)
                parts = parts_of(await register.crl_entries(name, at))
                await register.forget_crl_parts(name)
                made.append(await self._put(register, self._cas[name], self._plan(number, at), parts, parts))
        return made

    async def introduce(self, database: Database) -> None:
        """Make the CAs known to the register, whichever process is first.

        Raises:
            IssuingError: the register knows a CA of this name with another key.
        """
        async with database.read() as connection:
            known = await Register(connection).issuers()
        for name in sorted(self._cas):
            key = known.get(name)
            if key is None:
                with suppress(IntegrityError):  # another process was a moment earlier
                    async with database.write() as connection:
                        await Register(connection).add_issuer(name, self._cas[name].key)
            elif key != self._cas[name].key:
                raise IssuingError(f"the register knows issuing CA {name} with another key: it is of another ceremony")

    async def due(self, register: Register, at: datetime) -> list[str]:
        """Names of the CAs whose CRL is missing or due for a refresh, or does not tell all that the register does.

        One from the future is due as well: a clock ran ahead and was set back, and nobody believes that CRL yet. Who
        revokes makes the CRL in the same transaction; a migration has no key to sign with and leaves it to be found.
        """
        made = await register.crls_made()
        pending = await register.crls_behind()
        return [
            name
            for name in self._cas
            if name in pending or name not in made or not made[name] <= at < made[name] + self._refresh
        ]
