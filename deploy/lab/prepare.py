"""Everything that must be on disk before the lab's programs start: CA, keys, certificates, zones, settings.

Uses the same functions, database and settings as the command line of each part; one process instead of twenty makes the
lab start in seconds.
"""

import asyncio
import json
import secrets
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from authz.edge.settings import load_settings
from authz.operations import Operations
from authz.settings import AuthzSettings
from deploy.lab import settings
from deploy.lab.components import START_PATIENCE
from deploy.lab.enrolment import write_request
from deploy.lab.layout import DNS, DNS_PORT, PKI_PORT, Layout, agent_port
from deploy.lab.network import DATASTATIONS, ENROLLED, ENVIRONMENT, INDICATIONS, NORTH, PARTIES, TRUST_PROVIDER, Party
from deploy.lab.ports import LOOPBACK
from deploy.lab.queries import body, published_or_own, variables
from deploy.lab.register.people import indication_id
from deploy.lab.running import RunningLab
from deploy.lab.toml import to_toml
from deploy.lab.zones import Records, zones_json
from pki.app import open_authority
from pki.audit.records import operator
from pki.ceremony import CeremonyPlan, hold_ceremony
from pki.dnssec import ChainValidator, Resolver, parse_anchors
from pki.dnssec.dane import tlsa_for
from pki.doctor.presented import chain_of
from pki.enrolment.requests import parse_request
from pki.issuing import Holder
from pki.settings import PkiSettings

_OWNER_ONLY: Final = 0o700
_PASSPHRASE_BYTES: Final = 24
_POLL: Final = 0.05
"""Seconds between looks at a domain that is about to change."""


class Preparation:
    """What the lab itself makes.

    Args:
        lab: its folder exists and its ports are chosen.
        token_lifetime: seconds; None leaves it to authz.
        clock_skew: seconds; None leaves it to the trust agents.
        without_certificate: keys of parties that will enrol later.
    """

    def __init__(
        self,
        lab: RunningLab,
        *,
        token_lifetime: int | None = None,
        clock_skew: int | None = None,
        without_certificate: Sequence[str] = (),
    ) -> None:
        self._lab = lab
        self._token_lifetime = token_lifetime
        self._clock_skew = clock_skew
        self._enrolling = [party for party in ENROLLED if party.key not in without_certificate]

    def folders(self) -> None:
        """Folders, zones, and ready request bodies: nothing that takes time."""
        layout = self._lab.layout
        for folder in _folders(layout):
            folder.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
        layout.zones.write_text(zones_json(PARTIES, at_onboarding=True), encoding="utf-8")
        query, _ = published_or_own()
        values = variables(indication_id(NORTH.identity.value), NORTH.identity.value)
        layout.query.write_bytes(body(query, values))
        request = {
            "grant_type": "client_credentials",
            "scope": INDICATIONS.scopes[0],
            "audience": self._lab.audience(INDICATIONS),
        }
        layout.token_request.write_text(json.dumps(request), encoding="utf-8")

    def ceremony(self) -> None:
        """The CA and its keys."""
        _hold_ceremony(self._lab)

    def certificates(self) -> None:
        """A certificate for each party that enrols now; the DNS server must run, and its anchor be known."""
        with self._lab.layout.pki_settings.open("a", encoding="utf-8") as written:
            written.write("\n" + to_toml({"dnssec": settings.dnssec(self._lab)}))
        asyncio.run(_enrol(self._lab.layout, self._enrolling))
        _write(self._lab.layout.pki_settings, settings.pki_settings(self._lab))

    def scheme(self) -> None:
        """The keys of authz, who takes part, and what trust agents must know of authz; the DNS server must run.

        When everybody is taken up, the domains of two parties break.
        """
        lab, layout = self._lab, self._lab.layout
        _passphrase(layout.authz_passphrase)
        _write(layout.authz_settings, settings.authz_settings(lab, self._token_lifetime))
        _write(layout.scheme, settings.scheme(lab))
        operations = Operations(load_settings(AuthzSettings, layout.authz_settings))

        async def act() -> str:
            keys = await operations.init_keys()
            await operations.import_scheme(layout.scheme)
            await _break_domains(lab)
            return str(keys["bundle_key"]["key_id"])

        bundle_key_id = asyncio.run(act())
        for station in DATASTATIONS:
            document = settings.agent_settings(lab, station, bundle_key_id, self._clock_skew)
            _write(layout.agent_settings(station.key), document)


def _folders(layout: Layout) -> list[Path]:
    return [
        layout.dns,
        layout.pki,
        layout.authz,
        *(layout.party(party) for party in ENROLLED),
        *(layout.agent(station.key) for station in DATASTATIONS),
        *(layout.register(station.key) for station in DATASTATIONS),
    ]


def _hold_ceremony(lab: RunningLab) -> None:
    layout = lab.layout
    issuing = _passphrase(layout.pki_passphrase)
    hold_ceremony(
        CeremonyPlan(
            folder=layout.pki,
            organization=TRUST_PROVIDER.name,
            environment=ENVIRONMENT,
            base_url=f"http://{TRUST_PROVIDER.host('pki')}:{lab.state.ports[PKI_PORT]}",
            listen_port=lab.state.ports[PKI_PORT],
            # Used for this ceremony and thrown away with the process: the root of a lab signs once.
            root_passphrase=secrets.token_urlsafe(_PASSPHRASE_BYTES).encode(),
            issuing_passphrase=issuing,
            issuing_passphrase_file=layout.pki_passphrase,
            # Every new connection verifies two signatures of the root; with P-384 they would be half its cost (0084).
            root_kind="ec-p256",
            witness="lab up",
        ),
        datetime.now(UTC),
    )
    layout.anchors.write_bytes((layout.pki / "root.crt").read_bytes())


async def _enrol(layout: Layout, parties: Sequence[Party]) -> None:
    """Each party makes its key and request; the CA certifies, as its command line would."""
    ceremony = load_settings(PkiSettings, layout.pki_settings)
    # Certificates name the OCSP responder from the first one on.
    published = ceremony.publication.model_copy(update={"ocsp": True})
    async with open_authority(ceremony.model_copy(update={"publication": published})) as authority:
        for party in parties:
            request = write_request(layout.party(party))
            holder = Holder(party.identity, party.name, party.kvk, party.dns_names)
            issued = await authority.issue(holder, parse_request(request.read_bytes()), operator("lab"))
            layout.credentials(party).chain.write_text(authority.chain_pem(issued.certificate), encoding="ascii")


async def _break_domains(lab: RunningLab) -> None:
    """Let domains stand as the network says, with the TLSA records of certificates, and wait until that can be seen.

    Raises:
        TimeoutError: it is not seen in time.
    """
    lab.layout.zones.write_text(zones_json(PARTIES, more=_tlsa(lab)), encoding="utf-8")
    lab.state.processes[DNS].signal(signal.SIGHUP)
    wanted = {party.dns_names[0]: party.standing.value for party in PARTIES}
    validator = ChainValidator(
        resolver=Resolver([(LOOPBACK, lab.state.ports[DNS_PORT])]),
        anchors=parse_anchors(lab.layout.dns_anchor.read_text(encoding="ascii")),
    )
    deadline = monotonic() + START_PATIENCE
    for name, state in wanted.items():
        while (found := (await validator.check(name, datetime.now(UTC))).state.value) != state:
            if monotonic() > deadline:
                raise TimeoutError(f"{name} is still {found} in DNS, and should be {state}")
            await asyncio.sleep(_POLL)


def _tlsa(lab: RunningLab) -> dict[str, Records]:
    """TLSA records, by domain, for the trust agents of parties that must have DANE."""
    found: dict[str, Records] = {}
    for station in DATASTATIONS:
        if station.party.dane:
            leaf = chain_of(lab.credentials(station.party).chain)[0]
            label = station.agent_host.removesuffix(f".{station.party.domain}")
            owner = f"_{lab.state.ports[agent_port(station.key)]}._tcp.{label}"
            found[station.party.domain] = {**found.get(station.party.domain, {}), owner: {"TLSA": [tlsa_for(leaf)]}}
    return found


def _passphrase(path: Path) -> bytes:
    """Make a passphrase in a file that only its owner reads."""
    passphrase = secrets.token_urlsafe(_PASSPHRASE_BYTES)
    path.touch(mode=0o600)
    path.write_text(passphrase + "\n", encoding="ascii")
    return passphrase.encode()


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(to_toml(document), encoding="utf-8")
