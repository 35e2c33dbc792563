"""What may be asked: a host or domain name and a record type, as people and settings write them.

Only plain ASCII counts. A name with other letters has an ASCII form (`xn--...`), and which one depends on the version
of the rules (RFC 3490 and RFC 5891 differ for the German sharp s): the check must not choose another domain than the
one that is connected to.
"""

import ipaddress
import re
from typing import Final

import dns.exception
import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType

from authz.domain.errors import InvalidValue

MAX_TEXT: Final = 254
"""Characters of a name with its final dot (RFC 1035 section 2.3.4)."""
_NAME: Final = re.compile(r"\.|(?:[A-Za-z0-9_*-]{1,63}\.)*[A-Za-z0-9_*-]{1,63}\.?")
_TYPE: Final = re.compile(r"[A-Za-z0-9-]{1,16}")
_NOT_DATA: Final = frozenset({RdataType.NONE, RdataType.RRSIG, RdataType.NSEC3})
"""Types that are no data of a name: nobody signs them under it."""


def parse_question(name: str, rdtype: str) -> tuple[dns.name.Name, RdataType]:
    """Read a question.

    Args:
        name: a host or domain name, with or without the final dot; `.` is the root.
        rdtype: for example `A`, `TLSA` or `TYPE257`.

    Raises:
        InvalidValue: it cannot be asked; the text says what is expected, and repeats nothing of it.
    """
    return parse_name(name), parse_type(rdtype)


def parse_name(name: str) -> dns.name.Name:
    """A name, absolute and in lower case.

    Raises:
        InvalidValue: not a name.
    """
    if not name.isascii():
        raise InvalidValue("not a well-formed domain name: write it in ASCII (xn--... for other letters)")
    if len(name) > MAX_TEXT or _NAME.fullmatch(name) is None:
        raise InvalidValue(
            "not a well-formed domain name: expected labels of 1 to 63 letters, digits, hyphens or underscores with "
            "dots between them, 253 characters at most, and no address, port or path"
        )
    try:
        ipaddress.ip_address(name.rstrip("."))
    except ValueError:
        pass
    else:
        raise InvalidValue("not a well-formed domain name: an IP address has no DNSSEC standing")
    try:
        return dns.name.from_text(name).canonicalize()
    except dns.exception.DNSException as problem:
        raise InvalidValue("not a well-formed domain name: too long") from problem


def parse_type(text: str) -> RdataType:
    """A record type.

    Raises:
        InvalidValue: not a type, or one that is no data of a name.
    """
    expected = "not a record type: expected one like A, AAAA, TLSA, or TYPE0 to TYPE65535"
    if _TYPE.fullmatch(text) is None:
        raise InvalidValue(expected)
    try:
        kind = dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError) as problem:
        raise InvalidValue(expected) from problem
    if dns.rdatatype.is_metatype(kind) or kind in _NOT_DATA:
        raise InvalidValue("this record type cannot be checked: it is no data of a name")
    return kind
