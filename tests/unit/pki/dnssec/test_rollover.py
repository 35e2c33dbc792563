"""Following a zone's key rollover: nobody adds a key early, nobody but the key itself revokes it."""

from datetime import timedelta
from pathlib import Path

import dns.dnssec
import dns.message
import dns.rrset
import pytest
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from authz.domain.errors import InvalidValue
from deploy.lab.dns import ZoneKey
from pki.dnssec import ChainValidator, DnssecState
from pki.dnssec.model import ChainBroken
from pki.dnssec.rollover import AnchorFile, KeyState
from tests.fakes.dns import NOW, FakeDns, name, stranger

DAY = timedelta(days=1)


def revoked(key: ZoneKey) -> ZoneKey:
    public = key.public.replace(flags=key.public.flags | 128)
    assert isinstance(public, DNSKEY)
    return ZoneKey(key.private, public)


class Root:
    """A root whose DNSKEY set and signers a test chooses."""

    def __init__(self, path: Path) -> None:
        self.dns = FakeDns({"name": "ciz.nl", "records": {"register": ["127.0.0.1"]}})
        self.old = self.dns.zone(".").key
        assert self.old is not None
        self.new = stranger(self.old)
        self.path = path / "anchors.json"
        self.file = AnchorFile(self.path, self.dns.anchors())

    def publish(self, *keys: ZoneKey, signed_by: tuple[ZoneKey, ...]) -> None:
        def change(answer: dns.message.Message) -> dns.message.Message:
            rrset = dns.rrset.from_rdata(name("."), 60, *(key.public for key in keys))
            signatures = [
                dns.dnssec.sign(rrset, k.signer(), name("."), k.public, inception=NOW - DAY, lifetime=100 * 86400)
                for k in signed_by
            ]
            answer.answer = [rrset, dns.rrset.from_rdata(name("."), 60, *signatures)]
            return answer

        self.dns.tamper[".", "DNSKEY"] = change

    async def look(self, days: float) -> tuple[str, ...]:
        return await self.file.refresh(self.dns, NOW + days * DAY)

    def states(self) -> dict[int, KeyState]:
        return {dns.dnssec.key_id(t.key): t.state for t in AnchorFile(self.path, self.dns.anchors()).keys}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def tag(key: ZoneKey | None) -> int:
    assert key is not None
    return dns.dnssec.key_id(key.public)


async def test_a_new_key_is_trusted_after_thirty_days_of_being_seen_and_not_before(root: Root) -> None:
    assert root.old is not None
    assert await root.look(0) == (f"key {tag(root.old)} is valid",)
    root.publish(root.old, root.new, signed_by=(root.old,))
    assert await root.look(1) == (f"key {tag(root.new)} is pending",)
    assert await root.look(30.9) == ()
    assert len(root.file.anchors()) == 1
    assert await root.look(31) == (f"key {tag(root.new)} is valid",)
    assert {a.record for a in root.file.anchors()} == {root.old.public, root.new.public}
    assert root.states() == {tag(root.old): KeyState.VALID, tag(root.new): KeyState.VALID}


async def test_a_key_that_disappears_while_pending_starts_anew(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    root.publish(root.old, root.new, signed_by=(root.old,))
    await root.look(1)
    root.publish(root.old, signed_by=(root.old,))
    assert "withdrawn" in (await root.look(20))[0]
    root.publish(root.old, root.new, signed_by=(root.old,))
    await root.look(21)
    await root.look(35)
    assert root.states()[tag(root.new)] is KeyState.PENDING


async def test_a_set_that_no_trusted_key_signed_changes_nothing(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    before = root.path.read_bytes()
    for signers in ((root.new,), ()):
        root.publish(root.old, root.new, signed_by=signers or (stranger(root.old, root.new),))
        with pytest.raises(ChainBroken):
            await root.look(1)
    root.publish(root.new, signed_by=(root.new,))
    with pytest.raises(ChainBroken):
        await root.look(1)
    assert root.path.read_bytes() == before


async def test_only_the_key_itself_can_revoke_it_and_for_ever(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    root.publish(root.old, root.new, signed_by=(root.old,))
    await root.look(1)
    await root.look(31)
    gone = revoked(root.old)
    root.publish(gone, root.new, signed_by=(root.new,))
    assert f"key {tag(root.old)} is missing" in await root.look(32)
    root.publish(gone, root.new, signed_by=(root.new, gone))
    assert await root.look(33) == (f"key {tag(root.old)} is revoked",)
    assert [a.record for a in root.file.anchors()] == [root.new.public]
    root.publish(root.old, root.new, signed_by=(root.old, root.new))
    assert await root.look(70) == ()
    root.publish(root.old, signed_by=(root.old,))
    with pytest.raises(ChainBroken):
        await root.look(71)


async def test_when_every_key_is_revoked_nothing_is_trusted(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    root.publish(root.old, root.new, signed_by=(root.old,))
    await root.look(1)
    await root.look(31)
    root.publish(revoked(root.old), revoked(root.new), signed_by=(revoked(root.old), revoked(root.new)))
    assert len(await root.look(32)) == 2
    assert set(root.states().values()) == {KeyState.REVOKED}
    assert root.file.anchors() == ()
    root.publish(root.old, signed_by=(root.old,))
    validator = ChainValidator(resolver=root.dns, anchors=root.file.anchors())
    assert (await validator.check("register.ciz.nl", NOW)).state is DnssecState.INDETERMINATE


async def test_a_missing_key_stays_trusted_and_comes_back(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    root.publish(root.old, root.new, signed_by=(root.old,))
    await root.look(1)
    await root.look(31)
    root.publish(root.new, signed_by=(root.new,))
    assert await root.look(32) == (f"key {tag(root.old)} is missing",)
    assert len(root.file.anchors()) == 2
    root.publish(root.old, root.new, signed_by=(root.old,))
    assert await root.look(33) == (f"key {tag(root.old)} is valid",)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"zone": "nl.", "keys": []}', '{"zone": ".", "keys": [{"key": "x"}]}']
)
async def test_a_damaged_file_is_refused_not_replaced(root: Root, text: str) -> None:
    root.path.write_text(text)
    with pytest.raises(InvalidValue, match="anchor file"):
        AnchorFile(root.path, root.dns.anchors())
    assert root.path.read_text() == text


def test_anchors_of_two_zones_are_refused(root: Root) -> None:
    with pytest.raises(InvalidValue, match="exactly one zone"):
        AnchorFile(root.path, (*root.dns.anchors(), *root.dns.anchors("nl")))


async def test_a_link_laid_where_the_draft_of_the_anchor_file_was_is_not_written_through(root: Root) -> None:
    victim = root.path.with_name("victim")
    for guess in (f"{root.path.name}.new", f".{root.path.name}.new"):
        root.path.with_name(guess).symlink_to(victim)
    await root.look(0)
    assert not victim.exists()
    assert root.states()


async def test_a_set_with_more_keys_than_a_zone_needs_changes_nothing(root: Root) -> None:
    assert root.old is not None
    await root.look(0)
    before = root.states()
    crowd = [ZoneKey.generate(15) for _ in range(32)]
    root.publish(root.old, *crowd, signed_by=(root.old,))
    with pytest.raises(ChainBroken, match="more than 32 keys"):
        await root.look(1)
    assert root.states() == before
    root.publish(root.old, *crowd[:31], signed_by=(root.old,))
    assert len(await root.look(1)) == 31


async def test_a_key_of_no_length_that_its_algorithm_has_is_not_followed(root: Root) -> None:
    """It would be a key that nobody can verify with, and its tag a sum over whatever it is long."""
    assert root.old is not None
    await root.look(0)
    long = root.new.public.replace(key=b"\x01" * 5000)
    assert isinstance(long, DNSKEY)
    root.publish(root.old, ZoneKey(root.new.private, long), signed_by=(root.old,))
    assert await root.look(1) == ()


async def test_a_set_in_which_many_keys_share_the_tag_of_the_seed_is_not_begun_with(root: Root) -> None:
    assert root.old is not None
    raw = root.old.public.key
    twins = []
    for i in range(1, 6):
        high, low = int.from_bytes(raw[0:2], "big"), int.from_bytes(raw[2:4], "big")
        moved = ((high - i) % 65535).to_bytes(2, "big") + ((low + i) % 65535).to_bytes(2, "big") + raw[4:]
        twin = root.old.public.replace(key=moved)
        assert isinstance(twin, DNSKEY)
        assert dns.dnssec.key_id(twin) == tag(root.old)
        twins.append(ZoneKey(root.old.private, twin))
    root.publish(root.old, *twins, signed_by=(root.old,))
    with pytest.raises(ChainBroken, match="too many keys with one tag"):
        await root.look(0)
    assert not root.path.exists()
