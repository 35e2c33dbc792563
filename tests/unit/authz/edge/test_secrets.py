"""Secret files follow the files they are made from, and never become worse than they were."""

import json
from pathlib import Path

import pytest

from authz.domain.files import write_whole
from authz.edge.secrets import OwnCertificate, PeerValidation, SecretFiles, SecretsError
from tests.fakes.edge_pki import EdgeAuthority


@pytest.fixture
def authority() -> EdgeAuthority:
    return EdgeAuthority()


def content(folder: Path, name: str) -> str:
    return json.dumps(json.loads((folder / f"{name}.json").read_text()))


def test_a_renewed_pair_is_taken_over_and_a_half_renewed_one_is_not(tmp_path: Path, authority: EdgeAuthority) -> None:
    first, second = authority.leaf("a"), authority.leaf("a")
    certificate, key = first.write(tmp_path, "own")
    files = SecretFiles(tmp_path / "tls", [OwnCertificate(certificate, key)])
    files.write_all()
    assert files.refresh() == []
    before = content(tmp_path / "tls", "server")
    # As who renews does it: another file in its place. Written into, it could have the same size at the same moment.
    write_whole(certificate, second.chain_pem.encode())
    assert files.refresh() == []
    assert content(tmp_path / "tls", "server") == before
    write_whole(key, second.key_pem.encode())
    assert files.refresh() == ["server"]
    assert content(tmp_path / "tls", "server") != before


def test_files_are_for_the_owner_only(tmp_path: Path, authority: EdgeAuthority) -> None:
    files = SecretFiles(tmp_path / "tls", [OwnCertificate(*authority.leaf("a").write(tmp_path, "own"))])
    files.write_all()
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tls" / "server.json").stat().st_mode & 0o777 == 0o600


def test_a_pair_that_does_not_fit_stops_the_start(tmp_path: Path, authority: EdgeAuthority) -> None:
    certificate, _ = authority.leaf("a").write(tmp_path, "own")
    _, key = authority.leaf("a").write(tmp_path, "other")
    with pytest.raises(SecretsError, match="is not the key of"):
        SecretFiles(tmp_path / "tls", [OwnCertificate(certificate, key)]).write_all()


def test_crls_come_and_go(tmp_path: Path, authority: EdgeAuthority) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    crls = tmp_path / "crls"
    files = SecretFiles(tmp_path / "tls", [PeerValidation((tmp_path / "ca.pem",), crls)])
    files.write_all()
    assert "X509 CRL" not in content(tmp_path / "tls", "clients")
    crls.mkdir()
    (crls / "a.crl").write_bytes(authority.crl())
    assert files.refresh() == ["clients"]
    good = content(tmp_path / "tls", "clients")
    assert "X509 CRL" in good
    assert "ACCEPT_UNTRUSTED" in good
    (crls / "a.crl").write_bytes(b"not a CRL")
    assert files.refresh() == []
    assert content(tmp_path / "tls", "clients") == good


def test_what_could_not_be_written_is_written_the_next_time(
    tmp_path: Path, authority: EdgeAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    crls = tmp_path / "crls"
    crls.mkdir()
    files = SecretFiles(tmp_path / "tls", [PeerValidation((tmp_path / "ca.pem",), crls)])
    files.write_all()
    (crls / "a.crl").write_bytes(authority.crl())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(SecretFiles, "_write", full)
        with pytest.raises(OSError, match="No space"):
            files.refresh()
    assert files.refresh() == ["clients"]
    assert "X509 CRL" in content(tmp_path / "tls", "clients")


def test_an_upstream_must_prove_its_name(tmp_path: Path, authority: EdgeAuthority) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    upstream = PeerValidation((tmp_path / "ca.pem",), server_name="register.test", name="register")
    SecretFiles(tmp_path / "tls", [upstream]).write_all()
    written = content(tmp_path / "tls", "register")
    assert "register.test" in written
    assert "ACCEPT_UNTRUSTED" not in written


@pytest.mark.parametrize("text", ["", "no PEM"])
def test_an_unusable_ca_bundle_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(SecretsError):
        SecretFiles(tmp_path / "tls", [PeerValidation((tmp_path / "ca.pem",))]).write_all()
