"""Our chain validation against a real unbound, over zones that ldns and knot signed, asked through one name server.

Each scenario is answered three times: by unbound, by us through the authoritative side, and by us through unbound as
the resolver. All must say what the table says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from pki.dnssec import ChainValidator, DnssecState, Resolver, ResolverAdValidator, parse_anchors
from tests.fakes.dns_scenarios import PLAIN, SOURCES, Scenario, tampered
from tests.fakes.dns_signers import Signed, Tampering, opinion_of_unbound, serving, unbound
from tests.support import count, require

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Stage:
    """Everything that runs: our validator twice, unbound's port, and the scenarios with tampered answers."""

    direct: ChainValidator
    through_unbound: ChainValidator
    unbound_port: int
    tampered: tuple[Scenario, ...]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    for program in ("unbound", "knotd", "ldns-signzone", "ldns-keygen"):
        require(program)
    folder = tmp_path_factory.mktemp("dns")
    signed = Signed(SOURCES, folder)
    responder = signed.responder()
    changed = tampered(responder)
    tampering = Tampering(responder, {s.change[:2]: s.change[2] for s in changed if s.change is not None})
    anchors = parse_anchors(signed.anchor())
    with serving(tampering) as port, unbound(signed.anchor(), port, folder) as unbound_port:
        yield Stage(
            direct=ChainValidator(resolver=Resolver([("127.0.0.1", port)]), anchors=anchors),
            through_unbound=ChainValidator(
                resolver=Resolver([("127.0.0.1", unbound_port)], timeout=5), anchors=anchors
            ),
            unbound_port=unbound_port,
            tampered=tuple(changed),
        )


async def differences(stage: Stage, scenario: Scenario) -> list[str]:
    """How the opinions on one scenario differ from the table; empty when all is well."""
    now = datetime.now(UTC)
    # First unbound itself: what it fetches for us (DS at each label) may put sound records into its cache.
    theirs = opinion_of_unbound(stage.unbound_port, scenario.owner, scenario.rdtype)
    direct = await stage.direct.check(scenario.owner, now, scenario.rdtype)
    carried = await stage.through_unbound.check(scenario.owner, now, scenario.rdtype)
    expected: tuple[tuple[str, DnssecState, DnssecState, str], ...] = (
        ("ours", direct.state, scenario.state, direct.message),
        ("ours through unbound", carried.state, scenario.state, carried.message),
        ("unbound", theirs, scenario.theirs or scenario.state, scenario.why),
    )
    return [
        f"{scenario.label}: {who} says {state}, the table {wanted} ({note})"
        for who, state, wanted, note in expected
        if state is not wanted
    ]


@pytest.mark.parametrize("scenario", PLAIN, ids=lambda scenario: scenario.label)
async def test_a_name_comes_out_as_unbound_says(stage: Stage, scenario: Scenario) -> None:
    assert await differences(stage, scenario) == []
    count("DNSSEC scenarios compared with unbound")


async def test_answers_changed_on_their_way_come_out_as_unbound_says(stage: Stage) -> None:
    found = [difference for scenario in stage.tampered for difference in await differences(stage, scenario)]
    assert found == [], "\n".join(found)
    count("DNSSEC scenarios compared with unbound", len(stage.tampered))


async def test_the_word_of_a_local_resolver_is_passed_on(stage: Stage) -> None:
    """The `resolver-ad` mode: the same states, by unbound's word."""
    validator = ResolverAdValidator([("127.0.0.1", stage.unbound_port)], timeout=10)
    for scenario in PLAIN:
        result = await validator.check(scenario.owner, datetime.now(UTC), scenario.rdtype)
        assert result.state is (scenario.theirs or scenario.state), (scenario.label, result.message)


async def test_each_outcome_that_is_not_secure_tells_the_operator_which_zone(stage: Stage) -> None:
    """A message names a zone or a name to look at, and a date where one matters."""
    for scenario in (*PLAIN, *stage.tampered):
        result = await stage.direct.check(scenario.owner, datetime.now(UTC), scenario.rdtype)
        if result.state is not DnssecState.SECURE:
            assert any(f"{zone.name}." in result.message for zone in SOURCES if zone.name), result.message
