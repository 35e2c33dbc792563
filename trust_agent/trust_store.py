"""What the agent trusts: keys, revocations, CRLs and policies, each verified when it comes in, kept, and of known age.

Specification: shared `spec/enforcement.md`, "Offline"; `architecture.md`, "Failure rules". The agent starts from what
it kept and enforces while authz is away, until a material passes its maximum age: then each decision is refused with
the reason that names it. There is no weaker check to fall back to.

Fetching is `fetching.py`'s work; this module decides what may be taken. The form of the revocation feed is in
`revocations.py`, and how CRLs are kept in `kept_crls.py`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from authz.domain.clock import Clock
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.policy.archive import BundleRefused
from authz.policy.bundle import VerifiedBundle, verify_bundle
from authz.policy.engine import PolicyEngine, PolicyUnavailable
from authz.policy.signing import BundleKey
from authz.policy.wasm import WasmEngine
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE
from pki.validation.crl_health import CrlState, crl_states
from pki.validation.crl_store import CrlStore
from pki.validation.validator import CertificateValidator
from trust_agent.jws import KeySet, KeysInvalid
from trust_agent.kept_crls import KeptCrls
from trust_agent.material import Kept, MaterialFile, MaterialRefused
from trust_agent.newest_bundle import NewestBundle
from trust_agent.revocations import Revocations, read_feed

_LOG: Final = structlog.get_logger(__name__)
_CONFIRM_EVERY: Final = timedelta(seconds=60)
"""How often an unchanged material's note is written again; a restart loses at most this much of its freshness."""
_CLOCK_STEP: Final = timedelta(minutes=5)
"""Material confirmed further in the future than this was confirmed under another clock: it has no known age."""


@dataclass(frozen=True, slots=True)
class MaxAges:
    """How old each material may be.

    Attributes:
        keys: the keys of authz.
        revocations: the revocation feed.
        bundle: the policies.
        crls: the CRL of each issuing CA that counts, by its key, besides the CRL's own `nextUpdate`.
        authority_crls: the CRLs about these CAs.
    """

    keys: timedelta = timedelta(hours=24)
    revocations: timedelta = timedelta(hours=1)
    bundle: timedelta = timedelta(hours=24)
    crls: Mapping[str, timedelta] = field(default_factory=dict)
    authority_crls: timedelta = MAX_AUTHORITY_CRL_AGE


@dataclass(frozen=True, slots=True)
class MaterialStatus:
    """For `/health`: which material, how old, and whether it still counts."""

    name: str
    confirmed_at: datetime | None
    max_age: timedelta
    fresh: bool
    revision: str = ""


class TrustStore:
    """Implements `trust_agent.verify.TrustMaterial`.

    Args:
        folder: where material is kept.
        issuer: who signs the revocation feed.
        algorithms: accepted for keys.
        bundle_keys: who may sign policies.
        crls: verified CRLs; shared with `validator`.
        validator: validates certificates.
        ages: how old material may be.
        clock: the time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        issuer: str,
        algorithms: Sequence[str],
        bundle_keys: Sequence[BundleKey],
        crls: CrlStore,
        validator: CertificateValidator,
        ages: MaxAges,
        clock: Clock,
    ) -> None:
        self._folder = folder
        self._issuer = issuer
        self._algorithms = tuple(algorithms)
        self._bundle_keys = tuple(bundle_keys)
        self._crls = crls
        self._validator = validator
        self._ages = ages
        self._clock = clock
        self._published = KeySet({})
        self._keys = KeySet({})
        self._newest = NewestBundle(folder / "bundle.newest")
        self._revocations: Revocations | None = None
        self._bundle: VerifiedBundle | None = None
        self._engine: PolicyEngine | None = None
        self._kept: dict[str, Kept] = {}
        self._noted: dict[str, datetime] = {}
        self._kept_crls = KeptCrls(folder / "crls", crls, clock)
        self.refetch: Callable[[], Awaitable[bool]] | None = None
        """Set by the fetcher: fetches the keys now."""

    # -- taking material in -------------------------------------------------------------------------------------

    def load(self) -> list[str]:
        """Take in what was kept, verified as if it came in now.

        Returns:
            Names of the material that is in use after it.
        """
        loaded = []
        # Keys first: the feed is signed with one of them.
        for name, take in self._takers().items():
            kept = MaterialFile(self._folder / name).read()
            if kept is None:
                continue
            if kept.confirmed_at > self._clock.now() + _CLOCK_STEP:
                _LOG.warning("kept_material_from_the_future", material=name)
                continue
            try:
                take(kept.content)
            except MaterialRefused as error:
                _LOG.warning("kept_material_refused", material=name, why=str(error))
                continue
            self._kept[name] = kept
            loaded.append(name)
        loaded += self._kept_crls.load()
        return loaded

    def take(self, name: str, content: bytes, etag: str) -> None:
        """Take in fetched material, and keep it.

        Args:
            name: `jwks`, `revocations` or `bundle`.
            content: as received.
            etag: of the answer.

        Raises:
            MaterialRefused: it does not pass its checks; the one in use stays.
        """
        self._takers()[name](content)
        kept = Kept(content, self._clock.now(), etag)
        self._kept[name] = kept
        self._noted[name] = kept.confirmed_at
        try:
            MaterialFile(self._folder / name).write(kept)
        except OSError as error:
            # Enforcement goes on with what is in memory; only a restart would start from older material.
            _LOG.error("material_not_kept", material=name, why=error.strerror)

    def confirm(self, name: str) -> None:
        """The source said that what we have is current."""
        known = self._kept.get(name)
        if known is None:
            return
        now = self._clock.now()
        kept = Kept(known.content, now, known.etag)
        self._kept[name] = kept
        if now - self._noted.get(name, datetime.min.replace(tzinfo=now.tzinfo)) < _CONFIRM_EVERY:
            return
        self._noted[name] = now
        try:
            MaterialFile(self._folder / name).confirm(kept)
        except OSError as error:
            _LOG.error("material_not_kept", material=name, why=error.strerror)

    def take_crl(self, content: bytes) -> bool:
        """Take in a CRL, and keep it where Envoy's secret files find it; may be called from threads.

        Returns:
            Whether it is newer than what was held.

        Raises:
            MaterialRefused: not a CRL of a CA that is known here.
        """
        return self._kept_crls.take(content)

    def etag(self, name: str) -> str:
        """ETag of the material in use, or empty."""
        kept = self._kept.get(name)
        return kept.etag if kept else ""

    @property
    def crl_folder(self) -> Path:
        """Where CRLs are kept, one `*.crl` file each."""
        return self._kept_crls.folder

    def _takers(self) -> Mapping[str, Callable[[bytes], None]]:
        return {"jwks": self._take_keys, "revocations": self._take_revocations, "bundle": self._take_bundle}

    def _take_keys(self, content: bytes) -> None:
        try:
            self._published = KeySet.parse(content, self._algorithms)
        except KeysInvalid as error:
            raise MaterialRefused(str(error)) from None
        self._keys = self._published.without(self._revocations.keys if self._revocations else ())

    def _take_revocations(self, content: bytes) -> None:
        feed = read_feed(content, self._keys, self._algorithms, self._issuer)
        known = self._revocations
        if known is not None and (feed.version, feed.issued_at) < (known.version, known.issued_at):
            # An older state would bring a revoked token back to life.
            raise MaterialRefused("the revocation feed is older than the one in use")
        self._revocations = feed
        if known is None or feed.keys != known.keys:
            # Another object, also for the verifier: what it remembers of a withdrawn key's tokens goes as well.
            self._keys = self._published.without(feed.keys)

    def _take_bundle(self, content: bytes) -> None:
        try:
            bundle = verify_bundle(content, self._bundle_keys, self._clock.now())
            self._newest.require_not_older(bundle)
            if self._bundle is None or bundle.etag != self._bundle.etag:
                self._engine = WasmEngine(bundle)
            self._bundle = bundle
        except (BundleRefused, PolicyUnavailable) as error:
            raise MaterialRefused(str(error)) from None
        try:
            self._newest.note(bundle)
        except OSError as error:
            _LOG.error("material_not_kept", material="bundle.newest", why=error.strerror)

    # -- what the checks ask ------------------------------------------------------------------------------------

    @property
    def keys(self) -> KeySet:
        """The keys that authz publishes, without those that it has withdrawn."""
        return self._keys

    @property
    def validator(self) -> CertificateValidator:
        """Validates certificates."""
        return self._validator

    def require_fresh(self, at: datetime) -> None:
        """Refuse when the keys or the revocations are missing or too old.

        Raises:
            Refused: KEYS_STALE or REVOCATIONS_STALE.
        """
        if not self._is_fresh("jwks", self._ages.keys, at):
            raise Refused(Reason.KEYS_STALE, "the keys that sign tokens are missing here, or were not confirmed lately")
        feed = self._revocations
        if feed is None or not self._is_fresh("revocations", self._ages.revocations, at) or at >= feed.expires_at:
            raise Refused(Reason.REVOCATIONS_STALE, "the revocations are missing here, or were not confirmed lately")

    def engine(self, at: datetime) -> PolicyEngine:
        """The policies in use.

        Raises:
            Refused: POLICY_UNAVAILABLE when there are none; BUNDLE_STALE when they are too old or do not count now.
        """
        if self._engine is None or self._bundle is None:
            raise Refused(Reason.POLICY_UNAVAILABLE, "there are no policies here yet")
        try:
            self._bundle.check_validity(at)
        except BundleRefused:
            raise Refused(Reason.BUNDLE_STALE, "the policies here do not count at this moment") from None
        if not self._is_fresh("bundle", self._ages.bundle, at):
            raise Refused(Reason.BUNDLE_STALE, "the policies here were not confirmed lately")
        return self._engine

    def is_revoked(self, token_id: str, grants: Sequence[str]) -> bool:
        """Whether the token or a grant was revoked; to be asked after `require_fresh`."""
        feed = self._revocations
        return feed is None or token_id in feed.tokens or not feed.grants.isdisjoint(grants)

    def is_credential_revoked(self, thumbprint: str) -> bool:
        """Whether authz blocked this certificate. Freshness is the token's check: without a token nothing passes."""
        return self._revocations is not None and thumbprint in self._revocations.credentials

    async def refetch_keys(self) -> bool:
        """Fetch the keys again; the fetcher limits how often."""
        return await self.refetch() if self.refetch else False

    def status(self, at: datetime) -> list[MaterialStatus]:
        """The age of everything, for `/health`."""
        feed = self._revocations
        named = (
            ("jwks", self._ages.keys, f"{len(self._keys)} keys", True),
            (
                "revocations",
                self._ages.revocations,
                str(feed.version) if feed else "",
                feed is not None and at < feed.expires_at,
            ),
            ("bundle", self._ages.bundle, self._bundle.revision if self._bundle else "", self._engine is not None),
        )
        found = [
            MaterialStatus(name, self._confirmed(name), age, usable and self._is_fresh(name, age, at), revision)
            for name, age, revision, usable in named
        ]
        found += map(_crl_status, crl_states(self._crls, self._ages.crls, at, self._ages.authority_crls))
        return found

    def _confirmed(self, name: str) -> datetime | None:
        kept = self._kept.get(name)
        return kept.confirmed_at if kept else None

    def _is_fresh(self, name: str, age: timedelta, at: datetime) -> bool:
        kept = self._kept.get(name)
        return kept is not None and at - kept.confirmed_at <= age


def _crl_status(state: CrlState) -> MaterialStatus:
    name, listing = f"crl {state.issuer_key[:16]}", state.listing
    if listing is None:
        return MaterialStatus(name, None, state.max_age, fresh=False)
    # Both limits count; what is shown is the one that ends first.
    crl = listing.newest
    age = min(crl.next_update - crl.this_update, state.max_age)
    return MaterialStatus(name, crl.this_update, age, state.fresh, str(crl.number))
