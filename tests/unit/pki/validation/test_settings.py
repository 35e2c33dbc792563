"""Pins in a settings file: what is contradictory or unusable stops the start, and says which key."""

from datetime import timedelta
from pathlib import Path

import pytest

from authz.edge.settings import Settings, SettingsError, load_settings
from pki.validation.settings import PinnedIssuerSettings
from tests.fakes.certificates import FakeAuthority


class Holder(Settings):
    """As authz and the agent hold them."""

    issuers: tuple[PinnedIssuerSettings, ...]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(FakeAuthority().issuing.pem)
    (tmp_path / "table.toml").write_text('[[certificate]]\nidentity = "agbcode:01234567"\nserial = "0a"\n')
    (tmp_path / "bad.toml").write_text('[[certificate]]\nidentity = "agbcode:1"\nserial = "0a"\n')
    return tmp_path


def load(folder: Path, *lines: str) -> PinnedIssuerSettings:
    path = folder / "x.toml"
    path.write_text("\n".join(["[[issuers]]", 'certificate = "ca.pem"', *lines]))
    return load_settings(Holder, path).issuers[0]


def test_the_pin_of_each_scheme(folder: Path) -> None:
    assert load(folder).pin("ab" * 32, "TST").scheme == "sluis"
    uzi = load(folder, 'scheme = "uzi"', "max_crl_age = 14400", 'policies = ["2.16.528.1.1003.1.2.44.13.11"]')
    pin = uzi.pin("ab" * 32, "PRD")
    assert (pin.scheme, pin.environment, pin.max_crl_age) == ("uzi", "PRD", timedelta(hours=4))
    assert pin.policies == ("2.16.528.1.1003.1.2.44.13.11",)
    assert not pin.ocsp_required
    needed = load(folder, 'ocsp_url = "http://ocsp.test/a"', "ocsp_required = true").pin("ab" * 32, "PRD")
    assert needed.ocsp_required
    mapped = load(folder, 'scheme = "mapped"', 'table = "table.toml"').pin("ab" * 32, "TST")
    assert mapped.table is not None
    assert mapped.table.by_serial[10].subject == "agbcode:01234567"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['scheme = "vecozo"'], "issuers.0.scheme"),
        (['scheme = "mapped"'], "issuers.0: table belongs to the scheme mapped"),
        (['scheme = "uzi"', 'table = "table.toml"'], "issuers.0: table belongs to the scheme mapped"),
        (['scheme = "mapped"', 'table = "absent.toml"'], "issuers.0.table: no such file"),
        (['scheme = "mapped"', 'table = "bad.toml"'], "issuers.0: certificate 1: not a well-formed AGB"),
        (['policies = ["any"]'], "issuers.0.policies.0"),
        (["max_crl_age = 172801"], "issuers.0.max_crl_age"),
        (["max_crl_age = 0"], "issuers.0.max_crl_age"),
        (['environment = "PRD"'], "issuers.0.environment: unknown key"),
        (["ocsp_required = true"], "issuers.0: ocsp_required without ocsp_url"),
        (['ocsp_url = "https://ocsp.test/"'], "issuers.0.ocsp_url"),
        (['ocsp_url = "http://user@ocsp.test/"'], "issuers.0.ocsp_url"),
        (['ocsp_url = "http://ocsp.test/?a=b"'], "issuers.0.ocsp_url"),
        (['ocsp_url = "file:///etc/passwd"'], "issuers.0.ocsp_url"),
    ],
)
def test_a_mistake_stops_the_start(lines: list[str], said: str, folder: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(folder, *lines)
    assert said in str(caught.value)
