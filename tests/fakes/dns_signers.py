"""Real DNS programs for differential tests: zones signed by ldns and by knot, and an unbound that validates them."""

import asyncio
import contextlib
import functools
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.xfr
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.dnskeybase import Flag

from deploy.lab.dns import Responder, Server
from pki.dnssec import DnssecState
from tests.support import free_port, require

ALGORITHM_NAMES = {
    7: "RSASHA1-NSEC3-SHA1",
    8: "RSASHA256",
    13: "ECDSAP256SHA256",
    14: "ECDSAP384SHA384",
    15: "ED25519",
    16: "ED448",
}
T = TypeVar("T")
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
MakeDs = Callable[[dns.name.Name, DNSKEY], list[str]]


def good_ds(zone: dns.name.Name, key: DNSKEY) -> list[str]:
    return [dns.dnssec.make_ds(zone, key, "SHA256").to_text()]


@dataclass(frozen=True)
class OwnKey:
    """A key that a test chose. `signs`: whether there are signatures by it, or it only stands there."""

    private: PrivateKey
    algorithm: int
    flags: int = 257
    signs: bool = True

    @property
    def public(self) -> DNSKEY:
        made = dns.dnssec.make_dnskey(self.private.public_key(), self.algorithm, flags=self.flags)
        assert isinstance(made, DNSKEY)
        return made


def ds_of(*keys: OwnKey) -> MakeDs:
    """The DS records of just these."""
    return lambda zone, _: [ds for key in keys for ds in good_ds(zone, key.public)]


@dataclass(frozen=True)
class Source:
    """One zone to sign.

    `signer`: `ldns`, `knot`, `keys` (signed with just those, for what the programs do not make), or empty for an
    unsigned zone. `ds`: what the parent publishes for it. `begins` and `ends`: days from now.
    """

    name: str
    records: str = ""
    signer: str = "ldns"
    algorithm: int = 13
    denial: str = "nsec"
    iterations: int = 0
    salt: str = ""
    ds: MakeDs = good_ds
    begins: int = -1
    ends: int = 20
    keys: tuple["OwnKey", ...] = ()

    @property
    def apex(self) -> dns.name.Name:
        return dns.name.from_text(self.name)


class Signed:
    """All sources signed, children before parents, ready for a `Responder`."""

    def __init__(self, sources: Iterable[Source], folder: Path) -> None:
        self._folder = folder
        self._sources = {source.apex: source for source in sources}
        self.zones: dict[dns.name.Name, dns.zone.Zone] = {}
        knot = [s for s in self._sources.values() if s.signer == "knot"]
        below_knot = [
            s for s in self._sources.values() if any(s is not k and s.apex.is_subdomain(k.apex) for k in knot)
        ]
        rest = [s for s in self._sources.values() if s not in knot and s not in below_knot]
        for source in sorted(below_knot, key=lambda s: -len(s.apex)):
            self._sign_alone(source)
        if knot:
            self._sign_with_knot(knot)
        for source in sorted(rest, key=lambda s: -len(s.apex)):
            self._sign_alone(source)

    def anchor(self) -> str:
        return "".join(f". IN DS {ds}\n" for ds in good_ds(dns.name.root, self._key(dns.name.root)))

    def responder(self) -> Responder:
        responder = Responder()
        for apex, zone in self.zones.items():
            responder.hold_zone(apex, zone)
        return responder

    def _key(self, apex: dns.name.Name) -> DNSKEY:
        keys = self.zones[apex].find_rdataset(apex, RdataType.DNSKEY)
        return next(key for key in keys if isinstance(key, DNSKEY) and key.flags & Flag.SEP)

    def _text(self, source: Source) -> str:
        origin = "." if source.apex == dns.name.root else f"{source.name}."
        lines = [f"$ORIGIN {origin}", "$TTL 300", "@ SOA ns. hostmaster. 1 3600 600 864000 300", "@ NS ns."]
        if origin == ".":
            lines.append("ns. A 127.0.0.1")
        for apex, child in self._sources.items():
            if apex != source.apex and self._parent(apex) == source.apex:
                lines.append(f"{apex} NS ns.")
                if child.signer:
                    lines += [f"{apex} DS {ds}" for ds in child.ds(apex, self._key(apex))]
        return "\n".join([*lines, source.records, ""])

    def _parent(self, apex: dns.name.Name) -> dns.name.Name | None:
        above = [other for other in self._sources if other != apex and apex.is_subdomain(other)]
        return max(above, key=len, default=None)

    def _sign_alone(self, source: Source) -> None:
        path = self._folder / f"{source.name or 'root'}.zone"
        path.write_text(self._text(source))
        if source.signer == "ldns":
            path = self._sign_with_ldns(source, path)
        zone = dns.zone.from_file(str(path), origin=source.apex, relativize=False)
        if source.signer == "keys":
            _sign_with_keys(source, zone)
        self.zones[source.apex] = zone

    def _sign_with_ldns(self, source: Source, path: Path) -> Path:
        origin = source.name or "."
        made = subprocess.run(
            [require("ldns-keygen"), "-k", "-r", "/dev/urandom", "-a", ALGORITHM_NAMES[source.algorithm]]
            + (["-b", "2048"] if source.algorithm in {7, 8} else [])
            + [origin],
            cwd=self._folder,
            check=True,
            capture_output=True,
            text=True,
        )
        signed = path.with_suffix(".signed")
        now = datetime.now(UTC)
        begins, ends = (str(int((now + timedelta(days=d)).timestamp())) for d in (source.begins, source.ends))
        denial = []
        if source.denial != "nsec":
            denial = ["-n", "-t", str(source.iterations), *(["-s", source.salt] if source.salt else [])]
            denial += ["-p"] if source.denial == "nsec3-opt-out" else []
        command = [require("ldns-signzone"), *denial, "-i", begins, "-e", ends, "-o", origin, "-f", str(signed)]
        subprocess.run([*command, str(path), made.stdout.strip()], cwd=self._folder, check=True, capture_output=True)
        return signed

    def _sign_with_knot(self, sources: list[Source]) -> None:
        folder = self._folder / "knot"
        folder.mkdir()
        port = free_port()
        policies, zones = [], []
        for source in sources:
            (folder / f"{source.name}.zone").write_text(self._text(source))
            policies.append(
                f"  - id: {source.name}\n    algorithm: {ALGORITHM_NAMES[source.algorithm].lower()}\n"
                "    single-type-signing: on\n    nsec3-salt-length: 0\n    nsec3-iterations: 0\n"
                f"    nsec3: {'off' if source.denial == 'nsec' else 'on'}\n"
                f"    nsec3-opt-out: {'on' if source.denial == 'nsec3-opt-out' else 'off'}\n"
            )
            zones.append(
                f"  - domain: {source.name}\n    file: {source.name}.zone\n    dnssec-signing: on\n"
                f"    dnssec-policy: {source.name}\n    acl: transfer\n    zonefile-sync: -1\n"
            )
        config = folder / "knot.conf"
        config.write_text(
            f"server:\n  rundir: {folder}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n"
            f"  background-workers: 1\ndatabase:\n  storage: {folder}\n"
            "acl:\n  - id: transfer\n    address: 127.0.0.1\n    action: transfer\n"
            f"policy:\n{''.join(policies)}"
            f"template:\n  - id: default\n    storage: {folder}\n"
            f"zone:\n{''.join(zones)}"
        )
        with running([require("knotd"), "-c", str(config)], folder / "knot.log"):
            for source in sources:
                self.zones[source.apex] = until(functools.partial(_transfer, source, port), "knot to sign its zones")


def _sign_with_keys(source: Source, zone: dns.zone.Zone) -> None:
    now = datetime.now(UTC)
    rdataset = zone.find_rdataset(source.apex, RdataType.DNSKEY, create=True)
    for key in source.keys:
        rdataset.add(key.public, 300)
    dns.dnssec.sign_zone(
        zone,
        keys=[(key.private, key.public) for key in source.keys if key.signs],
        add_dnskey=False,
        inception=now + timedelta(days=source.begins),
        expiration=now + timedelta(days=source.ends),
        policy=dns.dnssec.allow_all_policy,
    )


def _transfer(source: Source, port: int) -> dns.zone.Zone | None:
    zone = dns.zone.Zone(source.apex, relativize=False)
    try:
        dns.query.inbound_xfr("127.0.0.1", zone, port=port, timeout=5)
    except (OSError, EOFError, dns.exception.DNSException):
        return None
    return zone if zone.get_rdataset(source.apex, RdataType.DNSKEY) is not None else None


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A program for the length of a block; its output goes to `log`."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def until(attempt: Callable[[], T | None], what: str, seconds: float = 20) -> T:
    """Poll until there is a result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = attempt()
        if result is not None:
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


Change = Callable[[dns.message.Message], dns.message.Message]


class Tampering:
    """A responder whose answers to some questions are changed on their way (implements `server.Answering`)."""

    def __init__(self, responder: Responder, changes: Mapping[tuple[str, str], Change]) -> None:
        self._responder = responder
        self._changes = {
            (dns.name.from_text(owner), dns.rdatatype.from_text(rdtype)): change
            for (owner, rdtype), change in changes.items()
        }

    def respond(self, query: dns.message.Message) -> dns.message.Message:
        answer = self._responder.respond(query)
        asked = query.question[0]
        change = self._changes.get((asked.name, asked.rdtype))
        return answer if change is None else change(answer)


@contextlib.contextmanager
def serving(answering: Tampering | Responder) -> Iterator[int]:
    """A name server in a thread of its own, so that tests with other event loops can ask it; yields its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = Server(answering)
    port = asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def unbound(anchor: str, forward_port: int, folder: Path) -> Iterator[int]:
    """A validating unbound that forwards everything to one loopback port; yields its own port."""
    port = free_port()
    anchor_file = folder / "anchor"
    anchor_file.write_text(anchor)
    config = folder / "unbound.conf"
    config.write_text(
        f"""server:
  interface: 127.0.0.1
  port: {port}
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "validator iterator"
  trust-anchor-file: "{anchor_file}"
  trust-anchor-signaling: no
  do-not-query-localhost: no
  qname-minimisation: no
  aggressive-nsec: no
  val-nsec3-keysize-iterations: "1024 100 2048 100 4096 100"
  val-log-level: 2
  edns-buffer-size: 1232
  local-zone: "example." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{forward_port}
"""
    )
    with running([require("unbound"), "-d", "-c", str(config)], folder / "unbound.log"):
        until(lambda: _answers(port), "unbound to answer")
        yield port


def _answers(port: int) -> bool | None:
    try:
        dns.query.udp(dns.message.make_query(".", "SOA"), "127.0.0.1", 0.5, port)
    except (OSError, dns.exception.DNSException):
        return None
    return True


def opinion_of_unbound(port: int, owner: str, rdtype: str) -> DnssecState:
    """What unbound thinks of a name, in our words: it cannot tell indeterminate, and tells bogus by CD=1 only."""
    query = dns.message.make_query(owner, rdtype, want_dnssec=True)
    answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", 10, port)
    if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return DnssecState.SECURE if answer.flags & dns.flags.AD else DnssecState.INSECURE
    query = dns.message.make_query(owner, rdtype, want_dnssec=True)
    query.flags |= dns.flags.CD
    answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", 10, port)
    return DnssecState.UNREACHABLE if answer.rcode() == dns.rcode.SERVFAIL else DnssecState.BOGUS
