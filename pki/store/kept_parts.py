"""The parts of CRLs in memory, so that a revocation reads from the database only what other processes changed.

A part is kept under the hash of its bytes, and each time the register says which hashes the CRL of this moment has. So
nothing here can be out of date, whichever process wrote since, and whether or not a transaction of our own was
committed: at worst a part is read again.
"""

from collections.abc import Mapping

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.store.crls import CrlRegister, part_name


class KeptParts:
    """What one process knows of the parts of all CAs; bounded by what their newest CRLs have."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[bytes, bytes]] = {}

    def __contains__(self, issuer: str) -> bool:
        return issuer in self._kept

    async def read(self, register: CrlRegister, issuer: str) -> dict[int, bytes]:
        """All parts of a CRL, as the register has them at this point of the transaction.

        Raises:
            Refused: LINT_FAILED, a part is not what was written.
        """
        kept = self._kept.get(issuer, {})
        names = await register.crl_part_names(issuer)
        missing = [part for part, name in names.items() if name not in kept]
        read = await register.crl_parts(issuer, missing) if missing else {}
        if any(part_name(entries) != names[part] for part, entries in read.items()):
            raise Refused(Reason.LINT_FAILED, "Entries of the CRL in the database are not what was written there.")
        parts = {part: read[part] if part in read else kept[name] for part, name in names.items()}
        self._kept[issuer] = {name: parts[part] for part, name in names.items()}
        return parts

    async def write(self, register: CrlRegister, issuer: str, changed: Mapping[int, bytes]) -> None:
        """Replace some parts."""
        await register.put_crl_parts(issuer, changed)
        self._kept.setdefault(issuer, {}).update((part_name(entries), entries) for entries in changed.values())
