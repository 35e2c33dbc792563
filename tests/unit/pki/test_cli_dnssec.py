"""`pki dnssec` as an operator uses it, against the lab's own name server: outcome, exit status, and what it prints."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.lab.dns import Responder, Server, anchor_lines, build_zones, parse_config
from pki.cli import main
from pki.dnssec import DnssecResult, DnssecState
from pki.dnssec.dane import tlsa_for
from pki.dnssec.tree import printable, render
from tests.fakes.edge_pki import EdgeAuthority

LEAF = EdgeAuthority().leaf("register.ciz.nl")
TLSA = tlsa_for(LEAF.certificate.public_bytes(Encoding.DER))
ZONES = {
    "zones": [
        {
            "name": "ciz.nl",
            "records": {
                "register": ["127.0.0.1"],
                "_443._tcp.register": {"TLSA": [TLSA]},
                "_8443._tcp.register": {"TLSA": [f"3 1 1 {'ab' * 32}"]},
            },
        },
        {"name": "unsigned.nl", "state": "unsigned", "records": {"@": ["127.0.0.1"]}},
        {"name": "bogus.nl", "state": "wrong-ds", "records": {"@": ["127.0.0.1"]}},
    ]
}


@dataclass(frozen=True)
class Dns:
    port: int
    anchor: Path


@pytest.fixture(scope="module")
def dns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dns]:
    anchor = tmp_path_factory.mktemp("dns") / "anchor.txt"
    built = build_zones(parse_config(json.dumps(ZONES)), datetime.now(UTC) - timedelta(minutes=1))
    anchor.write_text(anchor_lines(built))
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with Server(Responder(built)) as server:
            ports.append(server.port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield Dns(ports[0], anchor)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(dns: Dns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str, anchored: bool = True) -> tuple[int, str, str]:
        known = ["--resolver", f"127.0.0.1:{dns.port}", *(["--anchor", str(dns.anchor)] if anchored else [])]
        monkeypatch.setattr(sys, "argv", ["pki", "dnssec", *arguments, *known])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("name", "status", "shown"),
    [
        ("register.ciz.nl", 0, "✓ register.ciz.nl./A is signed by ciz.nl."),
        ("unsigned.nl", 3, "where: the registrar of unsigned.nl"),
        ("bogus.nl", 4, "to do: Replace the DS in nl"),
        ("nothing.ciz.nl", 7, "proven not to exist"),
    ],
)
def test_each_outcome_has_its_exit_status_and_says_what_to_do(run: Run, name: str, status: int, shown: str) -> None:
    got, out, _ = run("check", name)
    assert got == status
    assert shown in out
    got, out, _ = run("check", name, "--json")
    document = json.loads(out)
    assert got == status
    assert (document["advice"] is None) == (status == 0)
    assert document["chain"][0]["kind"] == "anchor"


def test_without_the_anchor_of_the_closed_network_nothing_is_secure(run: Run) -> None:
    status, out, _ = run("check", "register.ciz.nl", anchored=False)
    assert status == 4
    assert "this machine's trust anchor" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resolver", "localhost"), "--resolver: expected <IP address>"),
        (("--mode", "trust"), "--mode: expected one of validate, resolver-ad"),
        (("--mode", "resolver-ad", "--resolver", "192.0.2.1"), "on the loopback only"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    status, out, err = run("check", "ciz.nl", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_anchor_file_is_made_shown_and_used(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "anchors.json"
    status, out, _ = run("anchors", "--state", str(state))
    assert (status, state.exists()) == (0, False)
    assert "configured" in out
    status, out, _ = run("anchors", "--state", str(state), "--refresh", "--json")
    document = json.loads(out)
    assert status == 0
    assert [item["state"] for item in document["anchors"]] == ["valid"]
    assert len(document["changes"]) == 1
    assert json.loads(run("anchors", "--state", str(state), "--refresh", "--json")[1])["changes"] == []
    # From now on the file decides, whatever is configured beside it.
    assert run("check", "register.ciz.nl", "--anchor-state", str(state), anchored=False)[0] == 0


def test_an_anchor_file_that_no_key_vouches_for_is_not_made(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "anchors.json"
    status, _, err = run("anchors", "--state", str(state), "--refresh", anchored=False)
    assert (status, state.exists()) == (1, False)
    assert err.count("\n") == 1


def test_a_damaged_anchor_file_is_refused(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "anchors.json"
    state.write_text("{}")
    status, _, err = run("anchors", "--state", str(state))
    assert status in {1, 2}
    assert "malformed" in err


@pytest.mark.parametrize(
    ("host", "port", "status", "outcome"),
    [
        ("register.ciz.nl", "443", 0, "matched"),
        ("register.ciz.nl", "8443", 4, "mismatched"),
        ("register.ciz.nl", "444", 3, "absent"),
        ("unsigned.nl", "443", 3, "absent"),
        ("bogus.nl", "443", 5, "failed"),
    ],
)
def test_dane_compares_and_names_the_record_to_publish(  # noqa: PLR0917  a table
    run: Run, tmp_path: Path, host: str, port: str, status: int, outcome: str
) -> None:
    certificate, _ = LEAF.write(tmp_path, "leaf")
    got, out, _ = run("dane", host, "--port", port, "--certificate", str(certificate), "--json")
    document = json.loads(out)
    assert (got, document["outcome"]) == (status, outcome)
    assert document["publish"] == f"_{port}._tcp.{host}. IN TLSA {TLSA}"


def test_what_stands_in_dns_is_never_a_command_to_the_terminal() -> None:
    result = DnssecResult("x.", DnssecState.BOGUS, "bad \x1b]0;title\x07 [red]name", datetime.now(UTC), ())
    from io import StringIO  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    out = StringIO()
    Console(file=out, force_terminal=False, width=200).print(render(result, datetime.now(UTC)))
    assert "\x1b" not in out.getvalue()
    assert "[red]name" in out.getvalue()
    assert printable("a\x00b") == "a�b"
