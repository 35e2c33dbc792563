"""One spelling of an endpoint: shared `cases/oauth.md` 49."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.directory.book import DirectoryContradiction, audiences_of
from authz.directory.model import Function, Service, SystemRole, parse_endpoint
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier
from authz.participants.model import Environment

GOOD = "https://pep.ciz.nl:8443/iwlz/v2/graphql"


def service(**changes: Any) -> Service:
    values: dict[str, Any] = {
        "organisation": "CIZ",
        "function": Function.REGISTER,
        "environment": Environment.TST,
        "system_role": SystemRole.REGISTER,
        "holder": Identifier.parse_subject("kvk:12345678"),
        "authorization_endpoint": GOOD,
        "token_endpoint": "https://authz.nl/oauth2/token",
        "resource_endpoint": "https://register.ciz.nl/graphql",
        "register": "wlzindicatieregister",
    }
    return Service(**(values | changes))


@pytest.mark.parametrize("url", [GOOD, "https://a.nl/x", "https://xn--bcher-kva.nl/x", "https://1.a.nl/a.b~c_d-e"])
def test_an_endpoint(url: str) -> None:
    assert parse_endpoint(url) in url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://pep.ciz.nl/x",
        "HTTPS://pep.ciz.nl/x",
        "//pep.ciz.nl/x",
        "pep.ciz.nl/x",
        "https:/pep.ciz.nl/x",
        "https:///x",
        "https://pep.ciz.nl",
        "https://pep.ciz.nl/",
        "https://pep.ciz.nl/x/",
        "https://pep.ciz.nl//x",
        "https://pep.ciz.nl/x/../y",
        "https://pep.ciz.nl/./x",
        "https://pep.ciz.nl/x?",
        "https://pep.ciz.nl/x?a=b",
        "https://pep.ciz.nl/x#",
        "https://pep.ciz.nl/x#a",
        "https://pep.ciz.nl/%78",
        "https://pep.ciz.nl/x;a",
        "https://PEP.ciz.nl/x",
        "https://pep.ciz.nl./x",
        "https://pep..nl/x",
        "https://-pep.nl/x",
        "https://pep-.nl/x",
        "https://localhost/x",
        "https://pep_.nl/x",
        "https://pép.nl/x",
        "https://pep.nl:443/x",
        "https://pep.nl:/x",
        "https://pep.nl:0/x",
        "https://pep.nl:08443/x",
        "https://pep.nl:99999/x",
        "https://user@pep.nl/x",
        "https://user:pass@pep.nl/x",
        "https://@pep.nl/x",
        "https://[::1]/x",
        "https://pep.nl\\x",
        "https://pep.nl/x y",
        " https://pep.nl/x",
        "https://pep.nl/x\n",
        "https://pep.nl/x\t",
        "https://" + "a." * 200 + "nl/x",
        "https://pep.nl/" + "x" * 512,
    ],
)
def test_another_spelling_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue):
        parse_endpoint(url)


@given(st.text(max_size=60))
def test_whatever_comes_is_an_endpoint_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://pep.nl/{text}"):
        try:
            host = parse_endpoint(url)
        except InvalidValue:
            continue
        assert url.startswith(f"https://{host}")


@pytest.mark.parametrize(
    "changes",
    [
        {"organisation": "VECOZO"},
        {"organisation": "500"},
        {"register": ""},
        {"register": "Wlz Register"},
        {"function": Function.MELDING},
        {"resource_endpoint": "http://register.ciz.nl/graphql"},
    ],
)
def test_a_malformed_service(changes: dict[str, Any]) -> None:
    assert service().gegevensdienst_id == "CIZ_REGISTER_TST"
    with pytest.raises(InvalidValue):
        service(**changes)


def test_two_services_may_share_an_audience_only_when_they_agree_on_it() -> None:
    notification = {"function": Function.NOTIFICATIE, "register": ""}
    indication = service(system_role=SystemRole.NOTIFICATIE_INDICATIE, **notification)
    mediation = service(system_role=SystemRole.NOTIFICATIE_BEMIDDELING, **notification)
    assert list(audiences_of([indication, mediation])) == [GOOD]
    with pytest.raises(DirectoryContradiction):
        audiences_of([indication, service()])
