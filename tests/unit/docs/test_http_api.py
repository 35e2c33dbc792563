"""docs/reference/http-api.md names every endpoint."""

from pathlib import Path

import pytest
from litestar import Router
from litestar.routes import HTTPRoute

from authz.http.endpoints import OPEN, PARTICIPANTS_ONLY, nowhere
from authz.http.faces import IWLZ, OAUTH
from pki.holder.confirming import CONFIRM_USE
from pki.http import est
from pki.http.ocsp import PREFIX as OCSP

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
ROUTES = [
    route
    for route in Router("/", route_handlers=[*(each for each in OPEN if each is not nowhere), PARTICIPANTS_ONLY]).routes
    if isinstance(route, HTTPRoute)
]


@pytest.mark.parametrize(
    "request_line",
    [
        f"POST {IWLZ.path}",
        f"POST {OAUTH.path}",
        f"POST {CONFIRM_USE}",
        f"POST {OCSP}/<ca>",
        f"GET {OCSP}/<ca>/<base64>",
        *(f"{methods[0]} {est.PREFIX}/{operation}" for operation, methods in est._METHODS.items()),
    ],
)
def test_an_endpoint_outside_the_router_is_named(request_line: str) -> None:
    assert f"`{request_line}`" in PAGE


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_an_endpoint_of_authz_is_named(route: HTTPRoute) -> None:
    (method,) = set(route.methods) - {"HEAD", "OPTIONS"}
    assert f"`{method} {route.path.replace('{name:str}', 'default')}`" in PAGE


def test_all_endpoints_of_authz_are_looked_at() -> None:
    assert len(ROUTES) == 7
