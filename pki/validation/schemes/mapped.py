"""Scheme `mapped`: the certificate says nothing usable, a table of the operator says whose it is (as VECOZO works).

Specification: shared `spec/pki.md`, "Validating" rule 3. An entry names a certificate by its thumbprint, or by its
serial number under the key of the pinned CA. The names in the certificate are not read at all. A certificate that is
not in the table is nobody's, so a renewed one is refused until the table says whose it is.
"""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain import base64url
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.names import CertificateIdentity
from pki.validation.schemes.pin import PinnedIssuer


def identify(certificate: x509.Certificate, pin: PinnedIssuer) -> CertificateIdentity:
    """Look the certificate up.

    Raises:
        Refused: CERTIFICATE_IDENTITY: it is not in the table, or its two entries disagree.
    """
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    thumbprint = base64url.encode(digest)
    if pin.table is None:  # a pin without one cannot be made; nothing is guessed if it is
        raise _nobody("there is no table of known certificates")
    holders = (pin.table.by_thumbprint.get(thumbprint), pin.table.by_serial.get(certificate.serial_number))
    found = {holder for holder in holders if holder is not None}
    if len(found) != 1:
        raise _nobody("the table names two holders" if found else "it is not in the table of known certificates")
    return CertificateIdentity(pin.environment, found.pop())


def _nobody(why: str) -> Refused:
    return Refused(Reason.CERTIFICATE_IDENTITY, f"It is not known here whose the certificate is: {why}.")
