"""EST with real Envoy, by curl and openssl alone, as a participant without our software would; and who attacks it."""

import base64
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from pki.doctor.files import check_files
from pki.doctor.model import Installation, Result
from tests.fakes.domains import EXAMPLE
from tests.fakes.est_authority import NAME, ROOT, Est, Reply, openssl, pkcs7, running_est

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def est(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Est]:
    with running_est(tmp_path_factory.mktemp("est")) as found:
        yield found


def test_curl_and_openssl_enrol_and_re_enrol(est: Est) -> None:
    request = est.request("first", subject="/C=NL/O=Somebody else/CN=agbcode 01234567")
    code = est.code("uzovi:5000")["code"]
    reply = est.enrol("uzovi-5000", code, request)
    assert reply.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert reply.headers["content-transfer-encoding"] == "base64"
    certificate = est.keep("first", reply)
    # What the request said about names was not read.
    assert "Somebody else" not in certificate.subject.rfc4514_string()
    assert "Zorgkantoor Test" in certificate.subject.rfc4514_string()
    openssl(
        *("verify", "-CAfile", str(est.folder / "ca" / "root.crt"), "-untrusted", str(est.folder / "first.pem")),
        str(est.folder / "first.pem"),
    )
    second = est.keep("second", est.reenrol("first", est.request("second")))
    assert second.serial_number != certificate.serial_number
    assert second.subject == certificate.subject
    assert [item["status"] for item in est.certificates("uzovi:5000")] == ["superseding", "active"]


def test_ca_certificates_and_attributes(est: Est) -> None:
    authorities = est.curl("/.well-known/est/cacerts")
    assert authorities.status == 200
    assert authorities.headers["content-type"] == "application/pkcs7-mime"
    found = x509.load_pem_x509_certificates(pkcs7(authorities.body).encode())
    root = x509.load_pem_x509_certificate((est.folder / "ca" / "root.crt").read_bytes())
    assert root in found
    assert len(found) == 2
    attributes = est.curl("/.well-known/est/csrattrs")
    assert attributes.headers["content-type"] == "application/csrattrs"
    printed = openssl("asn1parse", "-inform", "DER", given=openssl("base64", "-d", given=attributes.body)).decode()
    assert all(name in printed for name in ("id-ecPublicKey", "prime256v1", "secp384r1", "ecdsa-with-SHA256"))


def test_the_guide_as_it_is_written(est: Est, tmp_path: Path) -> None:
    """docs/how-to/enrol.md, "With curl and openssl": each command of it, with only host and port replaced."""
    guide = (ROOT / "docs" / "how-to" / "enrol.md").read_text().split("## With curl and openssl")[1]
    blocks = [block.split("```")[0] for block in guide.split("```\n")[1:4:2]]
    assert len(blocks) == 2
    (tmp_path / "code.txt").write_text(est.code("uzovi:5100")["code"] + "\n")
    (tmp_path / "root.crt").write_bytes((est.folder / "ca" / "root.crt").read_bytes())
    for block in blocks:
        script = "set -euo pipefail\n" + block.replace("uzovi-5000", "uzovi-5100")
        script = script.replace("https://pki.example.nl/", f"https://{NAME}:{est.tls}/")
        script = script.replace("curl ", f"curl --silent --show-error --resolve {NAME}:{est.tls}:127.0.0.1 ")
        done = subprocess.run(["bash", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
    chain = x509.load_pem_x509_certificates((tmp_path / "chain.pem").read_bytes())
    assert len(chain) == 3
    assert [item["status"] for item in est.certificates("uzovi:5100")] == ["superseding", "active"]
    # What the guide leads to is what the doctor asks for.
    installation = Installation(
        tmp_path / "chain.pem", datetime.now(UTC), key=tmp_path / "key.pem", anchors=tmp_path / "root.crt"
    )
    found, _ = check_files(installation)
    results = {finding.check: finding.result for finding in found}
    assert {results[check] for check in ("chain.order", "chain.root", "key.match")} == {Result.OK}


def test_a_code_works_once(est: Est) -> None:
    code = est.code("uzovi:5001")["code"]
    est.keep("once", est.enrol("uzovi-5001", code, est.request("once")))
    for request in (est.request("twice"), est.folder / "once.b64"):
        reply = est.enrol("uzovi-5001", code, request)
        assert (reply.status, reply.text.split(":")[0]) == (401, "code_used")
        assert reply.headers["www-authenticate"].startswith("Basic realm=")
    assert len(est.certificates("uzovi:5001")) == 1
    # Nor after the certificate is gone.
    est.pki("revoke", "--identity", "uzovi:5001")
    assert est.enrol("uzovi-5001", code, est.request("thrice")).status == 401
    assert len(est.certificates("uzovi:5001")) == 1


@pytest.mark.parametrize(
    ("user", "reason"),
    [("uzovi-5003", "code_other_identity"), ("kvk-00005002", "code_other_identity"), ("enrol", "code_other_identity")],
)
def test_a_code_of_another_identity(est: Est, user: str, reason: str) -> None:
    code = est.code("uzovi:5002")["code"]
    reply = est.enrol(user, code, est.request("other"))
    assert (reply.status, reply.text.split(":")[0]) == (401, reason)
    assert est.certificates("uzovi:5002") == []
    assert est.certificates("uzovi:5003") == []
    reference = next(item for item in json.loads(est.pki("code", "list", "--json")) if item["identity"] == "uzovi:5002")
    est.pki("code", "withdraw", reference["reference"])


def test_an_expired_or_withdrawn_code(est: Est) -> None:
    made = est.code("uzovi:5004")
    with sqlite3.connect(est.folder / "ca" / "pki.sqlite3") as database:
        database.execute(
            "UPDATE enrolment_codes SET expires_at = '2020-01-01 00:00:00.000000' WHERE selector = ?",
            (made["reference"],),
        )
    reply = est.enrol("uzovi-5004", made["code"], est.request("late"))
    assert (reply.status, reply.text.split(":")[0]) == (401, "code_expired")
    fresh = est.code("uzovi:5004")  # an expired one is not in the way
    est.pki("code", "withdraw", fresh["reference"])
    reply = est.enrol("uzovi-5004", fresh["code"], est.folder / "late.b64")
    assert (reply.status, reply.text.split(":")[0]) == (401, "code_withdrawn")
    assert est.certificates("uzovi:5004") == []


def test_five_wrong_secrets_lock_a_code_even_for_its_holder(est: Est) -> None:
    made = est.code("uzovi:5005")
    good, request = made["code"], est.request("brute")
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    with ThreadPoolExecutor(8) as pool:  # all at once: counting comes before comparing
        replies = list(pool.map(lambda _: est.enrol("uzovi-5005", wrong, request), range(8)))
    # 503 for those that came while the five that there are were being compared.
    assert {reply.status for reply in replies} <= {401, 503}
    assert [reply.text.split(":")[0] for reply in replies].count("code_invalid") == 5
    assert {reply.text.split(":")[0] for reply in replies} <= {"code_invalid", "code_locked", "unavailable"}
    assert est.enrol("uzovi-5005", good, request).text.startswith("code_locked")
    assert est.certificates("uzovi:5005") == []
    refused = [item["event"]["reason"] for item in est.records("enrolment.code_use") if item["event"]["reason"]]  # type: ignore[index]
    # One record for what is over; the rest is counted.
    assert refused.count("code_locked") == 1


def test_four_wrong_secrets_do_not(est: Est) -> None:
    made = est.code("uzovi:5006")
    good, request = made["code"], est.request("nearly")
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    for _ in range(4):
        assert est.enrol("uzovi-5006", wrong, request).status == 401
    # A right code with a request that is refused costs nothing.
    broken = est.folder / "broken.b64"
    broken.write_bytes(base64.b64encode(b"\x30\x03\x02\x01\x01"))
    for _ in range(3):
        reply = est.enrol("uzovi-5006", good, broken)
        assert (reply.status, reply.text.split(":")[0]) == (400, "request_malformed")
    est.keep("nearly", est.enrol("uzovi-5006", good.lower().replace("-", " "), request))


def test_of_many_at_once_with_one_code_exactly_one_wins(est: Est) -> None:
    code = est.code("uzovi:5007")["code"]
    requests = [est.request(f"race{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda request: est.enrol("uzovi-5007", code, request), requests))
    assert [reply.status for reply in replies].count(200) == 1
    # 503 when all attempts that are left are being compared at the same moment; never that the code is locked.
    assert {reply.status for reply in replies} <= {200, 401, 409, 503}
    assert not [reply.text for reply in replies if "code_locked" in reply.text]
    assert [item["status"] for item in est.certificates("uzovi:5007")] == ["active"]


def test_production_needs_a_second_person(est: Est) -> None:
    # The rule of PRD, in settings of the operators' own: the server and its database are the same.
    config = est.folder / "ca" / "pki.toml"
    two = est.folder / "ca" / "two.toml"
    text = config.read_text().replace("[enrolment]", "[enrolment]\ntwo_person = true")
    keys = {}
    for name in ("anna", "bram"):
        secret = est.folder / f"{name}.pass"
        secret.write_text(f"the passphrase of {name}\n")
        secret.chmod(0o600)
        options = ["--operator-passphrase-file", str(secret)]
        key = est.folder / f"{name}.pem"
        made = pki("operator", "new", name, "--out", str(key), *options)
        assert made.returncode == 0, made.stderr
        text += f"\n{made.stdout}"
        keys[name] = [*options, "--operator-key", str(key), "--config", str(two)]
    two.write_text(text)
    create = ["code", "create", "--identity", "uzovi:5008", "--organization", "Test", "--kvk", "12345678", "--json"]
    assert pki(*create, "--config", str(two)).stderr.startswith("refused (operator_key_required): ")
    code = json.loads(pki(*create, *keys["anna"]).stdout)
    request = est.request("patient")
    first = code["first_half"]
    waiting = est.enrol("uzovi-5008", first, request)
    assert waiting.status == 202
    assert int(waiting.headers["retry-after"]) > 0
    assert waiting.text.startswith("code_unapproved")
    approve = ["code", "approve", code["reference"], "--statement", code["statement"]]
    # No account and no environment makes somebody another operator.
    own = pki(*approve, *keys["anna"], environment={"LOGNAME": "bram", "SUDO_USER": "bram"})
    assert own.returncode == 2
    assert own.stderr.startswith("refused (approver_is_creator): ")
    assert est.enrol("uzovi-5008", first, request).status == 202
    done = pki(*approve, *keys["bram"], "--json")
    assert done.returncode == 0, done.stderr
    # Anna alone, with a key of hers, after Bram honestly approved; then with a half that she made up.
    second = json.loads(done.stdout)["second_half"]
    alone = est.enrol("uzovi-5008", first, est.request("annas"))
    assert (alone.status, alone.text.split(":")[0]) == (401, "code_incomplete")
    guessed = est.enrol("uzovi-5008", f"{first}-{second[::-1]}", est.folder / "annas.b64")
    assert (guessed.status, guessed.text.split(":")[0]) == (401, "code_invalid")
    est.keep("patient", est.enrol("uzovi-5008", f"{first}-{second}", request))
    assert pki("operator", "verify", code["reference"], "--config", str(two)).returncode == 0


def pki(*arguments: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pki.cli.main", *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, env=os.environ | (environment or {})
    )


def test_re_enrolment_without_a_certificate_or_with_one_that_is_over(est: Est) -> None:
    request = est.request("wanting")
    without = est.curl(
        "/.well-known/est/simplereenroll",
        *("--header", "Content-Type: application/pkcs10", "--data-binary", f"@{request}"),
    )
    assert (without.status, without.text.split(":")[0]) == (403, "certificate_missing")
    est.enrolled("old", "uzovi:5009")
    renewal = est.request("new")
    renewed = est.keep("new", est.reenrol("old", renewal))
    # The one that is being superseded makes nothing more ...
    reply = est.reenrol("old", est.request("third"))
    assert (reply.status, reply.text.split(":")[0]) == (403, "certificate_not_active")
    # ... but an answer that got lost is given again, for the same key.
    assert est.keep("again", est.reenrol("old", renewal)) == renewed
    # The new one cannot be renewed while the overlap lasts.
    early = est.reenrol("new", est.folder / "third.b64")
    assert (early.status, early.text.split(":")[0]) == (409, "renewal_underway")
    est.pki("revoke", "--identity", "uzovi:5009")
    for name in ("old", "new"):
        reply = est.reenrol(name, renewal)
        assert (reply.status, reply.text.split(":")[0]) == (403, "certificate_revoked")
    assert [item["status"] for item in est.certificates("uzovi:5009")] == ["revoked", "revoked"]
    reasons = [item["event"]["reason"] for item in est.records("certificate.renew")]  # type: ignore[index]
    assert {"certificate_not_active", "certificate_revoked"} <= set(reasons)
    # Who shows no certificate gets no record of his own: he is counted (pki.tally).
    assert "certificate_missing" not in reasons


def test_a_certificate_of_another_authority_does_not_re_enrol(est: Est) -> None:
    own = est.enrolled("victim", "uzovi:5010")
    key, pem = est.folder / "rogue.key", est.folder / "rogue.pem"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    openssl(
        *("req", "-x509", "-key", str(key), "-subj", "/O=Zorgkantoor Test/CN=uzovi:5010", "-out", str(pem)),
        *("-set_serial", hex(own.serial_number), "-addext", "extendedKeyUsage=clientAuth"),
    )
    reply = est.reenrol("rogue", est.request("stolen"))
    assert reply.status == 403
    assert reply.text.split(":")[0].startswith("certificate_")
    assert [item["status"] for item in est.certificates("uzovi:5010")] == ["active"]


def test_paths_methods_and_listeners(est: Est) -> None:
    base = "/.well-known/est"
    for path in (f"{base}/", f"{base}/cacerts/", f"{base}/tst/cacerts", f"{base}/CACERTS", f"{base}/fullcmc"):
        assert est.curl(path).status == 404, path
    assert est.curl(f"{base}/cacerts?label=tst").status == 400
    assert est.curl(f"{base}%2fcacerts").status == 400
    assert est.curl(f"{base}/cacerts").status == 200
    get = est.curl(f"{base}/simpleenroll")
    assert (get.status, get.headers["allow"]) == (405, "POST")
    assert est.curl(f"{base}/cacerts", "--request", "POST", "--data", "x").status == 405
    assert est.curl(f"{base}/cacerts", "--head").status == 200
    # Never on the plain listener: a code would cross the network in the clear.
    assert est.curl(f"{base}/cacerts", port=est.plain, scheme="http").status == 404


def test_malformed_requests(est: Est) -> None:
    made = est.code("uzovi:5011")
    request = est.request("form")
    user = ("--user", f"uzovi-5011:{made['code']}")
    url, kind = "/.well-known/est/simpleenroll", ("--header", "Content-Type: application/pkcs10")

    def post(data: bytes, *arguments: str) -> Reply:
        path = est.folder / "body"
        path.write_bytes(data)
        return est.curl(url, "--data-binary", f"@{path}", *arguments)

    good = request.read_bytes()
    unauthenticated = post(good, *kind)
    assert (unauthenticated.status, unauthenticated.text.split(":")[0]) == (401, "credentials_missing")
    assert unauthenticated.headers["www-authenticate"].startswith("Basic ")
    for header in ("Bearer abc", "Basic", "Basic !!!", "Basic dXpvdmk=", "Basic " + "A" * 600):
        assert post(good, *kind, "--header", f"Authorization: {header}").status == 401, header
    assert post(good, *user, "--header", "Content-Type: application/x-pem-file").status == 415
    assert post(good, *user, *kind, "--header", "Content-Encoding: gzip").status == 415
    assert post(good, *user, *kind, "--header", "Content-Transfer-Encoding: 8bit").status == 415
    assert post(b"", *user, *kind).status == 400
    assert post(b"%" + good, *user, *kind).status == 400
    pem = openssl("req", "-inform", "DER", "-in", str(est.folder / "form.der"))
    assert "without the BEGIN" in post(pem, *user, *kind).text
    assert post(base64.b64encode(os.urandom(600)), *user, *kind).text.startswith("request_malformed")
    der = (est.folder / "form.der").read_bytes()
    assert post(base64.b64encode(der + b"\0"), *user, *kind).text.startswith("request_malformed")
    assert post(base64.b64encode(der[:-1] + bytes([der[-1] ^ 1])), *user, *kind).status == 400
    # The service itself, and Envoy before it, which takes no more than 64 KiB: one status and one style.
    for size in (40_000, 200_000):
        large = post(b"A" * size, *user, *kind, "--http1.1")
        assert (large.status, large.text.split(":")[0]) == (413, "body_too_large")
        assert large.headers["content-type"] == "text/plain; charset=utf-8"
    assert post(b"A" * 40_000, *user, *kind).status == 413
    # Nothing of all that used the code, or made anything.
    assert est.certificates("uzovi:5011") == []
    est.keep("form", post(good, *user, *kind, "--header", "Content-Transfer-Encoding: base64"))


def test_doubled_headers(est: Est) -> None:
    made = est.code("uzovi:5012")
    body = est.request("double").read_bytes()
    basic = base64.b64encode(f"uzovi-5012:{made['code']}".encode()).decode()

    def raw(*lines: str) -> bytes:
        context = ssl.create_default_context(cafile=str(est.folder / "ca" / "root.crt"))
        head = [
            *("POST /.well-known/est/simpleenroll HTTP/1.1", f"Host: {NAME}", "Connection: close"),
            *(*lines, f"Content-Length: {len(body)}"),
        ]
        with (
            socket.create_connection(("127.0.0.1", est.tls)) as connection,
            context.wrap_socket(connection, server_hostname=NAME) as secured,
        ):
            secured.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            answer = b""
            while data := secured.recv(65536):
                answer += data
        return answer

    kind, proof = "Content-Type: application/pkcs10", f"Authorization: Basic {basic}"
    for lines in (
        (kind, proof, proof),
        (kind, proof, "Authorization: Basic AAAA"),
        (kind, kind, proof),
        (kind, "Content-Type: text/plain", proof),
        (kind, proof, "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: base64"),
    ):
        status = int(raw(*lines).split()[1])
        assert status in {400, 401, 415}, lines
    # What Envoy says about certificates cannot be said by a client.
    forged = (kind, proof, "x-sluis-listener: plain", "x-sluis-peer-verified: 1", "x-forwarded-client-cert: Hash=00")
    assert est.certificates("uzovi:5012") == []
    assert raw(*forged).startswith(b"HTTP/1.1 200")


def test_weak_blocked_and_borrowed_keys(est: Est) -> None:
    made = est.code("uzovi:5013")
    weak = est.folder / "weak.b64"
    openssl("genrsa", "-out", str(est.folder / "weak.key"), "2048")
    der = openssl("req", "-new", "-key", str(est.folder / "weak.key"), "-subj", "/CN=x", "-outform", "DER")
    weak.write_bytes(base64.b64encode(der))
    reply = est.enrol("uzovi-5013", made["code"], weak)
    assert reply.status == 400
    assert reply.text == "key_weak: subjectPublicKeyInfo: the RSA modulus has 2048 bits; expected 3072 to 8192.\n"
    # A key that was compromised in somebody else's hands, and one that is somebody else's.
    est.enrolled("leaked", "uzovi:5014")
    est.pki("revoke", "--identity", "uzovi:5014", "--reason", "keyCompromise")
    assert est.enrol("uzovi-5013", made["code"], est.folder / "leaked.b64").text.startswith("key_blocked")
    est.enrolled("theirs", "uzovi:5015")
    assert est.enrol("uzovi-5013", made["code"], est.folder / "theirs.b64").text.startswith("key_reused")
    # Blocking the key of a live certificate revokes it.
    done = json.loads(est.pki("block-key", "--key", str(est.folder / "theirs.pem"), "--json"))
    assert done["blocked"] == 1
    assert len(done["revoked"]) == 1
    assert [item["status"] for item in est.certificates("uzovi:5015")] == ["revoked"]
    est.keep("fine", est.enrol("uzovi-5013", made["code"], est.request("fine")))


def test_an_identity_with_a_certificate_gets_no_second_and_keeps_its_code(est: Est) -> None:
    code = est.code("uzovi:5016")["code"]
    est.pki(
        *("issue", "--identity", "uzovi:5016", "--organization", "Zorgkantoor Test", "--kvk", "12345678"),
        *("--new-key", str(est.folder / "holder.key"), "--out", str(est.folder / "holder.pem")),
    )
    reply = est.enrol("uzovi-5016", code, est.request("more"))
    assert (reply.status, reply.text.split(":")[0]) == (409, "identity_has_certificate")
    # What one certificate is revoked by leaves the code; what takes the party away takes that too.
    serial = est.certificates("uzovi:5016")[0]["serial_number"]
    est.pki("revoke", "--serial", serial)
    est.keep("more", est.enrol("uzovi-5016", code, est.folder / "more.b64"))
    # Now no code for a first one is made any more, and one that renews is.
    command = [
        sys.executable,
        "-m",
        "pki.cli.main",
        "code",
        "create",
        "--identity",
        "uzovi:5016",
        "--organization",
        "Test",
    ]
    command += ["--kvk", "12345678", "--config", str(est.folder / "ca" / "pki.toml")]
    none = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (none.returncode, none.stderr.split(":")[0]) == (2, "refused (identity_has_certificate)")
    code = est.code("uzovi:5016", "--renewal")["code"]
    est.keep("beside", est.enrol("uzovi-5016", code, est.request("beside")))
    assert {item["status"] for item in est.certificates("uzovi:5016")} == {"revoked", "superseding", "active"}
    assert "superseded" not in est.pki("revoke", "--identity", "uzovi:5016")
    code = est.code("uzovi:5016")["code"]
    assert "withdrew code" in est.pki("revoke", "--identity", "uzovi:5016")
    reply = est.enrol("uzovi-5016", code, est.request("back"))
    assert (reply.status, reply.text.split(":")[0]) == (401, "code_withdrawn")
    est.keep("back", est.enrol("uzovi-5016", est.code("uzovi:5016")["code"], est.folder / "back.b64"))


def test_neither_codes_nor_hashes_are_told(est: Est) -> None:
    code = est.code("uzovi:5017")["code"]
    database = (est.folder / "ca" / "pki.sqlite3").read_bytes()
    wal = est.folder / "ca" / "pki.sqlite3-wal"
    stored = database + (wal.read_bytes() if wal.exists() else b"")
    for text in (code, code.replace("-", ""), code.replace("-", "")[8:]):
        assert text.encode() not in stored
        assert text not in est.pki("code", "list", "--all", "--json")
    assert "verifier" not in est.pki("code", "list", "--all", "--json")


def test_the_event_loop_is_free_while_codes_are_hashed(est: Est) -> None:
    request = est.request("load")

    def both() -> float:
        guess = "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ"
        with ThreadPoolExecutor(8) as pool:
            guesses = [pool.submit(est.enrol, "uzovi-5000", guess, request) for _ in range(8)]
            started = time.monotonic()
            assert est.curl("/health").status == 200
            took = time.monotonic() - started
            assert {guess.result().status for guess in guesses} == {401}
        return took

    # A busy machine may stand still in one try; a loop that hashes is never free.
    assert any(both() < 5 for _ in range(3))


def test_a_code_whose_domain_lapsed_makes_nothing_and_is_not_used_up(est: Est) -> None:
    lapsing = {"name": "lapsing.nl", "records": {"pep": ["127.0.0.1"], "api": ["127.0.0.1"]}}
    est.domains.serve(EXAMPLE, lapsing)
    try:
        code = est.code("uzovi:6800", "--dns", "pep.lapsing.nl")
        before = est.code("uzovi:6801", "--dns", "api.lapsing.nl")
        est.keep("before", est.enrol("uzovi-6801", before["code"], est.request("before")))
        other = est.code("uzovi:6802")
        # Days later: `pki serve` asks for itself and not what the operator's command saw.
        est.domains.serve(EXAMPLE, lapsing | {"state": "wrong-ds"})
        reply = est.enrol("uzovi-6800", code["code"], est.request("lapsing"))
        assert reply.status == 403
        assert reply.text.startswith("domain_bogus: pep.lapsing.nl is bogus: ")
        assert "registrar of lapsing.nl" in reply.text
        assert est.certificates("uzovi:6800") == []
        (refused,) = [
            record
            for record in est.records("certificate.issue")
            if record["event"]["reason"] == "domain_bogus"  # type: ignore[index]
        ]
        assert refused["objects"][0]["details"]["domains"][0]["domain"] == "pep.lapsing.nl"  # type: ignore[index]
        states = {item["reference"]: item["status"] for item in json.loads(est.pki("code", "list", "--json"))}
        assert states[code["reference"]] == "ready"
        # Whoever has other names is not held up, and whoever has a certificate for the same domain renews it.
        est.keep("other", est.enrol("uzovi-6802", other["code"], est.request("other")))
        est.keep("again", est.reenrol("before", est.request("again")))
    finally:
        est.domains.serve(EXAMPLE)
