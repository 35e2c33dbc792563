"""What a CA is without its key: enough to make ready and lint what would be signed, and not to sign anything."""

from typing import Never

from cryptography import x509

from pki.keys import spki_of
from pki.signing.signer import SignerError
from pki.signing.throwaway import stand_in


class PublicHalf:
    """Stands where a `Signer` does, for whoever has only the certificate of a CA.

    Args:
        certificate: DER.
    """

    algorithm: str

    def __init__(self, certificate: bytes) -> None:
        self.public_key: bytes = spki_of(x509.load_der_x509_certificate(certificate))
        self.algorithm = stand_in(self).algorithm

    def sign(self, *_data: bytes) -> Never:
        """Nothing is signed.

        Raises:
            SignerError: always.
        """
        raise SignerError("the key of the authority is not here")
