"""Where everything of a lab lies below its folder, and the names of its listeners and programs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.lab.client import Credentials
from deploy.lab.network import DATASTATIONS, ENVIRONMENT, Party

DEFAULT_FOLDER: Final = Path(".lab") / "network"
"""`lab up` without `--dir`; relative to where it is called."""

DNS_PORT: Final = "dns"
PKI_PORT: Final = "pki"
"""Plain HTTP: CRLs and CA certificates, which are signed by themselves."""
PKI_TLS_PORT: Final = "pki-tls"
AUTHZ_PORT: Final = "authz"


ROOT_CA: Final = "root"
ISSUING_CA: Final = f"issuing-{ENVIRONMENT.lower()}"
"""Names of the two CAs in files and in the URLs of their CRLs, as `pki ceremony` makes them."""


def agent_port(datastation: str) -> str:
    """The name of the port of a datastation's trust agent."""
    return f"{datastation}-agent"


def register_port(datastation: str) -> str:
    """The name of the port of a datastation's resource server."""
    return f"{datastation}-register"


def health_port(datastation: str) -> str:
    """The name of the port where a trust agent tells its operator how it is."""
    return f"{datastation}-health"


PORTS: Final = (
    DNS_PORT,
    PKI_PORT,
    PKI_TLS_PORT,
    AUTHZ_PORT,
    *(agent_port(station.key) for station in DATASTATIONS),
    *(health_port(station.key) for station in DATASTATIONS),
    *(register_port(station.key) for station in DATASTATIONS),
)

CEREMONY: Final = "ceremony"
CERTIFICATES: Final = "certificates"
SCHEME: Final = "scheme"
"""Work of the lab itself that programs wait for (`deploy.lab.prepare`)."""
LISTED: Final = "listed"
"""Waiting until every datastation stands in the address book (`deploy.lab.listing`)."""

DNS: Final = "dns"
PKI: Final = "pki"
AUTHZ: Final = "authz"


def agent_component(datastation: str) -> str:
    """The name of the program that is a datastation's trust agent."""
    return f"agent-{datastation}"


def front_component(datastation: str) -> str:
    """The name of the program that is the TLS end of a datastation's resource server."""
    return f"front-{datastation}"


def register_component(datastation: str) -> str:
    """The name of the program that is a datastation's resource server."""
    return f"register-{datastation}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Files of one lab; every path is absolute."""

    folder: Path

    @property
    def anchors(self) -> Path:
        """PEM file with the root of the lab's own CA: what every party trusts."""
        return self.folder / "anchors.pem"

    def party(self, party: Party) -> Path:
        """What belongs to one party, its key among it."""
        return self.folder / "parties" / party.key

    def credentials(self, party: Party) -> Credentials:
        """The party's certificate chain and key."""
        return Credentials(self.party(party) / "chain.pem", self.party(party) / "key.pem")

    def request(self, party: Party) -> Path:
        """The party's certificate request."""
        return self.party(party) / "request.pem"

    @property
    def pki(self) -> Path:
        """The CA's own folder."""
        return self.folder / "pki"

    @property
    def pki_settings(self) -> Path:
        """Settings of `pki`."""
        return self.pki / "pki.toml"

    @property
    def issuing_ca(self) -> Path:
        """Certificate of the issuing CA: whose key it is that asserts identities."""
        return self.pki / f"{ISSUING_CA}.crt"

    @property
    def pki_passphrase(self) -> Path:
        """Opens the key of the issuing CA."""
        return self.pki / "issuing.passphrase"

    @property
    def authz(self) -> Path:
        """The authorization server's own folder."""
        return self.folder / "authz"

    @property
    def authz_settings(self) -> Path:
        """Settings of `authz`."""
        return self.authz / "authz.toml"

    def agent(self, datastation: str) -> Path:
        """A trust agent's own folder."""
        return self.folder / "agents" / datastation

    def agent_settings(self, datastation: str) -> Path:
        """Settings of a `trust-agent`."""
        return self.agent(datastation) / "agent.toml"

    def register(self, datastation: str) -> Path:
        """A resource server's own folder."""
        return self.folder / "registers" / datastation

    @property
    def dns(self) -> Path:
        """The DNS server's own folder."""
        return self.folder / "dns"

    @property
    def authz_keys(self) -> Path:
        """Encrypted keys of authz."""
        return self.authz / "keys"

    @property
    def authz_passphrase(self) -> Path:
        """Opens the keys of authz."""
        return self.authz / "keys.passphrase"

    @property
    def bundle_key(self) -> Path:
        """Public key that policy bundles are verified with."""
        return self.authz_keys / "bundle.pub.pem"

    @property
    def scheme(self) -> Path:
        """Deelnemers and address book, for `authz scheme import`."""
        return self.authz / "scheme.toml"

    @property
    def zones(self) -> Path:
        """What the DNS server serves."""
        return self.dns / "zones.json"

    @property
    def dns_anchor(self) -> Path:
        """DS lines of the private root: the anchor for everyone who checks a domain."""
        return self.dns / "anchor.txt"

    @property
    def token_request(self) -> Path:
        """A ready request body: a token for the Indicatieregister, as iWlz RFC0014 writes it."""
        return self.folder / "token-request.json"

    @property
    def query(self) -> Path:
        """A ready request body: the consultation of QIR-0001-ZKi by zorgkantoor Noord."""
        return self.folder / "qir-0001.json"


def program(name: str) -> str:
    """One of the product's own commands, from the environment that this interpreter belongs to."""
    return str(Path(sys.executable).parent / name)


def checkout() -> Path:
    """The folder that this lab runs from."""
    return Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Variables for every program of the lab: the modules of the checkout, wherever the command was given."""
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(checkout()), *([inherited] if inherited else [])])}
