"""Ceremonies: what they make verifies, what exists is not overwritten, and the transcript tells when a file changed."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from pki.ceremony import CeremonyError, CeremonyPlan, asked, hold_ceremony
from pki.ceremony.first import HsmPlan
from pki.ceremony.later import RootFiles, cross_certify, hold_issuing, make_root_crl
from pki.ceremony.parts import FileKeyPlan
from pki.ceremony.transcript import Occasion, People, verify_transcript
from pki.cli.main import main
from pki.lint.authority import Above, lint_authority
from pki.profiles import Publication
from pki.revocation.crl import RevocationReason
from pki.signing.signer import SignerError
from tests.fakes.certificates import FakeAuthority
from tests.fakes.softhsm import SoftHsm

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASSPHRASE = b"correct horse battery staple"
BASE_URL = "http://pki.example.nl"
PEOPLE = People("A. Jansen", "B. de Vries")


@dataclass(frozen=True)
class Held:
    folder: Path
    files: Mapping[str, Path]

    @property
    def root(self) -> x509.Certificate:
        return certificate(self.folder / "root.crt")

    @property
    def root_files(self) -> RootFiles:
        return RootFiles(self.folder / "root.crt", self.folder / "root.key.pem", PASSPHRASE, BASE_URL)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


ALIKE = [
    ("A. Jansen", "A Jansen"),
    ("A. Jansen", "a.jansen "),
    ("José Peña", "Jose Pena"),
    ("A. Jansen", "\uff21. Jansen"),
    ("A. Jansen", "A.\u00a0Jansen"),
    ("A. Jansen", "A.\u200b Jansen"),
    ("Straße", "STRASSE"),
    ("--", "B"),
]
"""Pairs that are one person, or nobody, to whoever reads them aloud."""


def plan(folder: Path) -> CeremonyPlan:
    return CeremonyPlan(
        folder=folder,
        organization="Vertrouwensleverancier",
        environment="TST",
        base_url=BASE_URL,
        listen_port=18080,
        root_passphrase=PASSPHRASE,
        issuing_passphrase=PASSPHRASE,
        issuing_passphrase_file=folder.parent / "issuing.pass",
        leader="A. Jansen",
        witness="B. de Vries",
        command="pki ceremony --out ca",
    )


def occasion(at: datetime = NOW + timedelta(days=30)) -> Occasion:
    return Occasion("A later ceremony", PEOPLE, at, "pki ceremony-later", "0" * 64)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    folder = tmp_path_factory.mktemp("held") / "ca"
    return Held(folder, hold_ceremony(plan(folder), NOW))


def key_plan() -> FileKeyPlan:
    return FileKeyPlan("ec-p256", PASSPHRASE, "issuing.pass")


def test_a_transcript_says_who_when_with_what_and_every_hash(held: Held) -> None:
    text = held.files["transcript.md"].read_text()
    for words in (
        "2026-11-22T12:00:00+00:00", "leader: A. Jansen", "witness: B. de Vries", "`pki ceremony --out ca`", "sluis ",
        "Python 3.", "cryptography: ", "OpenSSL", "pkilint ",
        hashlib.sha256(held.root.public_bytes(Encoding.DER)).hexdigest(),
    ):  # fmt: skip
        assert words in text
    assert PASSPHRASE.decode() not in text
    own, found = verify_transcript(held.files["transcript.md"])
    assert own == hashlib.sha256(text.encode()).hexdigest()
    assert {item.name for item in found} == set(held.files) - {"transcript.md"}
    assert all((item.verdict, item.acceptable) == ("unchanged", True) for item in found)


def copied(held: Held, to: Path) -> Path:
    to.mkdir()
    for name, path in held.files.items():
        (to / name).write_bytes(path.read_bytes())
    return to / "transcript.md"


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("root.crt", "edit", "refused changed"),
        ("root.crl", "edit", "refused changed"),
        ("issuing-tst.key.pem", "edit", "refused changed"),
        ("issuing-tst.crt", "remove", "refused absent"),
        ("pki.toml", "edit", "accepted changed"),  # an operator edits settings
        ("pki.toml", "remove", "refused absent"),
        ("root.key.pem", "remove", "accepted absent"),  # it went offline
    ],
)
def test_a_file_that_changed_is_found(name: str, change: str, verdict: str, held: Held, tmp_path: Path) -> None:
    transcript = copied(held, tmp_path / "copy")
    path = transcript.parent / name
    if change == "edit":
        path.write_bytes(path.read_bytes() + b"\n")
    else:
        path.unlink()
    found = {item.name: item for item in verify_transcript(transcript)[1]}
    said = "accepted" if found[name].acceptable else "refused"
    assert f"{said} {found[name].verdict}" == verdict
    assert all(item.acceptable for other, item in found.items() if other != name)


@pytest.mark.parametrize(
    "text",
    ["", "# Key ceremony\n", f"| root.crt | certificate | {'0' * 63} |\n", f"| ../x | key | {'0' * 64} |\n"],
)
def test_a_page_that_names_no_files_is_no_transcript(text: str, tmp_path: Path) -> None:
    path = tmp_path / "transcript.md"
    path.write_text(text)
    with pytest.raises(CeremonyError):
        verify_transcript(path)
    with pytest.raises(CeremonyError):
        verify_transcript(tmp_path / "absent.md")


def test_a_file_named_twice_is_refused(held: Held, tmp_path: Path) -> None:
    transcript = copied(held, tmp_path / "copy")
    transcript.write_text(transcript.read_text() + f"| root.crt | certificate | {'0' * 64} |\n")
    with pytest.raises(CeremonyError):
        verify_transcript(transcript)


@pytest.mark.parametrize(
    ("leader", "witness"),
    [("A. Jansen", "a. jansen"), ("", "B"), ("A | B", "C"), ("A\nB", "C"), ("A" * 65, "B"), ("A", "`rm`"), *ALIKE],
)
def test_two_persons_are_two_and_have_names(leader: str, witness: str, tmp_path: Path) -> None:
    with pytest.raises(CeremonyError):
        hold_ceremony(replace(plan(tmp_path / "ca"), leader=leader, witness=witness), NOW)
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"organization": "x" * 55},
        {"organization": "a\x00b"},
        {"root_kind": "rsa-1024"},
        {"environment": "PROD"},
        {"generation": 0},
        {"base_url": "http://pki.example.nl/a b"},
    ],
)
def test_a_plan_that_cannot_be_carried_out_leaves_nothing(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SluisError):
        hold_ceremony(replace(plan(tmp_path / "ca"), **change), NOW)  # type: ignore[arg-type]
    assert not (tmp_path / "ca").exists()


def test_a_second_issuing_ca_has_another_name_and_ends_with_its_root(held: Held, tmp_path: Path) -> None:
    made = hold_issuing(
        held.root_files, tmp_path / "two", "TST", generation=2, key_plan=key_plan(), occasion=occasion()
    )
    second, first = certificate(made["issuing-tst-2.crt"]), certificate(held.folder / "issuing-tst.crt")
    second.verify_directly_issued_by(held.root)
    assert second.subject != first.subject
    assert second.subject.rfc4514_string() == "CN=Vertrouwensleverancier issuing TST 2,O=Vertrouwensleverancier,C=NL"
    assert 'name = "issuing-tst-2"' in made["issuers.toml"].read_text()
    assert "0" * 64 in made["transcript.md"].read_text()
    assert all(item.acceptable for item in verify_transcript(made["transcript.md"])[1])
    with pytest.raises(CeremonyError, match="overwrites nothing"):
        hold_issuing(held.root_files, tmp_path / "two", "TST", generation=2, key_plan=key_plan(), occasion=occasion())
    late = occasion(held.root.not_valid_after_utc - timedelta(days=100))
    made = hold_issuing(held.root_files, tmp_path / "late", "PRD", generation=1, key_plan=key_plan(), occasion=late)
    assert certificate(made["issuing-prd.crt"]).not_valid_after_utc == held.root.not_valid_after_utc
    over = occasion(held.root.not_valid_after_utc)
    with pytest.raises(CeremonyError, match="not valid"):
        hold_issuing(held.root_files, tmp_path / "over", "PRD", generation=2, key_plan=key_plan(), occasion=over)


def test_a_root_with_another_key_or_passphrase_signs_nothing(held: Held, tmp_path: Path) -> None:
    other = replace(held.root_files, key=held.folder / "issuing-tst.key.pem")
    with pytest.raises(CeremonyError, match="not the key of"):
        hold_issuing(other, tmp_path / "x", "TST", generation=2, key_plan=key_plan(), occasion=occasion())
    closed = replace(held.root_files, passphrase=b"another passphrase")
    with pytest.raises(SignerError):
        hold_issuing(closed, tmp_path / "x", "TST", generation=2, key_plan=key_plan(), occasion=occasion())
    not_a_root = replace(
        held.root_files, certificate=held.folder / "issuing-tst.crt", key=held.folder / "issuing-tst.key.pem"
    )
    with pytest.raises(CeremonyError, match="certificate of a root"):
        hold_issuing(not_a_root, tmp_path / "x", "TST", generation=2, key_plan=key_plan(), occasion=occasion())
    assert not (tmp_path / "x").exists()


def test_the_next_root_crl_keeps_what_was_withdrawn(held: Held, tmp_path: Path) -> None:
    issuing = held.folder / "issuing-tst.crt"
    made = make_root_crl(held.root_files, held.folder / "root.crl", tmp_path / "2", (), occasion())
    second = x509.load_der_x509_crl(made["root.crl"].read_bytes())
    assert len(second) == 0
    gone = [(issuing, RevocationReason.CESSATION_OF_OPERATION)]
    later = occasion(NOW + timedelta(days=60))
    made = make_root_crl(held.root_files, made["root.crl"], tmp_path / "3", gone, later)
    made = make_root_crl(held.root_files, made["root.crl"], tmp_path / "4", (), occasion(NOW + timedelta(days=90)))
    crl = x509.load_der_x509_crl(made["root.crl"].read_bytes())
    assert crl.is_signature_valid(held.root.public_key())  # type: ignore[arg-type]
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 4
    entry = crl.get_revoked_certificate_by_serial_number(certificate(issuing).serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == later.at
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "cessationOfOperation"
    # What is listed is not listed again, and nothing goes back in time.
    with pytest.raises(CeremonyError, match="on the list already"):
        make_root_crl(held.root_files, made["root.crl"], tmp_path / "5", gone, occasion(NOW + timedelta(days=120)))
    with pytest.raises(CeremonyError, match="clock"):
        make_root_crl(held.root_files, made["root.crl"], tmp_path / "5", (), occasion())
    assert not (tmp_path / "5").exists()


def test_a_root_withdraws_only_what_it_issued_and_for_good(held: Held, tmp_path: Path) -> None:
    fake = FakeAuthority()
    stranger = tmp_path / "stranger.crt"
    stranger.write_bytes(fake.issuing.pem)
    issuing = held.folder / "issuing-tst.crt"
    for path, reason, words in (
        (stranger, RevocationReason.SUPERSEDED, "that this root issued"),
        (held.folder / "root.crt", RevocationReason.SUPERSEDED, "cannot withdraw itself"),
        (issuing, RevocationReason.CERTIFICATE_HOLD, "for good"),
        (issuing, RevocationReason.REMOVE_FROM_CRL, "for good"),
    ):
        with pytest.raises(CeremonyError, match=words):
            make_root_crl(held.root_files, held.folder / "root.crl", tmp_path / "x", [(path, reason)], occasion())
    foreign = tmp_path / "foreign.crl"
    foreign.write_bytes(fake.root_crl())
    for previous in (foreign, held.folder / "issuing-tst.crl", held.folder / "root.crt"):
        with pytest.raises(CeremonyError, match="CRL"):
            make_root_crl(held.root_files, previous, tmp_path / "x", (), occasion())


def test_a_cross_certificate_is_the_other_root_by_this_one(held: Held, tmp_path: Path) -> None:
    second = hold_ceremony(replace(plan(tmp_path / "two"), generation=2), NOW + timedelta(days=10))
    made = cross_certify(held.root_files, second["root-2.crt"], tmp_path / "cross", occasion())
    cross, new = certificate(made["root-2-cross.crt"]), certificate(second["root-2.crt"])
    cross.verify_directly_issued_by(held.root)
    assert (cross.subject, cross.public_key()) == (new.subject, new.public_key())
    assert cross.not_valid_after_utc <= min(held.root.not_valid_after_utc, new.not_valid_after_utc)
    certificate(second["issuing-tst-2.crt"]).verify_directly_issued_by(cross)
    for other, words in (
        (held.folder / "root.crt", "another name"),
        (second["issuing-tst-2.crt"], "certificate of a root"),
        (second["pki.toml"], "certificate of a root"),
    ):
        with pytest.raises(CeremonyError, match=words):
            cross_certify(held.root_files, other, tmp_path / "x", occasion())
    over = occasion(held.root.not_valid_after_utc)
    with pytest.raises(CeremonyError, match="not both valid"):
        cross_certify(held.root_files, second["root-2.crt"], tmp_path / "x", over)


def test_a_ca_certificate_of_the_profile_passes_and_others_do_not(held: Held) -> None:
    above = Above(held.root, Publication(BASE_URL, "root"))
    good = certificate(held.folder / "issuing-tst.crt").public_bytes(Encoding.DER)
    lint_authority(good, 0, above)
    lint_authority(held.root.public_bytes(Encoding.DER), 2, None)
    for der, path_length, by in (
        (good, 1, above),
        (good, 0, None),
        (good, 0, Above(held.root, Publication(BASE_URL, "root-2"))),
        (held.root.public_bytes(Encoding.DER), 2, above),
        (FakeAuthority().issuing.der, 0, above),
    ):
        with pytest.raises(Refused) as caught:
            lint_authority(der, path_length, by)
        assert caught.value.reason is Reason.LINT_FAILED


def test_an_issuing_key_in_a_token_leaves_no_key_file(hsm: SoftHsm, tmp_path: Path) -> None:
    token = HsmPlan(hsm.module, "sluis", hsm.pin_file)
    acc = replace(plan(tmp_path / "ca"), environment="ACC", hsm=token, issuing_kind="ec-p384")
    made = hold_ceremony(acc, NOW)
    assert sorted(name for name in made if name.endswith(".key.pem")) == ["root.key.pem"]
    assert 'token "sluis"' in made["transcript.md"].read_text()
    certificate(made["issuing-acc.crt"]).verify_directly_issued_by(certificate(made["root.crt"]))
    # A second ceremony into another folder does not touch the key that is there.
    with pytest.raises(SignerError, match="replaces nothing"):
        hold_ceremony(replace(acc, folder=tmp_path / "again"), NOW)
    assert not (tmp_path / "again").exists()


def test_the_commands_of_a_production_ceremony(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("root.pass", "issuing.pass"):
        (tmp_path / name).write_bytes(PASSPHRASE + name.encode())
        (tmp_path / name).chmod(0o600)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pki", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    secrets = ("--root-passphrase-file", "root.pass", "--issuing-passphrase-file", "issuing.pass")
    first = (
        "ceremony",
        "--out",
        "ca",
        "--organization",
        "Sluis",
        "--environment",
        "PRD",
        "--base-url",
        BASE_URL,
        *secrets,
    )
    persons = ("--leader", "A. Jansen", "--witness", "B. de Vries")
    status, _, err = run(*first)
    assert (status, "two persons" in err) == (2, True)
    assert run(*first, *persons)[0] == 0
    status, out, _ = run("ceremony-verify", "ca/transcript.md")
    assert (status, "as the transcript says;" in out) == (0, True)
    settings = tmp_path / "ca" / "pki.toml"
    settings.write_text(settings.read_text() + "\n# edited\n")
    status, out, _ = run("ceremony-verify", "ca/transcript.md")
    assert (status, "as the transcript says, and pki.toml was changed since" in out) == (0, True)
    common = ("--root", "ca/root.crt", "--base-url", BASE_URL, *persons, "--before", "ca/transcript.md")
    further = ("ceremony-issuing", *common, *secrets, "--environment", "PRD", "--generation", "2", "--out", "two")
    assert run(*further)[0] == 0
    before = hashlib.sha256((tmp_path / "ca" / "transcript.md").read_bytes()).hexdigest()
    assert before in (tmp_path / "two" / "transcript.md").read_text()
    again = (*first, *persons)
    assert run(*(text.replace("ca", "new", 1) if text == "ca" else text for text in again), "--generation", "2")[0] == 0
    cross = ("ceremony-cross", *common, *secrets[:2], "--certificate", "new/root-2.crt", "--out", "cross")
    assert run(*cross)[0] == 0
    assert run("ceremony-root-crl", *common, *secrets[:2], "--previous", "ca/root.crl", "--out", "crl")[0] == 2
    bare = [word for word in common if word not in {"--base-url", BASE_URL}]
    crl = ("ceremony-root-crl", *bare, *secrets[:2], "--previous", "ca/root.crl", "--out", "crl")
    assert run(*crl, "--revoke", "ca/issuing-prd.crt")[0] == 2
    assert run(*crl, "--revoke", "ca/issuing-prd.crt=tired")[0] == 2
    nobody = [word for word in crl if word not in persons]
    for wrong in (nobody, [*nobody, "--environment", "prd"]):
        status, _, err = run(*wrong)
        assert (status, "--environment" in err) == (2, True)
    (tmp_path / "ca" / "root.crl").rename(tmp_path / "ca" / "old.crl")
    status, _, err = run(*crl)
    assert (status, "root.crl" in err) == (1, True)
    (tmp_path / "ca" / "old.crl").rename(tmp_path / "ca" / "root.crl")
    (tmp_path / "ca" / "root.crt").write_bytes((tmp_path / "two" / "issuing-prd-2.crt").read_bytes())
    status, out, _ = run("ceremony-verify", "ca/transcript.md", "--json")
    shown = json.loads(out)
    assert (status, shown["acceptable"], shown["files"]["root.crt"]["verdict"]) == (3, False, "changed")
    assert run("ceremony", "--hsm", "x.so", *first[1:], *persons)[0] == 2


def test_one_file_for_both_passphrases_is_refused_by_whatever_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pass").write_bytes(PASSPHRASE)
    (tmp_path / "a.pass").chmod(0o600)
    (tmp_path / "soft").symlink_to("a.pass")
    (tmp_path / "hard").hardlink_to(tmp_path / "a.pass")
    for other in ("a.pass", "./a.pass", "soft", "hard"):
        command = (
            *("pki", "ceremony", "--out", "ca", "--organization", "Sluis", "--environment", "TST", "--base-url"),
            *(BASE_URL, "--root-passphrase-file", "a.pass", "--issuing-passphrase-file", other),
        )
        monkeypatch.setattr(sys, "argv", list(command))
        with pytest.raises(SystemExit) as caught:
            main()
        assert (caught.value.code, "one file for two passphrases" in capsys.readouterr().err) == (1, True)
    assert not (tmp_path / "ca").exists()


SAME = "have one passphrase or PIN"


@pytest.mark.parametrize("way", ["two files", "typed", "pin"])
def test_one_secret_for_root_and_issuing_ca_is_refused_in_production(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, secret in (("a.pass", PASSPHRASE), ("b.pass", PASSPHRASE + b"\nsecond line"), ("c.pass", b"x" * 30)):
        (tmp_path / name).write_bytes(secret)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setattr(asked, "_has_terminal", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: PASSPHRASE.decode())
    root, issuing = ("--root-passphrase-file", "a.pass"), "--issuing-passphrase-file"
    given = {
        "two files": (*root, issuing, "b.pass"),
        "typed": root,
        "pin": (*root, "--hsm", "module.so", "--hsm-token", "sluis", "--hsm-pin-file", "b.pass"),
    }[way]

    def held(out: str, *arguments: str) -> tuple[object, str]:
        who = ("--leader", "Anna", "--witness", "Bram", "--base-url", BASE_URL, "--out", out)
        monkeypatch.setattr(sys, "argv", ["pki", *arguments, *who])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, capsys.readouterr().err

    first = ("ceremony", "--organization", "Sluis", "--environment")
    status, err = held("ca", *first, "PRD", *given)
    assert (status, SAME in err) == (1, True)
    assert PASSPHRASE.decode() not in err
    assert not (tmp_path / "ca").exists()
    # Another secret passes, and so does the same one where tests are the only loss.
    assert held("ca", *first, "PRD", *root, issuing, "c.pass")[0] in {0, None}
    if way != "pin":
        assert held("tst", *first, "TST", *given)[0] in {0, None}
    further = ("ceremony-issuing", "--root", "ca/root.crt", "--generation", "2", "--environment", "PRD")
    status, err = held("two", *further, *given)
    assert (status, SAME in err) == (1, True)
    assert not (tmp_path / "two").exists()


def test_where_nobody_can_be_asked_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "_has_terminal", lambda: False)
    for which in ("root", "issuing"):
        with pytest.raises(CeremonyError, match=f"--{which}-passphrase-file"):
            asked.passphrase(None, which)
    monkeypatch.setattr(asked, "_has_terminal", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: PASSPHRASE.decode())
    assert asked.passphrase(None, "root") == PASSPHRASE
