"""Renewing by itself: when, how often it tries, and what is on disk at each moment. The CA is real, HTTP is not."""

import shlex
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from authz.domain.identifiers import Identifier
from pki.holder.confirming import ConfirmationFailed
from pki.holder.est_client import EstClient, EstError, Obtained, check
from pki.holder.keyset import KEPT, Keyset, KeysetError
from pki.holder.renewal import LAST_RETRY, LOOK, Renewer, due_at, read_hook
from pki.signing.signer import PrivateKey
from tests.fakes.certificates import NOW, FakeAuthority, Odd
from tests.fakes.clock import FixedClock

WHO = Identifier.parse_subject("uzovi:5000")
LIFE = timedelta(days=398)


class FakeEst:
    """Certifies whatever key is asked, unless told to refuse."""

    def __init__(self, ca: FakeAuthority, clock: FixedClock) -> None:
        self.ca, self.clock = ca, clock
        self.refusal: EstError | None = None
        self.asked = 0

    def certify(self, key: PrivateKey) -> Obtained:
        start = self.clock.now() - timedelta(days=1)
        leaf = self.ca.issue("uzovi:5000", key=key, not_before=start, not_after=start + LIFE)
        return Obtained(leaf.der, leaf.chain_der)

    def reenrol(self, identity: Identifier, current: Path, key: PrivateKey) -> Obtained:
        self.asked += 1
        assert identity == WHO
        assert (current / "chain.pem").exists()
        if self.refusal is not None:
            raise self.refusal
        return self.certify(key)


@pytest.fixture
def keyset(tmp_path: Path) -> Keyset:
    return Keyset(tmp_path / "certs")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def est(keyset: Keyset, clock: FixedClock) -> FakeEst:
    """With a first certificate in the folder."""
    made = FakeEst(FakeAuthority(), clock)
    with keyset.locked():
        first = made.certify(keyset.pending_key("ec-p256"))
        keyset.install(first.certificate, list(first.issuers))
    return made


@pytest.fixture
def renewer(keyset: Keyset, est: FakeEst, clock: FixedClock) -> Callable[..., Renewer]:
    def make(hook: str | None = None, confirm: Callable[[], bool] | None = None) -> Renewer:
        return Renewer(keyset, est, WHO, clock, hook=shlex.split(hook or ""), confirm=confirm, rng=lambda: 1.0)  # type: ignore[arg-type]

    return make


def used(keyset: Keyset) -> x509.Certificate:
    found = keyset.certificate()
    assert found is not None
    return found


def test_a_third_of_the_life_before_the_end(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer]
) -> None:
    first = used(keyset)
    due = due_at(first)
    latest = first.not_valid_after_utc - LIFE / 3
    assert latest - LIFE / 30 <= due <= latest
    assert due == due_at(first)  # a restart does not move it
    clock.moment = due - timedelta(seconds=10)
    step = renewer().step()
    assert (step.renewed, step.wait, est.asked) == (False, 10, 0)
    clock.moment = due
    assert renewer().step().renewed
    assert used(keyset) != first
    assert renewer().step().wait == LOOK


class Confirmations:
    """What the authority hears, and with which certificate in use."""

    def __init__(self, keyset: Keyset) -> None:
        self.keyset = keyset
        self.heard: list[x509.Certificate] = []
        self.away = False

    def __call__(self) -> bool:
        if self.away:
            raise ConfirmationFailed("away")
        self.heard.append(used(self.keyset))
        return True


def test_use_is_confirmed_once_with_the_new_certificate_after_the_programs_took_it(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer], tmp_path: Path
) -> None:
    first = used(keyset)
    clock.moment = due_at(first)
    confirmations, ready = Confirmations(keyset), tmp_path / "ready"
    working = renewer(f"test -e {ready}", confirmations)
    # The hook fails: nobody knows yet whether the new one is in use, and both work.
    assert working.step().failed == "the reload hook failed"
    assert working.step().failed == "the reload hook failed"
    assert confirmations.heard == []
    ready.touch()
    confirmations.away = True
    step = working.step()
    assert (step.failed is not None, step.renewed) == (True, False)
    assert "confirming" in str(step.failed)
    confirmations.away = False
    # After a kill another process says it.
    again = renewer(f"test -e {ready}", confirmations)
    assert again.step().failed is None
    assert confirmations.heard == [used(keyset)]
    assert used(keyset) != first
    again.step()
    assert len(confirmations.heard) == 1
    assert est.asked == 1


def test_nothing_is_confirmed_unasked(keyset: Keyset, clock: FixedClock, renewer: Callable[..., Renewer]) -> None:
    clock.moment = due_at(used(keyset))
    assert renewer("true").step().renewed
    confirmations = Confirmations(keyset)
    assert renewer("true", confirmations).step().failed is None
    assert confirmations.heard == []
    # What the command line does for somebody who asks for it without anything to renew.
    keyset.expect_confirmation()
    renewer("true", confirmations).step()
    assert confirmations.heard == [used(keyset)]


def test_certificates_of_one_day_do_not_renew_in_one_minute(clock: FixedClock) -> None:
    ca = FakeAuthority()
    moments = {due_at(ca.issue("uzovi:5000").certificate) for _ in range(20)}
    assert max(moments) - min(moments) > timedelta(days=2)


def test_failures_back_off_to_a_limit_and_success_starts_anew(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer]
) -> None:
    clock.moment = due_at(used(keyset))
    working = renewer()
    est.refusal = EstError("away")
    waits = [working.step().wait for _ in range(12)]
    assert waits[:4] == [60, 120, 240, 480]
    assert waits[-1] == LAST_RETRY
    est.refusal = EstError("busy", retry_after=100_000)
    assert working.step().wait == 100_000
    est.refusal = None
    assert working.step().renewed
    clock.moment = due_at(used(keyset))
    est.refusal = EstError("away")
    assert working.step().wait == 60


def test_the_same_key_is_asked_again_unless_it_was_refused(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer]
) -> None:
    clock.moment = due_at(used(keyset))
    waiting = keyset.folder / "pending" / "key.pem"
    est.refusal = EstError("away")
    renewer().step()
    key = waiting.read_bytes()
    renewer().step()
    assert waiting.read_bytes() == key
    est.refusal = EstError("blocked", reason="key_blocked", refused=True, lasting=True)
    assert renewer().step().wait == LAST_RETRY
    assert not waiting.exists()


def test_an_expired_certificate_is_told_and_not_used(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer]
) -> None:
    clock.moment = used(keyset).not_valid_after_utc + timedelta(seconds=1)
    step = renewer().step()
    assert "ask an operator for a code" in str(step.failed)
    assert est.asked == 0


def test_a_hook_that_fails_is_repeated_and_stops_no_renewal(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    failing, working = f"sh -c 'echo no >> {log}; false'", f"sh -c 'echo yes >> {log}'"
    clock.moment = due_at(used(keyset))
    assert renewer(failing).step().failed == "the reload hook failed"
    second = used(keyset)
    due = keyset.folder / "reload-due"
    assert due.exists()
    assert renewer(failing).step().failed == "the reload hook failed"
    clock.moment = due_at(second)
    assert renewer(failing).step().renewed
    assert used(keyset) != second
    assert renewer(working).step().failed is None
    assert not due.exists()
    renewer(working).step()
    assert log.read_text().split() == ["no"] * 4 + ["yes"]


def test_a_hook_that_is_not_there(keyset: Keyset, clock: FixedClock, renewer: Callable[..., Renewer]) -> None:
    clock.moment = due_at(used(keyset))
    step = renewer("/nowhere/reload 'x y'").step()
    assert step.renewed
    assert step.failed == "the reload hook failed"


def test_a_hook_is_no_shell_line(
    keyset: Keyset, clock: FixedClock, renewer: Callable[..., Renewer], tmp_path: Path
) -> None:
    clock.moment = due_at(used(keyset))
    renewer(f"true ; touch {tmp_path / 'owned'}").step()
    assert not (tmp_path / "owned").exists()


def test_old_sets_go_and_the_current_one_stays(
    keyset: Keyset, est: FakeEst, clock: FixedClock, renewer: Callable[..., Renewer]
) -> None:
    for _ in range(KEPT + 2):
        clock.moment = due_at(used(keyset))
        assert renewer().step().renewed
    sets = [path for path in (keyset.folder / "sets").iterdir() if not path.name.startswith(".")]
    assert len(sets) == KEPT
    assert keyset.current.resolve() in sets


def test_a_folder_without_a_certificate_or_with_a_pair_that_does_not_fit(
    keyset: Keyset, est: FakeEst, tmp_path: Path, renewer: Callable[..., Renewer]
) -> None:
    with pytest.raises(KeysetError, match="use `pki enrol` first"):
        Renewer(Keyset(tmp_path / "empty"), est, WHO, FixedClock()).step()  # type: ignore[arg-type]
    key = keyset.current / "key.pem"
    other = FakeAuthority().issue("uzovi:5000").key_pem
    key.write_bytes(other)
    with pytest.raises(KeysetError, match="not of the key beside it"):
        renewer().step()
    key.chmod(0o644)
    with pytest.raises(KeysetError, match="chmod 600"):
        renewer().step()


def test_a_certificate_of_another_key_is_not_installed(keyset: Keyset, est: FakeEst) -> None:
    before = used(keyset)
    keyset.pending_key("ec-p256")
    with pytest.raises(KeysetError, match="not of the key"):
        keyset.install(FakeAuthority().issue("uzovi:5000").der, [])
    assert used(keyset) == before


def test_two_in_one_folder(keyset: Keyset, renewer: Callable[..., Renewer]) -> None:
    with keyset.locked(), pytest.raises(KeysetError, match="another pki enrol or reenrol"):
        renewer().step()


@pytest.mark.parametrize("identity", ["uzovi:6000", None])
def test_what_comes_back_must_be_for_us(identity: str | None) -> None:
    ca = FakeAuthority()
    good, other = ca.issue("uzovi:5000"), ca.issue(identity)
    authorities = [ca.root.certificate]
    between = [ca.issuing.certificate]
    assert check(good.certificate, between, authorities, WHO, good.key).issuers == good.chain_der
    for certificate, others, anchors, key, words in (
        (other.certificate, between, authorities, other.key, "identity|whose it is"),
        (good.certificate, between, authorities, other.key, "another key"),
        (good.certificate, [], authorities, good.key, "does not lead"),
        (good.certificate, between, [ca.rogue().root.certificate], good.key, "does not lead"),
        (good.certificate, [ca.rogue().issuing.certificate], authorities, good.key, "does not lead"),
    ):
        with pytest.raises(EstError, match=words):
            check(certificate, others, anchors, WHO, key)


def test_an_authority_that_says_it_is_trusted_is_not() -> None:
    """A CA certificate that came along ends no path: only the one that the participant brought does."""
    rogue = FakeAuthority().rogue()
    leaf = rogue.issue("uzovi:5000")
    own = FakeAuthority()
    with pytest.raises(EstError, match="does not lead"):
        check(
            leaf.certificate,
            [rogue.issuing.certificate, rogue.root.certificate],
            [own.root.certificate],
            WHO,
            leaf.key,
        )


def test_a_leaf_that_acts_as_a_ca_ends_no_path() -> None:
    ca = FakeAuthority()
    holder = ca.issue("uzovi:6000")
    forged = ca.issue("uzovi:5000", issuer=holder, odd=Odd(issuer=holder.certificate.subject))
    with pytest.raises(EstError, match="does not lead"):
        check(
            forged.certificate,
            [holder.certificate, ca.issuing.certificate],
            [ca.root.certificate],
            WHO,
            forged.key,
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://pki.test",
        "pki.test",
        "https://",
        "https://a:b@pki.test",
        "https://pki.test/path",
        "https://pki.test?x=1",
        "https://pki.test#x",
        "https://[::1",
        "https://xn--.nl",
        f"https://{'a' * 70}.nl",
        "https://pki.test:99999",
        "https://pki.test:0",
        "https://pki.test:x",
        "https://pki test",
        "https://pki.test\n",
        "https://pki..test",
        "",
    ],
)
def test_where_a_code_may_not_go(url: str) -> None:
    pem = FakeAuthority().root.pem
    with pytest.raises(Refused, match="expected https"):
        EstClient(url, pem)
    for good in ("https://pki.test:8443/", "https://127.0.0.1", "https://[::1]:8443", "https://xn--bcher-kva.nl"):
        assert EstClient(good, pem)
    for name in ("a b", "\udcff", "x" * 70, "", "a/b", "é.nl"):
        with pytest.raises(Refused, match="--server-name"):
            EstClient("https://pki.test", pem, name)
    with pytest.raises(EstError, match="CA certificates"):
        EstClient("https://pki.test", b"nothing")


def test_what_curl_users_see_is_what_is_written(keyset: Keyset, est: FakeEst) -> None:
    chain = keyset.current / "chain.pem"
    found = x509.load_pem_x509_certificates(chain.read_bytes())
    assert [item.public_bytes(Encoding.DER) for item in found[1:]] == [est.ca.issuing.der]
    listing = subprocess.run(["openssl", "x509", "-in", str(chain), "-noout"], check=False, capture_output=True)
    assert listing.returncode == 0


@pytest.mark.parametrize("text", ["x 'y", "", "  ", "no-such-program --now", "/no/such/program", "./README"])
def test_a_hook_that_could_never_run_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(Refused, match="--reload-hook"):
        read_hook(text)
    assert read_hook("sh -c 'exit 0'") == ["sh", "-c", "exit 0"]
    assert read_hook(None) == []


def test_a_waiting_key_of_another_kind_is_told_and_not_used(keyset: Keyset) -> None:
    with keyset.locked():
        key = keyset.pending_key("ec-p384")
        for same in ("ec-p384", None):
            assert keyset.pending_key(same).private_numbers() == key.private_numbers()
        with pytest.raises(KeysetError, match="--key-kind ec-p384"):
            keyset.pending_key("ec-p256")
        keyset.drop_pending()
        assert keyset.pending_key().key_size == 256


def test_a_daemon_that_is_told_now_renews_now_and_once(
    keyset: Keyset, est: FakeEst, renewer: Callable[..., Renewer]
) -> None:
    class Stop(threading.Event):
        looks = 0

        def wait(self, timeout: float | None = None) -> bool:
            del timeout
            self.looks += 1
            if self.looks == 2:
                est.refusal = None
            if self.looks == 4:
                self.set()
            return self.is_set()

    before = used(keyset)
    est.refusal = EstError("away")
    renewer().run(Stop(), now=True)
    assert est.asked == 3  # twice in vain, and then once more
    assert used(keyset) != before
    asked = est.asked
    renewer().run(Stop())
    assert est.asked == asked
