"""Identity schemes: how a certificate says which party it stands for, one module for each way of writing it.

Specification: shared `spec/pki.md`, "Validating" rule 3. A scheme never stands alone: it is pinned to the key of the
issuing CA whose certificates are read that way (`pki.validation.schemes.pin`), so no other CA, also not one under the
same root, can assert an identity. A scheme reads names; it checks neither signature, times, nor revocation.

| scheme | identity | environment |
| --- | --- | --- |
| `sluis` | otherName under our own arc | in the name, and it must be that of the pin |
| `uzi` | AGB-code, else URA, in the UZI otherName `2.5.5.5` | of the pin |
| `pkio` | KvK number in organizationIdentifier, else OIN in serialNumber | of the pin |
| `mapped` | a table of the operator, by thumbprint or serial number | of the pin |
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryptography import x509

from pki.names import CertificateIdentity
from pki.validation.schemes import mapped, pkio, sluis, uzi
from pki.validation.schemes.pin import PinnedIssuer

SCHEMES: Final[Mapping[str, Callable[[x509.Certificate, PinnedIssuer], CertificateIdentity]]] = MappingProxyType(
    {"sluis": sluis.identify, "uzi": uzi.identify, "pkio": pkio.identify, "mapped": mapped.identify}
)
"""Each raises `Refused` with CERTIFICATE_IDENTITY when the certificate does not name one party clearly."""

__all__ = ["SCHEMES", "PinnedIssuer"]
