"""A trust agent that needs OCSP, for real: answers come ahead of time, and nothing passes without them."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.x509 import ocsp

from tests.fakes.datastation import Datastation
from tests.fakes.ocsp import FakeResponder
from tests.integration.test_edge_agent import Agent, refused, until

pytestmark = pytest.mark.integration


class Place:
    """An agent and the OCSP responder that its settings name."""

    def __init__(self, folder: Path) -> None:
        self.station = Datastation(folder)
        self.responder = FakeResponder(self.station.ca)
        plain = 'issuers = [{ certificate = "issuing.pem" }]'
        needed = plain.replace(" }]", f', ocsp_url = "{self.responder.url}", ocsp_required = true }}]')
        text = self.station.settings.read_text()
        assert plain in text
        self.station.settings.write_text(text.replace(plain, needed))
        self.agent = Agent(self.station)

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.station.health_port}/metrics", timeout=30).text


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="sluis-o-"))
    made = Place(folder)
    try:
        until(made.agent.ready)
        yield made
    finally:
        made.agent.stop()
        made.responder.close()
        made.station.close()
        shutil.rmtree(folder)


def unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["reason"] == "ocsp_missing"
    assert int(answer.headers["retry-after"]) > 0


def test_a_new_party_is_refused_once_and_then_known(place: Place) -> None:
    # `ready` has asked already, with nothing known about its certificate.
    unavailable(place.agent.ask())
    place.responder.knows(place.station.caller)
    until(lambda: place.agent.ask().status_code == 200)
    asked = list(place.responder.asked)
    times = []
    for _ in range(20):
        started = time.monotonic()
        assert place.agent.ask().status_code == 200
        times.append(time.monotonic() - started)
    assert place.responder.asked == asked  # nothing is fetched in a request
    metrics = place.metrics()
    assert "sluis_agent_ocsp_followed 1" in metrics
    assert "sluis_agent_ocsp_without_answer 0" in metrics


def test_what_the_responder_calls_revoked_is_refused_although_no_list_does(place: Place) -> None:
    other = place.station.ca.issue("uzovi:5000")
    place.responder.knows(other, ocsp.OCSPCertStatus.REVOKED)
    until(lambda: place.agent.ask(other).status_code == 403)
    refused(place.agent.ask(other), 403)
    assert place.agent.ask().status_code == 200


def test_a_restart_with_the_responder_away_goes_on_with_what_was_fetched(place: Place) -> None:
    place.responder.knows(place.station.caller)
    until(lambda: place.agent.ask().status_code == 200)
    place.responder.trouble = 500
    place.agent.restart()
    until(lambda: place.agent.ready() and place.agent.ask().status_code == 200)
    stranger = place.station.ca.issue("uzovi:5000")
    unavailable(place.agent.ask(stranger))
    place.responder.trouble = 0
