"""Making the CRLs of our CAs, in the transaction of what they tell.

Specification: shared `spec/pki.md`, "Revocation": regenerated at once on a revocation and at least every 30 minutes. A
CRL is made while the row of its CA is locked, so numbers grow and no revocation is missed between two makers.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from pki.issuing import IssuingCa, IssuingError
from pki.revocation import CRL_LIFE, CRL_REFRESH, CrlPlan, make_crl
from pki.store.database import Database
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

    async def publish(self, register: Register, ca: IssuingCa, at: datetime) -> StoredCrl:
        """Make a new CRL with everything that the register says at this point of the transaction."""
        moment = at.replace(microsecond=0)
        number = await register.next_crl_number(ca.name)
        plan = CrlPlan(number, moment, moment + self._life)
        entries = await register.crl_entries(ca.name, at)
        der = make_crl(ca.signer, ca.certificate.subject, ca.published, plan, entries)
        crl = StoredCrl(ca.name, number, plan.this_update, plan.next_update, der)
        await register.put_crl(crl)
        return crl

    async def publish_named(self, register: Register, names: Sequence[str], at: datetime) -> None:
        """Publish for the CAs of certificates that changed; each once, in one order (no deadlock)."""
        for name in sorted(set(names)):
            if name in self._cas:
                await self.publish(register, self._cas[name], at)

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
        """Names of the CAs whose CRL is missing or due for a refresh."""
        held = {crl.issuer: crl for crl in await register.crls()}
        return [name for name in self._cas if name not in held or at - held[name].this_update >= self._refresh]
