"""The certificate file and its key: readable, of whom, for how long, and together.

Nothing here asks the network. That a chain leads to the root is checked with the product's own path rules.
"""

import itertools
import stat
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from authz.domain.errors import InvalidValue, Refused
from authz.domain.files import read_limited
from pki.algorithms import is_acceptable_key
from pki.dnssec.handshake import NotReached
from pki.doctor.model import Finding, Installation, Result
from pki.doctor.presented import chain_of
from pki.keys import same_key
from pki.names import dns_names_of, identity_of, organization_of
from pki.validation.path import PathChecker, parse

WARN: Final = timedelta(days=30)
_MAX_KEY: Final = 64 * 1024
_RENEW: Final = (
    "Renew now: `pki reenrol --out-dir <folder> --now`, or ask an operator (`pki renew`); both work in the overlap."
)


def check_files(installation: Installation) -> tuple[list[Finding], tuple[x509.Certificate, ...]]:
    """Findings, and the certificates of the file, leaf first; none when it cannot be read."""
    try:
        ders = chain_of(installation.certificate)
        chain = tuple(x509.load_der_x509_certificate(der) for der in ders)
        parse(ders[0])
    except (NotReached, Refused, ValueError, OSError) as error:
        said = error.detail if isinstance(error, Refused) else str(error)
        to_do = "Write the certificate as `pki enrol` or `pki issue` gave it: PEM, your own first, then the issuing CA."
        found = [Finding("certificate.file", Result.FAIL, said, to_do)]
        # What else was named is looked at all the same: a person repairs everything in one go.
        return [*found, *_others(installation)], ()
    leaf = chain[0]
    found = [
        Finding("certificate.file", Result.OK, f"{len(chain)} certificate(s), serial number {leaf.serial_number:x}"),
        _identity(leaf),
        _validity(leaf, installation),
        _strength(leaf),
        _key(leaf, installation.key),
        *_chain(chain, installation),
    ]
    return found, chain


def _identity(leaf: x509.Certificate) -> Finding:
    try:
        identity = identity_of(leaf)
        names = ", ".join(dns_names_of(leaf)) or "no DNS name"
        who = f"{identity.identifier.subject} ({organization_of(leaf)}), {identity.environment}, {names}"
    except (Refused, InvalidValue) as refused:
        said = refused.detail if isinstance(refused, Refused) else str(refused)
        to_do = "Is this the system certificate of this network? Ask the vertrouwensleverancier for one."
        return Finding("certificate.identity", Result.WARN, said, to_do, essential=False)
    return Finding("certificate.identity", Result.OK, who)


def _validity(leaf: x509.Certificate, installation: Installation) -> Finding:
    at = installation.at
    left = leaf.not_valid_after_utc - at
    if at < leaf.not_valid_before_utc:
        said = f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return Finding("certificate.validity", Result.FAIL, said, "Check the clock of this machine.")
    if left <= timedelta(0):
        said = f"expired {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        return Finding(
            "certificate.validity",
            Result.FAIL,
            said,
            "Ask an operator for a code and enrol anew (`pki enrol`): an expired certificate cannot be renewed.",
        )
    said = f"{left.days} days left (until {leaf.not_valid_after_utc:%Y-%m-%d})"
    if left <= WARN:
        return Finding("certificate.validity", Result.WARN, said, _RENEW)
    return Finding("certificate.validity", Result.OK, said)


def _strength(leaf: x509.Certificate) -> Finding:
    if is_acceptable_key(leaf.public_key()):
        return Finding("certificate.strength", Result.OK, "key and size are allowed")
    to_do = "Make a key of ECDSA P-256 or P-384, or RSA of at least 3072 bits, and renew with it."
    return Finding("certificate.strength", Result.FAIL, "the key is of a kind or size not allowed", to_do)


def _others(installation: Installation) -> list[Finding]:
    """The files beside a certificate that cannot be read."""
    found = []
    if installation.key is not None:
        read = _read_key(installation.key)
        found.append(
            read if isinstance(read, Finding) else Finding("key.match", Result.SKIP, "nothing to compare with")
        )
    if installation.anchors is not None:
        roots = _roots(installation.anchors)
        found.append(
            roots
            if isinstance(roots, Finding)
            else Finding("chain.root", Result.SKIP, "no certificate to check with it")
        )
    return found


def _read_key(path: Path) -> PrivateKeyTypes | Finding:
    to_do = "Use the key that the request was made with; if it is lost, renew with a new key."
    try:
        return load_pem_private_key(read_limited(path, _MAX_KEY), None)
    except TypeError:
        said = "the key is encrypted, so it was not compared"
        return Finding("key.match", Result.WARN, said, "Check it where the passphrase is.", essential=False)
    except OSError as error:
        return Finding("key.match", Result.FAIL, f"{path}: {error.strerror}", "Name the right file with --key.")
    except (ValueError, UnsupportedAlgorithm):
        return Finding("key.match", Result.FAIL, f"{path}: expected a private key in PEM", to_do)


def _key(leaf: x509.Certificate, path: Path | None) -> Finding:
    if path is None:
        return Finding("key.match", Result.SKIP, "no key file was named", "Name it with --key.")
    key = _read_key(path)
    if isinstance(key, Finding):
        return key
    if not same_key(key, leaf):
        to_do = "Use the key that the request was made with; if it is lost, renew with a new key."
        return Finding("key.match", Result.FAIL, "the key is of another certificate", to_do)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        said = "the key fits, and others on this machine can read it"
        return Finding("key.match", Result.WARN, said, f"chmod 600 {path}")
    return Finding("key.match", Result.OK, "the key fits the certificate")


def _roots(path: Path) -> tuple[list[bytes], list[bytes]] | Finding:
    """The roots in a file and what stands beside them; a finding when there is none.

    A path that ends at an issuing CA says nothing of the root above it.
    """
    try:
        ders = chain_of(path)
        roots = [der for der in ders if _is_root(x509.load_der_x509_certificate(der))]
    except (NotReached, ValueError) as error:
        return Finding("chain.root", Result.FAIL, str(error), "Name the network's root with --ca.")
    if not roots:
        said = f"{path} holds no root: none of its certificates is a CA that signed itself"
        return Finding("chain.root", Result.FAIL, said, "Name the root that the network published, not an issuing CA.")
    return roots, [der for der in ders if der not in roots]


def _is_root(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def _chain(chain: Sequence[x509.Certificate], installation: Installation) -> list[Finding]:
    to_do = "Put the issuing CA's certificate behind your own in the file; `pki` writes it so."
    for subject, issuer in itertools.pairwise(chain):
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            said = "the certificates in the file do not follow one another"
            return [Finding("chain.order", Result.FAIL, said, to_do)]
    if len(chain) == 1:
        found = [Finding("chain.order", Result.FAIL, "the issuing CA's certificate is missing", to_do)]
    else:
        found = [Finding("chain.order", Result.OK, "leaf first, each followed by its issuer")]
    if installation.anchors is None:
        said = "no root was named, so the path to it was not checked"
        return [*found, Finding("chain.root", Result.SKIP, said, "Name the network's root with --ca.")]
    roots = _roots(installation.anchors)
    if isinstance(roots, Finding):
        return [*found, roots]
    try:
        anchors, beside = ([parse(der) for der in ders] for ders in roots)
        parsed = [parse(certificate.public_bytes(Encoding.DER)) for certificate in chain]
        PathChecker(anchors, beside).check(parsed[0], parsed[1:], installation.at)
    except (Refused, NotReached, ValueError, OSError) as error:
        said = error.detail if isinstance(error, Refused) else str(error)
        to_do = "Is this the root of this network and environment, and is the file complete?"
        return [*found, Finding("chain.root", Result.FAIL, said, to_do)]
    return [*found, Finding("chain.root", Result.OK, "the path to the root is valid")]
