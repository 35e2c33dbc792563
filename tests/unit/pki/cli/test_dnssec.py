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
from pki.cli.main import main
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
    assert ready.wait(30)
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
        (("--anchor-state", "absent.json"), "--anchor-state: absent.json: no such file; `pki dnssec anchors"),
        (("--type", "BAR"), "--type: not a record type"),
        (("--mode", "resolver-ad", "--resolver", "192.0.2.1"), "on the loopback only"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    status, out, err = run("check", "ciz.nl", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "x.nl", "--type", "TYPE70000"), "--type: not a record type"),
        (("check", "x.nl", "--type", ""), "--type: not a record type"),
        (("check", "x.nl", "--type", "A" * 5000), "--type: not a record type"),
        (("check", "x.nl", "--type", "TYPE\u0663"), "--type: not a record type"),
        (("check", "x.nl", "--type", "ANY"), "--type: this record type cannot be checked"),
        (("check", "x.nl", "--type", "RRSIG"), "--type: this record type cannot be checked"),
        (("check", "a" * 300), "the name: not a well-formed"),
        (("check", "a." * 128), "the name: not a well-formed"),
        (("check", "a..b"), "the name: not a well-formed"),
        (("check", "b.nl.."), "the name: not a well-formed"),
        (("check", ""), "the name: not a well-formed"),
        (("check", "stra\u00dfe.nl"), "the name: not a well-formed domain name: write it in ASCII"),
        (("check", "127.0.0.1"), "the name: not a well-formed domain name: an IP address"),
        (("check", "::1"), "the name: not a well-formed"),
        (("check", "register.ciz.nl:443"), "the name: not a well-formed"),
        (("check", "https://register.ciz.nl/"), "the name: not a well-formed"),
        (("check", "a\nb.nl"), "the name: not a well-formed"),
        (("check", "\\000.nl"), "the name: not a well-formed"),
        (("dane", "."), "the name: expected that of an endpoint"),
        (("dane", "*.nl"), "the name: expected that of an endpoint"),
        (("dane", "127.0.0.1"), "the name: not a well-formed"),
        (("check", "x.nl", "--resolver", "127.0.0.1:" + "9" * 5000), "--resolver: expected a port"),
        (("check", "x.nl", "--resolver", "127.0.0.1:\u0663"), "--resolver: expected a port"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line_before_anybody_is_asked(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert f"refused (parameter_malformed): {said}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["REGISTER.ciz.nl.", "register.ciz.nl", "_443._tcp.register.ciz.nl", "*.ciz.nl", "."])
def test_what_is_a_question_is_asked(run: Run, name: str) -> None:
    assert run("check", name, "--type", "TYPE52")[0] in {0, 7}


@pytest.mark.parametrize(
    ("option", "file"),
    [
        *((option, file) for option in ("--anchor", "--anchor-state") for file in ("/dev/zero", "/", "x" * 300)),
        # A state file that is not there yet is no mistake.
        ("--anchor", "nothing/there"),
    ],
)
def test_an_anchor_file_that_is_none_ends_in_one_line(run: Run, option: str, file: str) -> None:
    status, out, err = run("check", "register.ciz.nl", option, file, anchored=False)
    assert (status in {1, 2}, out) == (True, "")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--anchor", "--anchor-state"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"\x00" * 1000,
        b"[" * 100_000,
        b'{"zone": ".", "keys": [{"key": 1, "state": "valid", "since": "2026-01-01T00:00:00+00:00"}]}',
        b'{"zone": ".", "keys": 5}',
        b'{"zone": ".", "keys": [{"key": "257 3 13 AA==", "state": "valid", "since": 5}]}',
        b"5",
        b". IN DS 1 8 2 " + b"AB" * 32 + b"\n; " + b"x" * 300_000,
        (b". IN DS 1 8 2 " + b"AB" * 32 + b"\n") * 33,
        (b". IN DS 1 8 2 " + b"AB" * 32 + b"\n") * 5000,
        b". IN DNSKEY 257 3 13 " + b"A" * 100_000,
    ],
)
def test_garbage_in_an_anchor_file_ends_in_one_line(run: Run, tmp_path: Path, option: str, content: bytes) -> None:
    file = tmp_path / "anchors"
    file.write_bytes(content)
    status, out, err = run("check", "register.ciz.nl", option, str(file), anchored=False)
    assert status in {1, 2, 4}
    assert status == 4 or (out == "" and err.count("\n") == 1)


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://register.ciz.nl", "without https://, path or :port"),
        ("register.ciz.nl:443", "without https://, path or :port"),
        ("register.ciz.nl/x", "without https://, path or :port"),
        ("::1", "without https://, path or :port"),
        ("127.0.0.1", "an IP address"),
        ("a b.nl", "not a well-formed domain name"),
        ("", "not a well-formed domain name"),
        (" ", "not a well-formed domain name"),
    ],
)
def test_what_is_no_name_is_refused_by_name(run: Run, name: str, said: str) -> None:
    for command in ("check", "dane"):
        status, out, err = run(command, name)
        assert (status, out) == (2, "")
        assert err.startswith("refused (parameter_malformed): the name: ")
        assert said in err
        assert err.count("\n") == 1
    assert run("check", "register.ciz.nl.")[0] == 0


def test_an_address_to_connect_to_is_read_before_anything_is_asked(run: Run) -> None:
    status, _, err = run("dane", "register.ciz.nl", "--connect", "localhost:1")
    assert (status, "--connect: expected <IP address>" in err) == (2, True)
