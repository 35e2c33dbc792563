"""What to do about an outcome that is not secure, and who does it, in the words of a zone operator.

Specification: shared `spec/dnssec.md` ("each with its own message that a DNS operator can act on"). The message of a
result says what was found; advice says where it is repaired. It is for people: nothing decides on it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pki.dnssec.model import Answer, DnssecResult, DnssecState

SOON: Final = timedelta(days=3)
"""A signature that ends within this time is warned about; signers renew well before."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What helps.

    Attributes:
        where: who or what has to change.
        what: what to change.
    """

    where: str
    what: str


def advise(result: DnssecResult) -> Advice | None:
    """Advice on an outcome; None when there is nothing to repair.

    A name that is proven not to exist is secure and yet of no use to who wants to reach it, so it has advice too.
    """
    if result.state is DnssecState.SECURE:
        if result.answer is Answer.NXDOMAIN:
            return Advice(
                "the zone that would hold the name",
                f"{result.name} is proven not to exist: publish it, or check the spelling.",
            )
        return None
    for pattern, make in _RULES:
        found = pattern.search(result.message)
        if found is not None:
            return make(found)
    return _BY_STATE[result.state]


def warnings(result: DnssecResult, at: datetime) -> tuple[str, ...]:
    """What is secure now and will soon not be, or is secure in a way that is worth knowing."""
    found = [
        f"the signature on {link.name} ends {link.expires:%Y-%m-%d %H:%M} UTC: is the signer of {link.zone} running?"
        for link in result.chain
        if link.expires is not None and at < link.expires <= at + SOON
    ]
    return tuple(dict.fromkeys(found))


def _spoken(name: str) -> str:
    """A zone as people write it: without the final dot, and the root by its name."""
    return "the root" if name == "." else name.rstrip(".,:")


_Make = Callable[[re.Match[str]], Advice]


def _rule(pattern: str, where: str, what: str) -> tuple[re.Pattern[str], _Make]:
    def make(found: re.Match[str]) -> Advice:
        groups = {key: _spoken(value or "") for key, value in found.groupdict().items()}
        return Advice(where.format(**groups), what.format(**groups))

    return re.compile(pattern), make


# In order: the first that fits counts. Names of zones in messages end with a dot, which the patterns keep.
_RULES: Final[tuple[tuple[re.Pattern[str], _Make], ...]] = (
    # Insecure.
    _rule(
        r"no DS at (?P<parent>\S+) for (?P<child>[^\s,]+), and no signed proof",
        "the name servers of {parent}",
        "They must answer DS questions about {child} with signed NSEC or NSEC3 records. If only this resolver gets "
        "answers without them, something between strips DNSSEC: ask another resolver.",
    ),
    _rule(
        r"no DS at (?P<parent>\S+) for (?P<child>\S+)",
        "the registrar of {child} (it publishes in {parent})",
        "Sign {child} (algorithm 13) and have its DS record, SHA-256 of the key-signing key, published in {parent}.",
    ),
    _rule(
        r"for (?P<zone>\S+) names only algorithms or digests that are not accepted",
        "the signer of {zone} and its registrar",
        "Roll {zone} to algorithm 13 (or 8, 14, 15, 16) and publish a DS with digest type 2 (SHA-256); SHA-1 does not "
        "count any more.",
    ),
    _rule(
        r"(?P<zone>\S+) uses \d+ NSEC3 iterations",
        "the signer of {zone}",
        "Set the NSEC3 iterations to 0 and the salt to none (RFC 9276), or use NSEC, and sign again.",
    ),
    _rule(
        r"lies in an opt-out span of (?P<zone>\S+)",
        "the signer of {zone}",
        "Sign {zone} without NSEC3 opt-out, or give the name signed records of its own.",
    ),
    _rule(
        r"could not validate (?P<what>\S+): a zone above",
        "the registrar of the zone",
        "Run the check with --mode validate to see which delegation has no DS.",
    ),
    # Bogus: signatures.
    _rule(
        r"expired (?P<when>\S+): re-sign (?P<zone>\S+)",
        "the signer of {zone}",
        "Sign {zone} again and find out why that did not happen by itself; if the primary is fine, a secondary did not "
        "transfer the zone since {when}.",
    ),
    _rule(
        r"is not valid before (?P<when>[^\s:]+\S*): check the clock of the signer of (?P<zone>\S+)",
        "the signer of {zone}",
        "Set the clock of the machine that signs {zone} (NTP), and sign again. Check the clock of this machine too.",
    ),
    _rule(
        r"no RRSIG on (?P<what>\S+) although (?P<zone>\S+) is signed",
        "the name servers of {zone}",
        "Every name server of {zone} must serve the signed zone and answer with signatures; compare them one by one "
        "with `dig +dnssec`.",
    ),
    _rule(
        r"is by key (?P<tag>\d+) that (?P<zone>\S+) does not vouch for",
        "the signer of {zone}",
        "Publish key {tag} in the DNSKEY set of {zone}, or sign with a key that is there: in a rollover a key leaves "
        "after its last signature.",
    ),
    _rule(
        r"does not fit the data: re-sign (?P<zone>\S+)",
        "the signer of {zone}",
        "Records of {zone} were changed after signing. Sign again and transfer to every name server.",
    ),
    _rule(
        r"names signer \S+ expected (?P<zone>\S+)",
        "the name servers of {zone}",
        "The answer is signed by another zone: check that {zone} is delegated and served where its DS says.",
    ),
    _rule(
        r"uses algorithm (?P<number>\d+), which is not accepted",
        "the signer of the zone",
        "Sign with algorithm 13 (or 8, 14, 15, 16) as well; {number} is not accepted.",
    ),
    # Bogus: delegation and keys.
    _rule(
        r"the trust anchor for (?P<zone>\S+) .*matches no DNSKEY",
        "this machine's trust anchor",
        "The configured anchor is not of a key that {zone} uses now: get the current anchor from who runs {zone} "
        "(for the public root: `pki dnssec anchors`).",
    ),
    _rule(
        r"the DS at (?P<parent>\S+) for (?P<child>\S+) .*matches no DNSKEY",
        "the registrar of {child} (it publishes in {parent})",
        "Replace the DS in {parent} by that of a key that {child} has now; until then nobody who validates reaches it.",
    ),
    _rule(
        r"(?P<zone>\S+) publishes no DNSKEY although",
        "the name servers of {zone}",
        "{zone} was signed and is not any more: sign it again, or have the DS removed by the registrar (it is then "
        "insecure, which this network refuses as well).",
    ),
    _rule(
        r"(?P<zone>\S+) answers that (?P<what>\S+) is not there, without a proof",
        "the name servers of {zone}",
        "Their NSEC or NSEC3 records are missing or wrong: sign {zone} again and serve it whole.",
    ),
    _rule(
        r"comes from \*\.(?P<zone>\S+) without proof",
        "the name servers of {zone}",
        "An answer from a wildcard must come with the NSEC or NSEC3 record that shows that no closer name exists.",
    ),
    _rule(
        r"\(limit against KeyTrap\)",
        "the signer of the zone",
        "Remove keys and signatures that are not in use; a zone needs two or three keys.",
    ),
    _rule(
        r"the resolver refuses (?P<what>\S+) as bogus",
        "the zone of {what}",
        "Run the check with --mode validate: it tells which signature or delegation is wrong.",
    ),
    # Indeterminate.
    _rule(
        r"no trust anchor is configured",
        "this machine's settings",
        "Name an anchor for this name with --anchor, or leave it out for the public root.",
    ),
    _rule(
        r"does not pass on DNSSEC records",
        "the resolver that was asked",
        "Use a resolver that passes DNSSEC records on (EDNS and DO); many home routers do not.",
    ),
    _rule(
        r"shorten the (?:CNAME )?chain|run in a circle",
        "the zones with the aliases",
        "Point the alias at its last target directly.",
    ),
    _rule(
        r"not a well-formed|not a record type|cannot be checked",
        "the command line",
        "Check the spelling of the name and the record type.",
    ),
    _rule(
        r"the resolver at (?P<resolver>\S+) does not validate",
        "the resolver {resolver}, on this machine",
        "Give it a trust anchor and have it validate (unbound: auto-trust-anchor-file), or use --mode validate.",
    ),
    # Unreachable.
    _rule(
        r"no answer from resolver (?P<resolver>\S+) \((?P<why>[^)]+)\)",
        "the zone, or the resolver {resolver}",
        "Something answers, but with {why}. Ask another resolver; if it gives the same, the zone has to publish less.",
    ),
    _rule(
        r"no answer from resolver (?P<resolver>\S+)",
        "the resolver {resolver}",
        "Check that it runs and that UDP and TCP to it are let through, or name another with --resolver.",
    ),
    _rule(
        r"the resolver answers (?P<code>\S+) for (?P<what>[^\s:]+)",
        "the name servers of the zone of {what}",
        "The resolver gets no usable answer from them ({code}): check that each is up, answers for the zone, and is "
        "reached over UDP and TCP.",
    ),
    _rule(
        r"no outcome within",
        "the resolver and the name servers",
        "They answer too slowly: try again, and measure each name server.",
    ),
)

_BY_STATE: Final = {
    DnssecState.INSECURE: Advice("the zone or its parent", "Sign the zone and publish its DS in the parent."),
    DnssecState.BOGUS: Advice(
        "the signer of the zone", "Sign the zone again, and compare its keys with the DS in the parent."
    ),
    DnssecState.INDETERMINATE: Advice("this machine's settings", "Check the trust anchor and the resolver."),
    DnssecState.UNREACHABLE: Advice("the resolver and the name servers", "Check that both are up and reachable."),
}
