"""Trust material that is refused, kept, loaded without authz, and told stale when it is."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.policy.archive import pack, unpack
from authz.policy.bundle import VerifiedBundle, sign_bundle
from authz.policy.signing import BundleKey, PemSigner
from authz.policy.wasm import WasmEngine
from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.clock import FixedClock
from tests.fakes.datastation import ISSUER, Material, TokenKey
from trust_agent.material import MaterialRefused
from trust_agent.trust_store import MaxAges, TrustStore

CA = FakeAuthority()
_BUNDLE = ec.generate_private_key(ec.SECP256R1())
PEM = _BUNDLE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = _BUNDLE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
MATERIAL = Material(bundle_key=PEM)
BUNDLE = MATERIAL.bundle()


def make(folder: Path, clock: FixedClock, **options: Any) -> TrustStore:
    crls = CA.crl_store(CA.root_crl())
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "algorithms": ["ES256"],
        "bundle_keys": [BundleKey("test-bundle", PUBLIC, NOW - timedelta(days=1), NOW + timedelta(days=9))],
        "crls": crls,
        "validator": CA.validator(crls),
        "ages": MaxAges(timedelta(hours=3), timedelta(hours=1), timedelta(hours=2)),
        "clock": clock,
    } | options
    return TrustStore(folder, **settings)


@pytest.fixture(scope="module", autouse=True)
def _one_engine() -> Iterator[None]:
    # Compiling takes a third of a second; every test has the same bundle.
    made: dict[str, WasmEngine] = {}

    def engine(bundle: VerifiedBundle) -> WasmEngine:
        return made.get(bundle.etag) or made.setdefault(bundle.etag, WasmEngine(bundle))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trust_agent.trust_store.WasmEngine", engine)
        yield
    made.clear()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock) -> TrustStore:
    made = make(tmp_path, clock)
    made.take("jwks", MATERIAL.jwks(), '"j"')
    made.take("revocations", MATERIAL.feed(NOW, exp=int(NOW.timestamp()) + 10 * 3600), '"r"')
    made.take("bundle", BUNDLE, '"b"')
    made.take_crl(CA.crl())
    return made


def reason(store: TrustStore, clock: FixedClock) -> Reason | None:
    try:
        store.require_fresh(clock.now())
        store.engine(clock.now())
    except Refused as refused:
        return refused.reason
    return None


def test_fresh_material_enforces(store: TrustStore, clock: FixedClock) -> None:
    assert reason(store, clock) is None
    assert all(item.fresh for item in store.status(clock.now()))


def test_nothing_at_all_refuses(tmp_path: Path, clock: FixedClock) -> None:
    store = make(tmp_path, clock)
    assert store.load() == []
    assert reason(store, clock) is Reason.KEYS_STALE
    assert not any(item.fresh for item in store.status(clock.now()) if not item.name.startswith("crl"))


def test_the_agent_starts_from_what_was_kept_without_authz(
    store: TrustStore, tmp_path: Path, clock: FixedClock
) -> None:
    again = make(tmp_path, clock)
    assert {"jwks", "revocations", "bundle"} <= set(again.load())
    assert reason(again, clock) is None
    assert again.etag("bundle") == '"b"'
    leaf = CA.issue("uzovi:5000")
    assert again.validator.validate(leaf.der, leaf.chain_der, NOW)


@pytest.mark.parametrize(
    ("confirmed", "stale_after", "expected"),
    [
        (("jwks", "bundle"), timedelta(hours=1), Reason.REVOCATIONS_STALE),
        (("jwks", "revocations"), timedelta(hours=2), Reason.BUNDLE_STALE),
        (("bundle", "revocations"), timedelta(hours=3), Reason.KEYS_STALE),
    ],
)
def test_each_material_that_gets_too_old_has_its_own_reason(
    store: TrustStore, clock: FixedClock, confirmed: tuple[str, ...], stale_after: timedelta, expected: Reason
) -> None:
    clock.moment = NOW + stale_after
    for name in confirmed:
        store.confirm(name)
    assert reason(store, clock) is None
    clock.advance(seconds=1)
    assert reason(store, clock) is expected


def test_the_age_survives_a_restart(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    clock.advance(hours=1, seconds=1)
    again = make(tmp_path, clock)
    again.load()
    assert reason(again, clock) is Reason.REVOCATIONS_STALE


def test_a_confirmation_is_remembered(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    clock.advance(minutes=59)
    for name in ("jwks", "revocations", "bundle"):
        store.confirm(name)
    clock.advance(minutes=30)
    again = make(tmp_path, clock)
    again.load()
    assert reason(again, clock) is None


def test_material_from_the_future_has_no_known_age(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    clock.advance(hours=-1)
    again = make(tmp_path, clock)
    assert not {"jwks", "revocations", "bundle"} & set(again.load())


def test_an_expired_feed_is_stale_whatever_its_confirmation(store: TrustStore, clock: FixedClock) -> None:
    store.take("revocations", MATERIAL.feed(NOW + timedelta(seconds=1), exp=int(NOW.timestamp()) + 60), '"r2"')
    clock.advance(seconds=59)
    assert reason(store, clock) is None
    clock.advance(seconds=1)
    store.confirm("revocations")
    assert reason(store, clock) is Reason.REVOCATIONS_STALE


@pytest.mark.parametrize("name", ["jwks", "revocations", "bundle"])
@pytest.mark.parametrize("how", ["altered", "truncated", "empty", "without note"])
def test_altered_files_are_not_used(store: TrustStore, tmp_path: Path, clock: FixedClock, name: str, how: str) -> None:
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    if how == "altered":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "without note":
        (tmp_path / f"{name}.note").unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if how == "truncated" else b"")
    again = make(tmp_path, clock)
    assert name not in again.load()
    assert reason(again, clock) is not None


def test_a_kept_bundle_is_verified_again(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    stranger = BundleKey("other", PUBLIC, NOW - timedelta(days=1), NOW + timedelta(days=9))
    again = make(tmp_path, clock, bundle_keys=[stranger])
    assert "bundle" not in again.load()
    assert reason(again, clock) is Reason.POLICY_UNAVAILABLE


NOW_S = int(NOW.timestamp())
FEEDS: dict[str, Any] = {
    "another issuer": lambda: MATERIAL.feed(NOW, iss="https://evil.test", version=9),
    "an older version": lambda: MATERIAL.feed(NOW, version=0),
    "the same version, signed earlier": lambda: MATERIAL.feed(NOW - timedelta(seconds=1)),
    "another key": lambda: Material(bundle_key=PEM).feed(NOW, version=9),
    "an access token": lambda: MATERIAL.keys[0].sign({"iss": ISSUER}).encode(),
    "a key that signs tokens": lambda: replace(MATERIAL, feed_key=MATERIAL.keys[0]).feed(NOW, version=9),
    "no list of keys": lambda: MATERIAL.feed(NOW, version=9, keys=None),
    "no list": lambda: MATERIAL.feed(NOW, version=9, tokens="x"),
    "numbers in a list": lambda: MATERIAL.feed(NOW, version=9, credentials=[1]),
    "a version that is a text": lambda: MATERIAL.feed(NOW, version="9"),
    "a time that is a text": lambda: MATERIAL.feed(NOW, version=9, iat=str(NOW_S)),
    "a time without end": lambda: MATERIAL.feed(NOW, version=9, exp=10**30),
    "not a JWS": lambda: b"hello",
    "not ASCII": "€".encode,
}


@pytest.mark.parametrize("name", FEEDS)
def test_a_wrong_feed_leaves_the_old_one_in_use(store: TrustStore, clock: FixedClock, name: str) -> None:
    with pytest.raises(MaterialRefused):
        store.take("revocations", FEEDS[name](), '"x"')
    assert reason(store, clock) is None
    assert store.etag("revocations") == '"r"'


def test_a_newer_feed_revokes(store: TrustStore) -> None:
    assert not store.is_revoked("t1", [])
    store.take("revocations", MATERIAL.feed(NOW, version=2, tokens=["t1"], grants=["g1"], credentials=["c1"]), '"x"')
    assert store.is_revoked("t1", [])
    assert store.is_revoked("t2", ["g0", "g1"])
    assert not store.is_revoked("t2", ["g2"])
    assert store.is_credential_revoked("c1")
    assert not store.is_credential_revoked("c2")


def test_without_a_feed_everything_is_revoked(tmp_path: Path, clock: FixedClock) -> None:
    assert make(tmp_path, clock).is_revoked("t1", [])


def test_a_withdrawn_key_is_not_used_any_more(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    other = TokenKey("key-2")
    published = replace(MATERIAL, keys=[*MATERIAL.keys, other])
    store.take("jwks", published.jwks(), '"j2"')
    before = store.keys
    store.take("revocations", MATERIAL.feed(NOW, version=2, keys=["key-1"]), '"x"')
    assert before is not store.keys
    assert store.keys.get("key-1", "at+jwt") is None
    assert store.keys.get("key-2", "at+jwt") is not None
    # Somebody in the place of authz who still has the old set brings nothing back, and neither does a restart.
    store.take("jwks", published.jwks(), '"j3"')
    again = make(tmp_path, clock)
    again.load()
    for each in (store, again):
        assert each.keys.get("key-1", "at+jwt") is None
        assert each.keys.get("key-2", "at+jwt") is not None


def test_a_feed_that_withdraws_nothing_new_leaves_the_remembered_tokens(store: TrustStore) -> None:
    before = store.keys
    store.take("revocations", MATERIAL.feed(NOW, version=2, tokens=["t1"]), '"x"')
    assert store.keys is before


def numbered(serial: int | None) -> bytes:
    return replace(MATERIAL, serial=serial).bundle()


def test_an_older_bundle_is_refused_also_after_a_restart(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    store.take("bundle", numbered(3), '"b3"')
    store.take("bundle", numbered(3), '"b3 again"')
    for serial in (2, None):
        with pytest.raises(MaterialRefused):
            store.take("bundle", numbered(serial), '"old"')
    again = make(tmp_path, clock)
    again.load()
    with pytest.raises(MaterialRefused):
        again.take("bundle", numbered(2), '"old"')
    again.take("bundle", numbered(4), '"b4"')
    assert reason(again, clock) is None


def test_what_is_kept_is_for_its_owner_only(tmp_path: Path, clock: FixedClock) -> None:
    before = os.umask(0o022)
    try:
        store = make(tmp_path / "state" / "trust", clock)
        store.take_crl(CA.crl())
        store.take("jwks", MATERIAL.jwks(), '"j"')
    finally:
        os.umask(before)
    found = sorted((tmp_path / "state").rglob("*"))
    assert any(path.is_file() for path in found)
    for path in (tmp_path / "state", *found):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_an_older_bundle_in_the_kept_files_is_refused(store: TrustStore, tmp_path: Path, clock: FixedClock) -> None:
    kept = {name: (tmp_path / name).read_bytes() for name in ("bundle", "bundle.note")}
    store.take("bundle", numbered(2), '"b2"')
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    again = make(tmp_path, clock)
    assert "bundle" not in again.load()
    assert reason(again, clock) is Reason.POLICY_UNAVAILABLE
    again.take("bundle", numbered(2), '"b2"')
    assert reason(again, clock) is None


def test_other_content_under_the_same_number_is_refused(store: TrustStore) -> None:
    other = unpack(numbered(1))
    other["data.json"] = other["data.json"].replace(b"{", b"{ ", 1)
    signed = sign_bundle(pack(other), PemSigner("test-bundle", PEM))
    with pytest.raises(MaterialRefused, match="serial number of another"):
        store.take("bundle", signed, '"x"')
    store.take("bundle", sign_bundle(pack(other), PemSigner("test-bundle", PEM), serial=2), '"y"')


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys":[]}'])
def test_wrong_keys_leave_the_old_ones_in_use(store: TrustStore, clock: FixedClock, content: bytes) -> None:
    with pytest.raises(MaterialRefused):
        store.take("jwks", content, '"x"')
    assert MATERIAL.keys[0].kid in store.keys
    assert reason(store, clock) is None


def test_a_bundle_signed_by_a_stranger_leaves_the_old_one_in_use(store: TrustStore, clock: FixedClock) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(MaterialRefused):
        store.take("bundle", Material(bundle_key=other).bundle(), '"x"')
    assert reason(store, clock) is None


def test_a_pinned_issuer_without_a_crl_does_not_read_well(tmp_path: Path, clock: FixedClock) -> None:
    pin = CA.pin.spki_sha256
    store = make(tmp_path, clock, ages=MaxAges(crls={pin: timedelta(minutes=30)}))
    rows = {item.name: item for item in store.status(NOW) if item.name.startswith("crl")}
    # The root's list is there; that says nothing about whom the issuing CA revoked.
    assert {name: item.fresh for name, item in rows.items()} == {
        f"crl {pin[:16]}": False,
        f"crl {CA.root.spki_sha256[:16]}": True,
    }
    assert rows[f"crl {pin[:16]}"].max_age == timedelta(minutes=30)
    store.take_crl(CA.crl())
    assert all(item.fresh for item in store.status(NOW) if item.name.startswith("crl"))
    late = NOW + timedelta(minutes=31)
    assert [item.name for item in store.status(late) if item.name.startswith("crl") and not item.fresh] == [
        f"crl {pin[:16]}"
    ]


def test_a_disk_that_refuses_does_not_stop_enforcement(
    store: TrustStore, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("trust_agent.material.write_durably", full)
    store.take("revocations", MATERIAL.feed(NOW, version=3, tokens=["t9"]), '"x"')
    assert store.is_revoked("t9", [])
    assert reason(store, clock) is None


async def test_keys_are_not_refetched_without_a_fetcher(store: TrustStore) -> None:
    assert await store.refetch_keys() is False
    _ = TokenKey()
