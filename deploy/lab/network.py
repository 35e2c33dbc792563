"""The lab's network as data: who takes part, under which names, holding which registers. Nothing here starts anything.

Every party is made up. The shape is the field's (shared `domain.md`): a vertrouwensleverancier, CIZ with the
Indicatieregister, two zorgkantoren (one of which holds a Bemiddelingsregister, so that there is a second audience)
and a zorgaanbieder. Two more parties were taken up with a domain that was in order and is not any more, so that the
refusal of an insecure and of a bogus domain can be seen.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from authz.domain.identifiers import Identifier, IdentifierKind

ENVIRONMENT: Final = "TST"


class Standing(StrEnum):
    """How the domain of a party stands in the lab's signed root."""

    SECURE = "secure"
    INSECURE = "insecure"
    """Delegated without a DS record: nobody signed it."""
    BOGUS = "bogus"
    """Delegated with a DS record that its signatures do not satisfy."""


@dataclass(frozen=True, slots=True)
class Party:
    """A deelnemer of the lab.

    Attributes:
        key: short name in paths and in `lab status --json`.
        name: organisation name in its certificate.
        identity: the identifier that its certificate asserts.
        organization_type: for example ZORGKANTOOR.
        kvk: chamber of commerce number, for the subject of its certificate.
        domain: its domain; every host of the party lies below it.
        hosts: host labels below `domain`, each a DNS name in the certificate and an address record in the zone.
        roles: roles in the scheme.
        standing: how its domain stands once the lab runs; it was secure when the party was taken up.
        dane: whether the scheme requires DANE of it; its zone then has TLSA records of its trust agents.
    """

    key: str
    name: str
    identity: Identifier
    organization_type: str
    kvk: str
    domain: str
    hosts: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    standing: Standing = Standing.SECURE
    dane: bool = False

    def host(self, label: str) -> str:
        """The full name of one of the party's hosts."""
        return f"{label}.{self.domain}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """Every full host name of the party; the domain itself where it has no hosts."""
        return tuple(self.host(label) for label in self.hosts) or (self.domain,)


@dataclass(frozen=True, slots=True)
class Datastation:
    """A register behind a trust agent.

    Attributes:
        key: short name of the datastation, as its processes are called.
        schema: which of the lab's registers it runs (`deploy.lab.register`).
        party: who holds it.
        register: name of the register, as in the scopes.
        gegevensdienst_id: `<organisation>_<function>_<environment>` in the address book.
        description: what the address book says about it.
        record_field: the filter field that names one record of the register.
        path: path of the GraphQL endpoint.
        scopes: what a token needs (one of them) to be used here.
        runs: False for a service that only stands in the address book.
    """

    key: str
    schema: str
    party: Party
    register: str
    gegevensdienst_id: str
    description: str
    record_field: str
    path: str
    scopes: tuple[str, ...]
    runs: bool = True

    @property
    def agent_host(self) -> str:
        """The name under which the trust agent is reached: the audience of its tokens."""
        return self.party.host("agent")

    @property
    def register_host(self) -> str:
        """The name of the resource server behind the agent."""
        return self.party.host("register")

    def audience(self, port: int) -> str:
        """The audience of its tokens: the address that callers use."""
        return f"https://{self.agent_host}:{port}{self.path}"

    def resource(self, port: int) -> str:
        """The address of the resource server, which answers the agent only."""
        return f"https://{self.register_host}:{port}{self.path}"


def _identifier(kind: IdentifierKind, value: str) -> Identifier:
    return Identifier(kind, value)


TRUST_PROVIDER: Final = Party(
    key="vertrouwensleverancier",
    name="Vertrouwensleverancier Lab",
    identity=_identifier(IdentifierKind.KVK, "90000001"),
    organization_type="VECOZO",
    kvk="90000001",
    domain="vertrouwen-lab.nl",
    hosts=("authz", "pki"),
    roles=("VERTROUWENSLEVERANCIER", "STELSELBEHEER"),
)
CIZ: Final = Party(
    key="ciz",
    name="CIZ Lab",
    identity=_identifier(IdentifierKind.OIN, "00000009900000020000"),
    organization_type="CIZ",
    kvk="90000002",
    domain="ciz-lab.nl",
    hosts=("agent", "register"),
    roles=("BRONHOUDER",),
    dane=True,
)
NORTH: Final = Party(
    key="noord",
    name="Zorgkantoor Noord",
    identity=_identifier(IdentifierKind.UZOVI, "5000"),
    organization_type="ZORGKANTOOR",
    kvk="90000003",
    domain="zorgkantoor-noord-lab.nl",
    roles=("RAADPLEGER",),
)
SOUTH: Final = Party(
    key="zuid",
    name="Zorgkantoor Zuid",
    identity=_identifier(IdentifierKind.UZOVI, "5001"),
    organization_type="ZORGKANTOOR",
    kvk="90000004",
    domain="zorgkantoor-zuid-lab.nl",
    hosts=("agent", "register"),
    roles=("RAADPLEGER", "BRONHOUDER"),
)
PROVIDER: Final = Party(
    key="zorgaanbieder",
    name="Zorgaanbieder De Linde",
    identity=_identifier(IdentifierKind.AGB, "01234567"),
    organization_type="ZORGAANBIEDER",
    kvk="90000005",
    domain="de-linde-lab.nl",
    roles=("RAADPLEGER",),
)
NEWCOMER: Final = Party(
    key="nieuwkomer",
    name="Zorgaanbieder De Wilg",
    identity=_identifier(IdentifierKind.AGB, "07654321"),
    organization_type="ZORGAANBIEDER",
    kvk="90000008",
    domain="de-wilg-lab.nl",
    roles=("RAADPLEGER",),
)
"""Stands in the scheme and has no certificate yet: whoever follows docs/tutorial/first-certificate.md enrols as it."""
UNSIGNED: Final = Party(
    key="onbeveiligd",
    name="Zorgkantoor Onbeveiligd",
    identity=_identifier(IdentifierKind.UZOVI, "5002"),
    organization_type="ZORGKANTOOR",
    kvk="90000006",
    domain="onbeveiligd-lab.nl",
    hosts=("agent", "register"),
    roles=("BRONHOUDER",),
    standing=Standing.INSECURE,
)
BROKEN: Final = Party(
    key="gebroken",
    name="Zorgkantoor Gebroken",
    identity=_identifier(IdentifierKind.UZOVI, "5003"),
    organization_type="ZORGKANTOOR",
    kvk="90000007",
    domain="gebroken-lab.nl",
    hosts=("agent", "register"),
    roles=("BRONHOUDER",),
    standing=Standing.BOGUS,
)

PARTIES: Final = (TRUST_PROVIDER, CIZ, NORTH, SOUTH, PROVIDER, NEWCOMER, UNSIGNED, BROKEN)
ENROLLED: Final = (TRUST_PROVIDER, CIZ, NORTH, SOUTH, PROVIDER)
"""The parties that get a certificate. Of the others, two only stand in the address book."""

INDICATION_SCOPE: Final = "registers/wlzindicatieregister/indicaties/indicatie:read"
MEDIATION_SCOPE: Final = "registers/wlzbemiddelingsregister/bemiddelingen/bemiddeling:read"
_MEDIATION_PATH: Final = "/iwlz/bemiddelingsregister/v1/graphql"


def _mediation(key: str, party: Party, *, runs: bool) -> Datastation:
    return Datastation(
        key=key,
        schema="bemiddeling",
        party=party,
        register="wlzbemiddelingsregister",
        gegevensdienst_id=f"{party.identity.value}_REGISTER_{ENVIRONMENT}",
        description=f"Bemiddelingsregister van {party.name}",
        record_field="bemiddelingID",
        path=_MEDIATION_PATH,
        scopes=(MEDIATION_SCOPE,),
        runs=runs,
    )


INDICATIONS: Final = Datastation(
    key="indicatieregister",
    schema="indicatie",
    party=CIZ,
    register="wlzindicatieregister",
    gegevensdienst_id=f"CIZ_REGISTER_{ENVIRONMENT}",
    description="Wlz Indicatieregister van CIZ",
    record_field="wlzindicatieID",
    path="/iwlz/indicatieregister/v2/graphql",
    scopes=(INDICATION_SCOPE, "registers/wlzindicatieregister/indicaties:read"),
)
MEDIATION: Final = _mediation("bemiddelingsregister", SOUTH, runs=True)
UNSIGNED_SERVICE: Final = _mediation("onbeveiligd", UNSIGNED, runs=False)
BROKEN_SERVICE: Final = _mediation("gebroken", BROKEN, runs=False)

DATASTATIONS: Final = (INDICATIONS, MEDIATION)
SERVICES: Final = (INDICATIONS, MEDIATION, UNSIGNED_SERVICE, BROKEN_SERVICE)
