"""Keys of a zone: which count, under which tag they are found, and which of them the zone above means.

Specification: shared `spec/dnssec.md`, step 2 and "cap keys per tag"; RFC 4034 section 2 and appendix B, RFC 3110,
RFC 6605, RFC 8080, RFC 9904 and RFC 9905 (no SHA-1). Everything here is done once for each DNSKEY set, on keys whose
length was looked at first: a tag is a sum over the whole key, so a long key under many signatures is an attack.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import dns.name
import dns.rrset
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.dnskeybase import Flag

from pki.dnssec.model import Budget

_RSASHA256: Final = 8
_LENGTHS: Final = {13: 64, 14: 96, 15: 32, 16: 57}
"""Octets of a public key: ECDSAP256SHA256 and ECDSAP384SHA384 (RFC 6605), ED25519 and ED448 (RFC 8080)."""
ALGORITHMS: Final = frozenset({_RSASHA256, *_LENGTHS})
"""RFC 9904: recommended or better for validation."""
_HASHES: Final[dict[int, Callable[[bytes], Any]]] = {2: hashlib.sha256, 4: hashlib.sha384}
DIGESTS: Final = frozenset(_HASHES)
"""SHA-256 and SHA-384; SHA-1 is not accepted (RFC 9905)."""
RSA_BITS: Final = range(1024, 4096 + 1)
"""Of a modulus. Below, a key can be factored; RFC 3110 section 2 goes no further, and each verification costs more."""
RSA_EXPONENT_BITS: Final = 35
"""Of a public exponent: room for 2^32+1, which old signers used. A long one makes a verification 50 times as slow."""
_PROTOCOL: Final = 3
_SHORT_FORM, _LONG_FORM = 1, 3


class ZoneKeys:
    """Keys that are trusted to sign for one zone, with their tags.

    Args:
        zone: the only signer that counts.
        keys: the keys; the caller has capped their number and, by `usable_keys`, their lengths.
    """

    def __init__(self, zone: dns.name.Name, keys: Iterable[DNSKEY]) -> None:
        self.zone = zone
        self._by_tag: dict[tuple[int, int], list[DNSKEY]] = {}
        for key in keys:
            self._by_tag.setdefault((int(key.algorithm), key_tag(key)), []).append(key)

    @property
    def keys(self) -> tuple[DNSKEY, ...]:
        """All of them."""
        return tuple(key for keys in self._by_tag.values() for key in keys)

    @property
    def tags(self) -> tuple[int, ...]:
        """The tag of each key."""
        return tuple(tag for (_, tag), keys in self._by_tag.items() for _ in keys)

    def found(self, algorithm: int, tag: int) -> Sequence[DNSKEY]:
        """The keys under a tag; usually one, and none for a stranger's."""
        return self._by_tag.get((algorithm, tag), ())

    def crowded(self, most: int) -> int | None:
        """A tag that more than `most` keys share, if there is one: nobody's signer makes such keys by chance."""
        return next((tag for (_, tag), keys in self._by_tag.items() if len(keys) > most), None)

    def named_by(self, references: Sequence[DS | DNSKEY], budget: Budget) -> "ZoneKeys":
        """Those of the keys that a DS set or anchors mean.

        Args:
            references: as `accepted` left them.
            budget: the work of this check; each digest is a piece of it.
        """
        meant = [key for reference in references for key in self._meant(reference, budget)]
        return ZoneKeys(self.zone, dict.fromkeys(meant))

    def _meant(self, reference: DS | DNSKEY, budget: Budget) -> list[DNSKEY]:
        if isinstance(reference, DNSKEY):
            same = self.found(int(reference.algorithm), key_tag(reference))
            return [key for key in same if key == reference]
        there = self.found(int(reference.algorithm), reference.key_tag)
        return [key for key in there if _digest_fits(self.zone, key, reference, budget)]


def accepted(references: Iterable[DS | DNSKEY]) -> list[DS | DNSKEY]:
    """The DS and DNSKEY records whose algorithm and digest count; the others are as if they were not there."""
    return [
        reference
        for reference in references
        if int(reference.algorithm) in ALGORITHMS
        and (isinstance(reference, DNSKEY) or int(reference.digest_type) in DIGESTS)
    ]


def key_tag(key: DNSKEY) -> int:
    """The tag of a key of an algorithm in `ALGORITHMS` (RFC 4034 appendix B)."""
    wire = key.to_wire() or b""
    padded = wire + b"\x00" * (len(wire) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    return (total + (total >> 16)) & 0xFFFF


def usable_keys(keys: dns.rrset.RRset) -> tuple[DNSKEY, ...]:
    """Zone keys of protocol 3 that are not revoked (RFC 4034 section 2.1, RFC 5011 section 2.1), well-formed, ours."""
    return tuple(
        key for key in keys if isinstance(key, DNSKEY) and is_sound_zone_key(key) and not key.flags & Flag.REVOKE
    )


def is_sound_zone_key(key: DNSKEY) -> bool:
    """Whether a key is a zone key of an accepted algorithm and of a length that its algorithm has."""
    if not key.flags & Flag.ZONE or key.protocol != _PROTOCOL:
        return False
    if int(key.algorithm) == _RSASHA256:
        return _is_sound_rsa(key.key)
    return len(key.key) == _LENGTHS.get(int(key.algorithm))


def _is_sound_rsa(octets: bytes) -> bool:
    """RFC 3110 section 2: a length of one octet, or of three; exponent and modulus without leading zeros."""
    if len(octets) < _LONG_FORM:
        return False
    start, length = _SHORT_FORM, octets[0]
    if length == 0:
        start, length = _LONG_FORM, int.from_bytes(octets[1:_LONG_FORM], "big")
    exponent, modulus = octets[start : start + length], octets[start + length :]
    if not exponent or not modulus or len(modulus) > RSA_BITS.stop // 8 or not exponent[0] or not modulus[0]:
        return False
    return (
        len(exponent) * 8 - (8 - exponent[0].bit_length()) <= RSA_EXPONENT_BITS
        and int.from_bytes(modulus, "big").bit_length() in RSA_BITS
    )


def _digest_fits(zone: dns.name.Name, key: DNSKEY, ds: DS, budget: Budget) -> bool:
    """RFC 4034 section 5.1.4."""
    make = _HASHES.get(int(ds.digest_type))
    owner, wire = zone.canonicalize().to_wire(), key.to_wire()
    if make is None or owner is None or wire is None:
        return False
    budget.spend_digest()
    return bool(make(owner + wire).digest() == ds.digest)
