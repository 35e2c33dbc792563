"""The targets: what is fed, what it is fed with at first, and what may come out.

Seeds are generated anew at each start (real keys, real zones), so no corpus is stored.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import dns.message
import dns.name
import dns.rdatatype
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from dns.rdatatype import RdataType

from authz.domain.errors import InvalidValue, Refused
from authz.edge.client_certificate import parse_xfcc
from pki.dnssec import ChainValidator, ResolverUnreachable
from pki.dnssec.anchors import parse_anchors
from pki.dnssec.exchange import Unfit
from pki.dnssec.model import Answer, ChainBroken, DnssecState, Limits
from pki.dnssec.reading import read_answer
from pki.dnssec.rollover import AnchorFile
from pki.doctor.hello import TlsVersion, server_choice
from pki.doctor.suites import EVERYTHING
from pki.enrolment.est import read_body, read_credentials
from pki.enrolment.requests import parse_request
from pki.names import decode_identity, dns_names_of, identity_of, organization_of
from pki.ocsp.messages import MalformedRequest
from pki.ocsp.messages import parse_request as parse_ocsp_request
from pki.validation.crl_store import CrlStore
from pki.validation.ocsp_store import OcspStore
from pki.validation.path import parse
from pki.validation.schemes import pkio, uzi
from pki.validation.schemes.pin import PinnedIssuer
from tests.fakes.certificates import FakeAuthority
from tests.fakes.dns import NOW, FakeDns


@dataclass(frozen=True)
class Target:
    """One thing to fuzz.

    Attributes:
        seeds: well-formed inputs to begin with.
        run: feeds one input; returns, or raises when something came out that is not documented.
    """

    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes], None]


def refuses(*allowed: type[Exception]) -> Callable[[Callable[[bytes], object]], Callable[[bytes], None]]:
    """A target whose documented errors are `allowed`."""

    def decorate(feed: Callable[[bytes], object]) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            try:
                feed(data)
            except allowed:
                return

        return run

    return decorate


@cache
def authority() -> FakeAuthority:
    return FakeAuthority()


@cache
def leaves() -> tuple[bytes, ...]:
    ca = authority()
    numbers = "2.16.528.1.1007.99.218-1-123456789-S-12345678-00.000-01234567"
    uzi_name = x509.OtherName(x509.ObjectIdentifier("2.5.5.5"), b"\x16" + bytes([len(numbers)]) + numbers.encode())
    permanent = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.3"), b"\x30\x0a\x0c\x0812345678")
    return (
        ca.issue("uzovi:5000").der,
        ca.issue("agbcode:01234567", dns=("a.example.nl", "b.example.nl")).der,
        ca.issue(None, names=[x509.DNSName("a.example.nl"), uzi_name, permanent]).der,
        ca.expired().der,
        ca.ca_as_leaf().der,
    )


@refuses(Refused, InvalidValue)
def certificate_identity(data: bytes) -> None:
    certificate = parse(data).certificate
    for read in (identity_of, dns_names_of, organization_of, _uzi, _pkio):
        try:
            read(certificate)
        except (Refused, InvalidValue):
            continue


def _uzi(certificate: x509.Certificate) -> object:
    return uzi.identify(certificate, PinnedIssuer("0" * 64, "uzi", "TST"))


def _pkio(certificate: x509.Certificate) -> object:
    return pkio.identify(certificate, PinnedIssuer("0" * 64, "pkio", "TST"))


@cache
def _validator() -> object:
    return authority().validator()


def certificate_path(data: bytes) -> None:
    """Nothing but the certificates that were really issued may be accepted."""
    try:
        authority_validator = _validator()
        authority_validator.validate(data, [authority().issuing.der], authority().now)  # type: ignore[attr-defined]
    except Refused:
        return
    if data not in leaves():
        raise AssertionError("a certificate that nobody issued was accepted")


def identity_name(data: bytes) -> None:
    for read in (decode_identity, uzi.parse_uzi_name, uzi.permanent_identifier):
        try:
            read(data)
        except (Refused, InvalidValue):
            continue


def identity_name_seeds() -> list[bytes]:
    found = []
    for der in leaves():
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found += [name.value for name in names.value if isinstance(name, x509.OtherName)]
    return found


def csr_seeds() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    extended = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.nl")]), critical=False)
    requests = [item.sign(key, hashes.SHA256()) for item in (builder, extended)]
    return [item.public_bytes(form) for item in requests for form in (Encoding.DER, Encoding.PEM)]


@refuses(Refused)
def est(data: bytes) -> None:
    for feed in (lambda: parse_request(read_body(data)), lambda: read_credentials(data.decode("latin-1"))):
        try:
            feed()
        except Refused:
            continue


def est_seeds() -> list[bytes]:
    import base64  # noqa: PLC0415

    bodies = [base64.encodebytes(csr) for csr in csr_seeds()[::2]]
    return [*bodies, b"Basic " + base64.b64encode(b"uzovi-5000:ABCD-EFGH-IJKL-MNOP"), b"Basic !"]


@refuses(Refused)
def crl(data: bytes) -> None:
    CrlStore([authority().root.der, authority().issuing.der]).put(data)


def crl_seeds() -> list[bytes]:
    ca = authority()
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://a.nl/x.crl")],
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return [ca.crl(), ca.root_crl(), ca.crl(revoked=[1, 2, 3]), ca.crl(extensions=[(point, True)])]


@refuses(MalformedRequest)
def ocsp_request(data: bytes) -> None:
    parse_ocsp_request(data)


def ocsp_request_seeds() -> list[bytes]:
    ca = authority()
    leaf = x509.load_der_x509_certificate(leaves()[0])
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, ca.issuing.certificate, hashes.SHA256())
    nonce = builder.add_extension(x509.OCSPNonce(b"0123456789abcdef"), critical=False)
    return [item.build().public_bytes(Encoding.DER) for item in (builder, nonce)]


@refuses(Refused)
def ocsp_answer(data: bytes) -> None:
    OcspStore([authority().issuing.der]).put(data)


def ocsp_answer_seeds() -> list[bytes]:
    ca = authority()
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=x509.load_der_x509_certificate(leaves()[0]),
        issuer=ca.issuing.certificate,
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=ca.now,
        next_update=ca.now,
        revocation_time=None,
        revocation_reason=None,
    )
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ca.issuing.certificate)
    return [signed.sign(ca.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)]


@refuses(Refused)
def xfcc(data: bytes) -> None:
    parse_xfcc(data.decode("latin-1"))


def xfcc_seeds() -> list[bytes]:
    found = []
    for der in leaves():
        pem = quote(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode(), safe="-")
        found.append(f'Hash={hashlib.sha256(der).hexdigest()};Cert="{pem}";Chain="{pem}"'.encode())
    return found


HOST = "www.ciz.nl."
ADDRESS = "127.0.0.1"


@cache
def network() -> FakeDns:
    zone = {
        "name": "ciz.nl",
        "records": {"register": [ADDRESS], "www": {"CNAME": ["register.ciz.nl."]}, "*.wild": [ADDRESS]},
        "denial": "nsec3",
    }
    return FakeDns(zone)


@cache
def questions() -> tuple[tuple[str, str], ...]:
    fake = network()
    fake.asked.clear()
    asyncio.run(fake.check(HOST))
    return tuple(dict.fromkeys(fake.asked))


class OneLie:
    """A resolver that answers one question with given bytes, and every other truthfully."""

    def __init__(self, which: tuple[str, str], wire: bytes) -> None:
        self._which = which
        self._wire = wire

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        if (str(owner), dns.rdatatype.to_text(rdtype)) != self._which:
            return await network().ask(owner, rdtype)
        try:
            return read_answer(self._wire, rdtype)
        except Unfit as error:  # as `pki.dnssec.transport.Resolver` takes it
            raise ResolverUnreachable("malformed") from error


def dns_answer(data: bytes) -> None:
    """The first byte says which question is lied about. Only the true address may be called secure."""
    if not data:
        return
    which = questions()[data[0] % len(questions())]
    limits = Limits(seconds=5)
    validator = ChainValidator(resolver=OneLie(which, data[1:]), anchors=network().anchors(), limits=limits)
    result = asyncio.run(validator.check(HOST, NOW))
    if result.state is DnssecState.SECURE and (result.answer is not Answer.DATA or result.records != (ADDRESS,)):
        raise AssertionError(f"a lie about {which} was called secure: {result.answer} {result.records}")


def dns_seeds() -> list[bytes]:
    truths = [bytes([n]) + network().raw(*which).to_wire() for n, which in enumerate(questions())]
    elsewhere = [("nothing.ciz.nl.", "A"), ("a.wild.ciz.nl.", "A"), ("ciz.nl.", "MX"), ("nothing.nl.", "DS")]
    others = [network().raw(*which).to_wire() for which in elsewhere]
    return truths + [bytes([n]) + wire for wire in others for n in range(len(questions()))]


@refuses(InvalidValue)
def anchors(data: bytes) -> None:
    text = data.decode("utf-8", errors="replace")
    with contextlib.suppress(InvalidValue):
        parse_anchors(text)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "anchors.json"
        path.write_bytes(data)
        AnchorFile(path, network().anchors())


def anchors_seeds() -> list[bytes]:
    key = next(iter(network().zone(".").key.public.to_text() for _ in (0,)))  # type: ignore[union-attr]
    state = {"zone": ".", "keys": [{"key": key, "state": "valid", "since": datetime.isoformat(NOW)}]}
    return [b". IN DS 20326 8 2 " + b"AB" * 32, f". 3600 IN DNSKEY {key}".encode(), json.dumps(state).encode()]


class Liar:
    """A resolver that answers every question with the same bytes."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    async def ask(self, owner: dns.name.Name, rdtype: RdataType) -> dns.message.Message:
        assert owner is not None
        assert rdtype
        try:
            return read_answer(self._wire, rdtype)
        except Unfit as error:
            raise ResolverUnreachable("malformed") from error


def anchor_look(data: bytes) -> None:
    """Only the true key of the root may be trusted after a look at a lie."""
    with TemporaryDirectory() as folder:
        file = AnchorFile(Path(folder) / "anchors.json", network().anchors())
        try:
            asyncio.run(file.refresh(Liar(data), NOW))
        except (ChainBroken, ResolverUnreachable):
            return
        true = network().zone(".").key
        if any(true is None or anchor.record != true.public for anchor in file.anchors()):
            raise AssertionError("a key that nobody vouches for is trusted")


def anchor_look_seeds() -> list[bytes]:
    return [network().raw(*which).to_wire() for which in ((".", "DNSKEY"), (".", "NS"), ("nl.", "DNSKEY"))]


def server_hello(data: bytes) -> None:
    for version in TlsVersion:
        server_choice(22, data, version, tuple(EVERYTHING))


def server_hello_seeds() -> list[bytes]:
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x01\x00" + b"\x00\x06\x00\x2b\x00\x02\x03\x04"
    return [b"\x02" + len(body).to_bytes(3, "big") + body]


TARGETS: dict[str, Target] = {
    "certificate": Target(lambda: [*leaves()], certificate_identity),
    "path": Target(lambda: [*leaves()], certificate_path),
    "name": Target(identity_name_seeds, identity_name),
    "csr": Target(csr_seeds, refuses(Refused)(parse_request)),
    "est": Target(est_seeds, est),
    "crl": Target(crl_seeds, crl),
    "ocsp-request": Target(ocsp_request_seeds, ocsp_request),
    "ocsp-answer": Target(ocsp_answer_seeds, ocsp_answer),
    "xfcc": Target(xfcc_seeds, xfcc),
    "dns": Target(dns_seeds, dns_answer),
    "anchors": Target(anchors_seeds, anchors),
    "anchor-look": Target(anchor_look_seeds, anchor_look),
    "server-hello": Target(server_hello_seeds, server_hello),
}
