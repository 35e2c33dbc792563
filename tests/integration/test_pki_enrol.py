"""`pki enrol` and `pki reenrol` against a real authority: what is on disk always fits, also after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tests.fakes.est_authority import NAME, ROOT, Est, running_est

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def est(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Est]:
    with running_est(tmp_path_factory.mktemp("enrol")) as found:
        yield found


def client(*arguments: str) -> subprocess.CompletedProcess[str]:
    # No settings of the authority, and nothing of its folder as working directory: a participant has neither.
    command = [sys.executable, "-m", "pki.cli.main", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def enrol(est: Est, identity: str, out: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    code_file = out.parent / f"{out.name}.code"
    code_file.write_text((code or est.code(identity)["code"]) + "\n")
    return client(
        *("enrol", "--url", f"https://127.0.0.1:{est.tls}", "--server-name", NAME, "--identity", identity),
        *("--ca", str(est.folder / "ca" / "root.crt"), "--code-file", str(code_file), "--out-dir", str(out)),
    )


def pair(folder: Path) -> x509.Certificate:
    """The certificate in use, after making sure that it is of the key beside it."""
    used = folder / "current"
    chain = x509.load_pem_x509_certificates((used / "chain.pem").read_bytes())
    key = load_pem_private_key((used / "key.pem").read_bytes(), None)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*form) == chain[0].public_key().public_bytes(*form)
    assert (used / "key.pem").stat().st_mode & 0o077 == 0
    chain[0].verify_directly_issued_by(chain[1])
    return chain[0]


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_enrol_then_renew_with_a_reload(est: Est, tmp_path: Path) -> None:
    out = tmp_path / "certs"
    done = enrol(est, "uzovi:6000", out)
    assert done.returncode == 0, done.stderr
    first = pair(out)
    early = client("reenrol", "--out-dir", str(out), "--json")
    assert early.returncode == 0, early.stderr
    assert json.loads(early.stdout)["outcome"].startswith("not due yet")
    told = tmp_path / "told"
    hook = ("--reload-hook", f"sh -c 'readlink \"$SLUIS_CERTIFICATES\" >> {told}'")
    renewed = client("reenrol", "--out-dir", str(out), "--now", *hook)
    assert renewed.returncode == 0, renewed.stderr
    second = pair(out)
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    assert told.read_text().splitlines() == [str((out / "current").readlink())]
    # Both work until the overlap ends; a third does not exist.
    again = client("reenrol", "--out-dir", str(out), "--now", *hook)
    assert again.returncode == 2
    assert again.stderr.startswith("refused (renewal_underway): ")
    assert again.stderr.count("\n") == 1
    assert "409" in again.stderr
    assert "lasts until" in again.stderr
    assert "Traceback" not in again.stderr
    assert pair(out) == second
    # Whoever has the new one at work says so: the old one ends, and it can be renewed at once.
    blind = client("reenrol", "--out-dir", str(out), "--daemon", "--confirm")
    assert (blind.returncode, "--reload-hook" in blind.stderr) == (2, True)
    failing = client("reenrol", "--out-dir", str(out), "--confirm", "--now", "--reload-hook", "false")
    assert (failing.returncode, "409" in failing.stderr) == (2, True)
    assert [item["status"] for item in est.certificates("uzovi:6000")] == ["superseding", "active"]
    confirmed = client("reenrol", "--out-dir", str(out), "--confirm")
    assert confirmed.returncode == 0, confirmed.stderr
    assert [item["status"] for item in est.certificates("uzovi:6000")] == ["revoked", "active"]
    once = client("reenrol", "--out-dir", str(out), "--now", "--confirm", *hook)
    assert once.returncode == 0, once.stderr
    assert [item["status"] for item in est.certificates("uzovi:6000")] == ["revoked", "revoked", "active"]


def test_what_is_refused_leaves_no_certificate_and_says_why(est: Est, tmp_path: Path) -> None:
    code = est.code("uzovi:6001")["code"]
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    for identity, given, word in (
        ("uzovi:6001", wrong, "not valid"),
        ("uzovi:6002", code, "another identity"),
        ("uzovi:6001", "hello", "not valid"),
    ):
        out = tmp_path / f"no-{word[:3]}-{len(given)}"
        done = enrol(est, identity, out, given)
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert given not in done.stderr
        assert not (out / "current").exists()
    assert enrol(est, "uzovi:6001", tmp_path / "yes", code).returncode == 0


def test_a_server_that_another_ca_vouches_for_gets_no_code(est: Est, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(tmp_path / "other.key"), "-subj", "/CN=Other", "-out", str(other)),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "code").write_text(est.code("uzovi:6003")["code"])
    base = ("enrol", "--identity", "uzovi:6003", "--code-file", str(tmp_path / "code"), "--out-dir")
    done = client(
        *(*base, str(tmp_path / "a"), "--url", f"https://127.0.0.1:{est.tls}", "--server-name", NAME),
        *("--ca", str(other)),
    )
    assert done.returncode == 1
    assert "--ca is not the root that signed" in done.stderr
    plain = client(
        *(*base, str(tmp_path / "b"), "--url", f"http://127.0.0.1:{est.plain}"),
        *("--ca", str(est.folder / "ca" / "root.crt")),
    )
    assert plain.returncode == 2
    assert "expected https" in plain.stderr
    named = client(
        *(*base, str(tmp_path / "c"), "--url", f"https://127.0.0.1:{est.tls}", "--server-name", "other.example.nl"),
        *("--ca", str(est.folder / "ca" / "root.crt")),
    )
    assert named.returncode == 1
    assert "for another name than other.example.nl" in named.stderr
    assert est.certificates("uzovi:6003") == []


def test_an_answer_that_got_lost_is_handed_over_by_the_operator(est: Est, tmp_path: Path) -> None:
    out = tmp_path / "certs"
    code = est.code("uzovi:6500")["code"]
    script = """
import os, signal, sys
import pki.holder.est_client as client
def dying(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
client.EstClient._checked = dying
from pki.cli.main import main
main()
"""
    (tmp_path / "code").write_text(code)
    arguments = [
        *("enrol", "--url", f"https://127.0.0.1:{est.tls}", "--server-name", NAME, "--identity", "uzovi:6500"),
        *("--ca", str(est.folder / "ca" / "root.crt"), "--out-dir", str(out)),
    ]
    by_code = ["--code-file", str(tmp_path / "code")]
    command = [sys.executable, "-c", script, *arguments, *by_code]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    assert not (out / "current").exists()
    again = client(*arguments, *by_code)
    assert again.returncode == 2
    assert "used up" in again.stderr
    est.pki("list", "--identity", "uzovi:6500", "--status", "active", "--out", str(tmp_path / "sent.pem"))
    est.enrolled("stranger", "uzovi:6501")
    wrong = client(*arguments, "--certificate", str(est.folder / "stranger.pem"))
    assert wrong.returncode == 1
    assert "another key" in wrong.stderr
    assert client(*arguments, "--certificate", str(tmp_path / "sent.pem")).returncode == 0
    pair(out)
    assert [item["status"] for item in est.certificates("uzovi:6500")] == ["active"]


@pytest.mark.parametrize("act", ["rename", "replace", "symlink_to", "unlink"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_sigkill_at_any_act_of_a_renewal(est: Est, tmp_path: Path, act: str, nth: int) -> None:
    identity = f"uzovi:{61 if act < 's' else 62}{nth}{len(act) % 10}"
    out = tmp_path / "certs"
    assert enrol(est, identity, out).returncode == 0
    before = pair(out)
    # The n-th time that a file is renamed, replaced, linked or removed while renewing, the process dies before it.
    script = f"""
import os, signal, pathlib, sys
count = 0
real = pathlib.Path.{act}
def dying(self, *a, **k):
    global count
    count += 1
    if count == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *a, **k)
pathlib.Path.{act} = dying
from pki.cli.main import main
sys.argv = ["pki", "reenrol", "--now", "--out-dir", {str(out)!r}]
main()
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=ROOT)
    assert killed.returncode in {-signal.SIGKILL, 0}
    found = pair(out)  # whole, and fitting, at once
    statuses = sorted(item["status"] for item in est.certificates(identity))
    assert statuses in (["active"], ["active", "superseding"])
    # Looking again brings it to its end: either the renewal that was made comes into use, or a new one is made.
    again = client("reenrol", "--now", "--out-dir", str(out))
    if found == before:
        assert again.returncode == 0, again.stderr
    after = pair(out)
    assert after.serial_number != before.serial_number
    live = {item["serial_number"]: item["status"] for item in est.certificates(identity)}
    assert live[f"{after.serial_number:x}"] == "active"
    assert sorted(live.values()) == ["active", "superseding"]
    assert not (out / "pending").exists() or again.returncode != 0


def test_the_daemon_renews_by_itself_and_repeats_a_hook_that_failed(est: Est, tmp_path: Path) -> None:
    out = tmp_path / "certs"
    assert enrol(est, "uzovi:6300", out).returncode == 0
    first = pair(out)
    told, ready = tmp_path / "told", tmp_path / "ready"
    # A clock most of a certificate's life ahead, for the client only; the hook fails until `ready` is there.
    script = f"""
import sys
from datetime import timedelta
from authz.domain import clock
import pki.holder.renewal as renewal
now = clock.SystemClock.now
clock.SystemClock.now = lambda self: now(self) + timedelta(days=300)
renewal.FIRST_RETRY = 0.2
from pki.cli.main import main
sys.argv = ["pki", "reenrol", "--daemon", "--out-dir", {str(out)!r},
            "--reload-hook", "sh -c 'echo >> {told}; test -e {ready}'"]
main()
"""
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=errors, stdout=errors)
    try:
        until(lambda: told.exists() and len(told.read_text().splitlines()) >= 2)
        assert pair(out).serial_number != first.serial_number
        assert (out / "reload-due").exists()
        ready.touch()
        until(lambda: not (out / "reload-due").exists())
        second = client("reenrol", "--out-dir", str(out))
        assert second.returncode in {0, 1}  # 1: the daemon held the folder at that moment
    finally:
        process.terminate()
        assert process.wait(90) == 0
    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]
    assert "renewed" in events
    assert "reload_failed" in events
    assert events.index("renewed") < events.index("reload_failed") < events.index("reloaded")


def test_two_in_one_folder_at_once(est: Est, tmp_path: Path) -> None:
    out = tmp_path / "certs"
    assert enrol(est, "uzovi:6400", out).returncode == 0
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "pki.cli.main", "reenrol", "--now", "--out-dir", str(out)],
            cwd=ROOT,
            env=os.environ,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert "Traceback" not in errors
    pair(out)
    assert sorted(item["status"] for item in est.certificates("uzovi:6400")) == ["active", "superseding"]
