"""An agent that believes another CA too: pins, levels between and OCSP answers come from its settings."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from authz.domain.errors import Refused
from authz.edge.settings import load_settings
from tests.fakes.clock import FixedClock
from tests.fakes.datastation import Datastation
from tests.fakes.pkioverheid import FakePkioverheid
from trust_agent.app import make_trust_store
from trust_agent.settings import AgentSettings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_certificate_of_the_uzi_register_at_an_agent(tmp_path: Path) -> None:
    pki = FakePkioverheid()
    for name, ca in zip(("g4", "domain", "uzi"), pki.authorities, strict=True):
        (tmp_path / f"{name}.pem").write_bytes(ca.pem)
    station = Datastation(tmp_path)
    station.close()
    text = station.toml().replace('anchors = ["root.pem"]', 'anchors = ["root.pem", "g4.pem"]', 1)
    own = 'issuers = [{ certificate = "issuing.pem" }]'
    assert own in text
    both = 'issuers = [{ certificate = "issuing.pem" }, { certificate = "uzi.pem", scheme = "uzi" }]'
    text = text.replace(own, f'{both}\nintermediates = ["domain.pem"]\nocsp_folder = "answers"')
    station.settings.write_text(text)
    settings = load_settings(AgentSettings, station.settings)
    assert settings.clients.ocsp_folder == tmp_path / "answers"
    assert len(settings.clients.authorities) == 5
    store = make_trust_store(settings, FixedClock(NOW))
    leaf = pki.uzi()
    with pytest.raises(Refused, match="crl_missing"):
        store.validator.validate(leaf.der, (), NOW)
    for ca in pki.authorities:
        assert store.take_crl(pki.crl(ca))
    found = store.validator.validate(leaf.der, (), NOW)
    assert (found.identity.subject, found.environment) == ("agbcode:01234567", "TST")
    assert found.issuer_key == pki.tsp.spki_sha256
