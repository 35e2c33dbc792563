"""Who is at the other end of TLS: the presented certificate, validated against our own CAs and our newest CRLs."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.client_certificate import PresentedCertificate, parse_xfcc
from authz.edge.rate import RateLimiter
from pki.app import OpenAuthority
from pki.certificate_files import read_certificate
from pki.enrolment.renewal_limits import TooOften
from pki.http.published import Published
from pki.validation.validator import CertificateValidator, CrlStore, PinnedIssuer, ValidatedCertificate

_LOG: Final = structlog.get_logger(__name__)
LOOKS_PER_MINUTE: Final = 30
"""At one certificate; each may cost a validation and a record."""


class Peers:
    """Validates certificates that this authority issued.

    Args:
        pki: the open authority.
        published: for the CRLs.

    Raises:
        CertificateFileError: the root certificate cannot be read.
    """

    def __init__(self, pki: OpenAuthority, published: Published) -> None:
        roots = [read_certificate(root.certificate) for root in pki.settings.roots()]
        cas = [ca.der for ca in pki.cas]
        self._clock = pki.clock
        self._published = published
        self._names = (*(root.name for root in pki.settings.roots()), *(ca.name for ca in pki.cas))
        self._crls = CrlStore([*roots, *cas])
        self._seen: dict[str, str] = {}
        self._refreshing = asyncio.Lock()
        self._looks = RateLimiter(LOOKS_PER_MINUTE, 60)
        self._validator = CertificateValidator(
            anchors=roots,
            issuers=[PinnedIssuer(ca.key, "sluis", ca.environment) for ca in pki.cas],
            intermediates=cas,
            crls=self._crls,
        )

    async def validate(
        self, header: str | None, *, verified: bool
    ) -> tuple[PresentedCertificate, ValidatedCertificate]:
        """The certificate of this connection, valid and not revoked at this moment.

        Nothing is read or validated for a certificate that Envoy did not verify: anybody can make a chain that takes
        long, and Envoy says no faster.

        Args:
            header: what Envoy says about it.
            verified: whether Envoy verified its path.

        Raises:
            TooOften: RATE_LIMITED, this certificate was looked at many times just now.
            Refused: CERTIFICATE_* or CRL_*.
        """
        if not header:
            raise Refused(Reason.CERTIFICATE_MISSING, "A client certificate is required.")
        if not verified:
            raise Refused(Reason.CERTIFICATE_UNVERIFIED_BY_EDGE, "The certificate was not verified in the handshake.")
        presented = parse_xfcc(header)
        wait = self._looks.take(presented.thumbprint)
        if wait:
            raise TooOften(Reason.RATE_LIMITED, "Too many requests; try again later.", timedelta(seconds=wait))
        await self._refresh()
        return presented, self._validator.validate(presented.leaf_der, presented.chain_der, self._clock.now())

    async def _refresh(self) -> None:
        async with self._refreshing:
            for name in self._names:
                document = await self._published.get(f"/crl/{name}.crl")
                if document is None or self._seen.get(name) == document.etag:
                    continue
                try:
                    await asyncio.to_thread(self._crls.put, document.content)
                except Refused as refused:  # an old root CRL, say: what it does not cover is refused by the validator
                    _LOG.warning("crl_unusable", crl=name, reason=refused.reason)
                self._seen[name] = document.etag
