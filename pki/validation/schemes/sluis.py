"""Scheme `sluis`: the identity is one otherName under our own arc, with its environment inside (decision 0010)."""

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.names import CertificateIdentity, identity_of
from pki.validation.schemes.pin import PinnedIssuer


def identify(certificate: x509.Certificate, pin: PinnedIssuer) -> CertificateIdentity:
    """Read `pki.names.identity_of`, for the environment of the pin.

    Raises:
        Refused: CERTIFICATE_IDENTITY; CERTIFICATE_ENVIRONMENT, the name says another environment than the CA is for.
    """
    identity = identity_of(certificate)
    if identity.environment != pin.environment:
        raise Refused(Reason.CERTIFICATE_ENVIRONMENT, "The certificate is for another environment.")
    return identity
