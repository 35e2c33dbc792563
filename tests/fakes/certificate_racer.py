"""A process that works the authority: one of several at the same time, or one that is killed while it signs.

    python -m tests.fakes.certificate_racer <settings> race <identifier>...    waits for a line on stdin, enrols all
    python -m tests.fakes.certificate_racer <settings> die <issue|renew|revoke> <identifier>    SIGKILL after signing

Prints one line for each identifier: `<identifier> issued` or `<identifier> <reason>`.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from authz.edge.settings import load_settings
from pki.app import OpenAuthority, open_authority
from pki.audit.records import operator
from pki.enrolment.requests import CertificateRequest, parse_request
from pki.issuing import Holder
from pki.revocation.crl import RevocationReason
from pki.settings import PkiSettings
from pki.signing.signer import KeySigner
from tests.fakes.clock import FixedClock
from tests.fakes.domains import EveryName


def new_request() -> CertificateRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return parse_request(csr.public_bytes(Encoding.DER))


async def enrol(pki: OpenAuthority, subject: str) -> str:
    holder = Holder(Identifier.parse_subject(subject), "Zorgkantoor Test", "12345678", ("a.example.nl",))
    try:
        await pki.issue(holder, new_request(), operator("racer"))
    except Refused as refused:
        return f"{subject} {refused.reason}"
    return f"{subject} issued"


async def race(pki: OpenAuthority, subjects: list[str]) -> None:
    requests = [enrol(pki, subject) for subject in subjects]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for line in await asyncio.gather(*requests):
        sys.stdout.write(line + "\n")


async def die(pki: OpenAuthority, what: str, subject: str) -> None:
    sign = KeySigner.sign

    def last(self: KeySigner, *data: bytes) -> bytes:
        signature = sign(self, *data)
        if self is not pki.cas[0].signer:  # the throwaway key that signs what is linted
            return signature
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    KeySigner.sign = last  # type: ignore[method-assign]
    if what == "issue":
        await enrol(pki, subject)
    elif what == "revoke":
        who = Identifier.parse_subject(subject)
        await pki.revoke(RevocationReason.CESSATION_OF_OPERATION, operator("racer"), identifier=who)
    else:
        await pki.renew(Identifier.parse_subject(subject), new_request(), operator("racer"))


async def main(config: str, mode: str, *subjects: str) -> None:
    async with open_authority(load_settings(PkiSettings, Path(config)), FixedClock(), validator=EveryName()) as pki:
        if mode == "race":
            await race(pki, list(subjects))
        else:
            await die(pki, *subjects)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
