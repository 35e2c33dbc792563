"""The published schemas and query templates of the network, unchanged, through the agent's own parts.

Published data is read where it lies (`tests.support.vectors`); none of it is copied here.
"""

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphql import GraphQLObjectType, OperationDefinitionNode, build_schema, get_named_type, is_leaf_type, parse

from authz.domain.claims import AccessTokenClaims
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.scopes import ScopeSet
from authz.domain.tracing import TraceContext
from authz.policy.default import load_default
from authz.policy.engine import ACCESS_DECISION, Decision
from authz.policy.wasm import WasmEngine
from deploy.lab.register import PUBLIC_FIELDS, SCHEMAS, people
from deploy.lab.register.app import register as lab_register
from tests.fakes.claims import CLAIMS
from tests.support import vectors
from trust_agent.authzen import RequestContext, access_input
from trust_agent.graphql import CanonicalRequest, Register, SchemaRefused

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.vectors

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIGURATION = tomllib.loads((Path(__file__).parent / "indicatieregister-2.toml").read_text(encoding="utf-8"))
OWN = people.indication_id("5000")
CONTEXT = RequestContext("wlzindicatieregister", "WLZ_UITVOERING", NOW, TraceContext("a" * 32, "b" * 16))

CONTACT = "contactGegevensID"
ADDRESS = (
    "adresID adresSoort straatnaam huisnummer huisnummerToevoeging postcode plaatsnaam landCode aanduidingWoonadres"
    " ingangsdatum einddatum"
)
EMAIL = "emailID emailadres ingangsdatum einddatum"
TELEPHONE = "telefoonID telefoonnummer landnummer ingangsdatum einddatum"
EXPECTED = [
    (
        "Query.wlzIndicatie",
        "wlzIndicatie",
        (
            "wlzindicatieID bsn besluitnummer soortWlzindicatie afgiftedatum ingangsdatum einddatum meerzorg"
            " initieelVerantwoordelijkZorgkantoor vervaldatum commentaar"
        ),
    ),
    ("WlzIndicatie.grondslag", "wlzIndicatie/grondslag", "grondslagID grondslag volgorde"),
    (
        "WlzIndicatie.geindiceerdZorgzwaartepakket",
        "wlzIndicatie/geindiceerdZorgzwaartepakket",
        (
            "geindiceerdZorgzwaartepakketID zzpCode ingangsdatum einddatum voorkeurClient instellingVoorkeur"
            " financiering commentaar"
        ),
    ),
    ("WlzIndicatie.beperking", "wlzIndicatie/beperking", "beperkingID categorie duur commentaar"),
    (
        "Beperking.beperkingScore",
        "wlzIndicatie/beperking/beperkingScore",
        "beperkingScoreID beperkingVraag beperkingScore commentaar",
    ),
    (
        "WlzIndicatie.stoornis",
        "wlzIndicatie/stoornis",
        "stoornisID grondslag diagnoseCodelijst diagnoseSubCodelijst ziektebeeldStoornis prognose commentaar",
    ),
    (
        "WlzIndicatie.stoornisScore",
        "wlzIndicatie/stoornisScore",
        "stoornisScoreID stoornisVraag stoornisScore commentaar",
    ),
    ("WlzIndicatie.wzd", "wlzIndicatie/wzd", "wzdID wzdVerklaring ingangsdatum einddatum"),
    (
        "WlzIndicatie.client",
        "wlzIndicatie/client",
        (
            "clientID bsn geheimeClient geboorteDatum geboortedatumGebruik geslacht burgerlijkeStaat geslachtsnaam"
            " voorvoegselGeslachtsnaam partnernaam voorvoegselPartnernaam voornamen roepnaam voorletters naamGebruik"
            " leefeenheid agbcodeHuisarts communicatieVorm taal commentaar"
        ),
    ),
    ("Client.contactGegevens", "wlzIndicatie/client/contactGegevens", CONTACT),
    ("ContactGegevens.adres", "wlzIndicatie/client/contactGegevens/adres", ADDRESS),
    ("ContactGegevens.email", "wlzIndicatie/client/contactGegevens/email", EMAIL),
    ("ContactGegevens.telefoon", "wlzIndicatie/client/contactGegevens/telefoon", TELEPHONE),
    (
        "Client.contactPersoon",
        "wlzIndicatie/client/contactPersoon",
        (
            "contactPersoonID relatieNummer volgorde soortRelatie rol relatie voornamen roepnaam voorletters"
            " geslachtsnaam voorvoegselGeslachtsnaam partnernaam voorvoegselPartnernaam naamGebruik geslacht"
            " geboorteDatum geboortedatumGebruik ingangsdatum einddatum"
        ),
    ),
    ("ContactPersoon.contactGegevens", "wlzIndicatie/client/contactPersoon/contactGegevens", CONTACT),
    ("ContactGegevens.adres", "wlzIndicatie/client/contactPersoon/contactGegevens/adres", ADDRESS),
    ("ContactGegevens.email", "wlzIndicatie/client/contactPersoon/contactGegevens/email", EMAIL),
    ("ContactGegevens.telefoon", "wlzIndicatie/client/contactPersoon/contactGegevens/telefoon", TELEPHONE),
]


def published(name: str) -> str:
    return (vectors() / "iwlz" / name).read_text(encoding="utf-8")


def load_published() -> Register:
    return Register.load(
        published("indicatieregister-2.graphql"),
        overlay=CONFIGURATION["overlay"],
        public_fields=CONFIGURATION["public_fields"],
    )


def load_lab() -> Register:
    return Register.load(SCHEMAS["indicatie"].read_text(encoding="utf-8"), public_fields=PUBLIC_FIELDS["indicatie"])


@pytest.fixture(scope="module", params=[load_published, load_lab], ids=["published schema", "schema of the lab"])
def register(request: pytest.FixtureRequest) -> Register:
    load: Callable[[], Register] = request.param
    return load()


@pytest.fixture(scope="module")
def engine() -> WasmEngine:
    return WasmEngine(load_default(datetime.now(UTC)))


def template(
    register: Register, query: str | None = None, identity: str = OWN, uzovi: str = "5000"
) -> CanonicalRequest:
    variables = {"wlzIndicatieID": identity, "initieelVerantwoordelijkZorgkantoor": uzovi}
    query = query or published("QIR-0001-ZKi.graphql")
    return register.canonicalize(json.dumps({"query": query, "variables": variables}).encode())


async def decide(engine: WasmEngine, request: CanonicalRequest, claims: AccessTokenClaims = CLAIMS) -> Decision:
    decision = await engine.decide(ACCESS_DECISION, access_input(request, claims, CONTEXT))
    assert len(decision.evaluations) == sum(len(item.directives) for item in request.occurrences)
    return decision


def test_the_template_is_reduced_to_exactly_its_occurrences(register: Register) -> None:
    request = template(register)
    assert [(item.coordinate, "/".join(item.path), " ".join(item.fields)) for item in request.occurrences] == EXPECTED
    first, *rest = request.occurrences
    assert first.query_filter == {
        "and": [
            {"field": "wlzindicatieID", "operator": "eq", "value": OWN},
            {"field": "initieelVerantwoordelijkZorgkantoor", "operator": "eq", "value": "5000"},
        ]
    }
    assert all(item.query_filter == {"and": []} for item in rest)
    assert register.canonicalize(request.body.encode("ascii")) == request


async def test_the_template_passes_for_the_zorgkantoor_that_is_initially_responsible(
    register: Register, engine: WasmEngine
) -> None:
    decision = await decide(engine, template(register))
    assert (decision.allow, decision.policy_id) == (True, "IRA0001")


async def test_the_template_is_denied_to_everybody_else(register: Register, engine: WasmEngine) -> None:
    other = replace(CLAIMS, subject=Identifier(IdentifierKind.UZOVI, "5001"), uzovi="5001")
    provider = replace(
        CLAIMS,
        subject=Identifier(IdentifierKind.AGB, "01234567"),
        uzovi=None,
        agb="01234567",
        organization_type="ZORGAANBIEDER",
    )
    unscoped = replace(CLAIMS, scope=ScopeSet.parse("organisaties/zorgkantoor/meldingen/melding:create"))
    for claims, reason in (
        (other, "own_zorgkantoor_required"),
        (provider, "no_rule"),
        (unscoped, "scope_required"),
    ):
        decision = await decide(engine, template(register), claims)
        assert not decision.allow
        assert reason in decision.reasons
    theirs = await decide(engine, template(register, uzovi="5001"))
    assert "own_zorgkantoor_required" in theirs.reasons


@pytest.mark.parametrize(
    "change",
    [
        ("grondslagID\n", "grondslagID id\n"),
        ("grondslagID\n", "grondslagID: id\n"),
        ("grondslagID\n", "grondslagID ...{ ...on Grondslag { id } }\n"),
        ("grondslagID\n", "grondslagID id @skip(if: true)\n"),
        ("postcode\n", "postcode huisletter\n"),
    ],
)
async def test_one_field_more_is_denied_however_it_is_written(
    register: Register, engine: WasmEngine, change: tuple[str, str]
) -> None:
    query = published("QIR-0001-ZKi.graphql")
    assert change[0] in query
    query = query.replace(*change, 1)
    request = template(register, query)
    decision = await decide(engine, request)
    assert not decision.allow
    assert "field_not_in_template" in decision.reasons


async def test_a_filter_that_is_missing_is_denied(register: Register, engine: WasmEngine) -> None:
    query = published("QIR-0001-ZKi.graphql").replace("wlzindicatieID: {eq: $wlzIndicatieID}", "", 1)
    query = query.replace("$wlzIndicatieID: UUID!", "", 1)
    variables = {"initieelVerantwoordelijkZorgkantoor": "5000"}
    decision = await decide(
        engine, register.canonicalize(json.dumps({"query": query, "variables": variables}).encode())
    )
    assert not decision.allow
    assert "filter_required" in decision.reasons


async def test_another_way_of_writing_the_template_changes_nothing(register: Register, engine: WasmEngine) -> None:
    query = " ".join(published("QIR-0001-ZKi.graphql").split("\n\n", 1)[1].split())
    query = query.replace("$wlzIndicatieID", "$a").replace(
        "bsn besluitnummer", "b: bsn ...{besluitnummer: besluitnummer}"
    )
    request = register.canonicalize(
        json.dumps({"query": query, "variables": {"a": OWN, "initieelVerantwoordelijkZorgkantoor": "5000"}}).encode()
    )
    assert request.occurrences == template(register).occurrences
    assert (await decide(engine, request)).allow


async def test_the_required_filter_inside_an_or_is_denied(engine: WasmEngine) -> None:
    inside = """or: [{initieelVerantwoordelijkZorgkantoor: {eq: $initieelVerantwoordelijkZorgkantoor}}
        {wlzindicatieID: {eq: $wlzIndicatieID}}]"""
    query = published("QIR-0001-ZKi.graphql").replace(
        "initieelVerantwoordelijkZorgkantoor: {eq: $initieelVerantwoordelijkZorgkantoor}", inside, 1
    )
    decision = await decide(engine, template(load_lab(), query))
    assert not decision.allow
    assert "filter_required" in decision.reasons


def test_the_register_of_the_lab_answers_the_canonical_template_with_that_one_indication() -> None:
    request = template(load_lab())
    status, content = lab_register("indicatie").answer("POST", "e30", request.body.encode("ascii"))
    (found,) = json.loads(content)["data"]["wlzIndicatie"]
    assert status == 200
    assert (found["wlzindicatieID"], found["initieelVerantwoordelijkZorgkantoor"]) == (OWN, "5000")
    assert found["client"]["contactPersoon"][0]["contactGegevens"][0]["adres"]["straatnaam"]


def test_a_published_schema_without_annotations_is_refused_with_every_field() -> None:
    with pytest.raises(SchemaRefused) as refusal:
        Register.load(published("indicatieregister-2.graphql"))
    assert "Query.wlzIndicatie: neither annotated nor public" in refusal.value.problems
    assert len(refusal.value.problems) > 100


@pytest.mark.parametrize("name", ["QBR-0001-ZA", "QBR-0002-ZA", "QBR-0004-ZKu", "QBR-0005-ZKu", "QBR-0009-ZAr"])
def test_the_templates_of_the_bemiddelingsregister_fit_within_every_limit(name: str) -> None:
    sdl = published("bemiddelingsregister-1.graphql")
    register = Register.load(sdl, overlay=entities(sdl), public_fields=plain(sdl))
    query = published(f"{name}.graphql")
    request = register.canonicalize(json.dumps({"query": query, "variables": values(query)}).encode())
    first = request.occurrences[0]
    assert all(item["operator"] == "eq" for item in first.query_filter["and"])
    assert register.canonicalize(request.body.encode("ascii")) == request
    for occurrence in request.occurrences[1:]:
        for condition in occurrence.query_filter["and"]:
            assert set(condition) in ({"or"}, {"field", "operator", "value"})


def test_a_date_filter_of_a_template_keeps_its_structure() -> None:
    sdl = published("bemiddelingsregister-1.graphql")
    register = Register.load(sdl, overlay=entities(sdl), public_fields=plain(sdl))
    query = published("QBR-0002-ZA.graphql")
    request = register.canonicalize(json.dumps({"query": query, "variables": values(query)}).encode())
    (contact,) = [item for item in request.occurrences if item.coordinate == "Client.contactpersoon"]
    assert contact.query_filter == {
        "and": [
            {
                "or": [
                    {"field": "einddatum", "operator": "eq", "value": None},
                    {"field": "einddatum", "operator": "gte", "value": "2024-01-31"},
                ]
            },
            {"field": "ingangsdatum", "operator": "ngt", "value": "2024-01-31"},
        ]
    }


def objects(sdl: str) -> list[GraphQLObjectType]:
    types = build_schema(sdl).type_map.values()
    return [item for item in types if isinstance(item, GraphQLObjectType) and not item.name.startswith("__")]


def entities(sdl: str) -> dict[str, dict[str, str]]:
    return {
        f"{item.name}.{name}": {"service": "b", "operation": name, "resourceType": "R", "action": "read"}
        for item in objects(sdl)
        for name, field in item.fields.items()
        if not is_leaf_type(get_named_type(field.type))
    }


def plain(sdl: str) -> list[str]:
    return [f"{item.name}.*" for item in objects(sdl) if item.name != "Query"]


def values(query: str) -> dict[str, Any]:
    samples = {"UUID": OWN, "Date": "2024-01-31", "String": "01234567"}
    (operation,) = parse(query).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return {
        item.variable.name.value: samples[item.type.type.name.value]  # type: ignore[attr-defined]
        for item in operation.variable_definitions or ()
    }
