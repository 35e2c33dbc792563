"""What an operator does beside the running server, on the same database: keys, scheme, revocations, reading the log.

The composition root of the command line. Every act leaves a record that names the operator; a running server notices
each change by itself within a second.
"""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from authz.audit.kept import KeptNote
from authz.audit.note import VerifierKey
from authz.audit.note_key import FileNoteSigner
from authz.audit.own import OwnRecords
from authz.audit.reading import ReadingDesk
from authz.directory.onboarding import HostExamination, ServiceGate
from authz.directory.scheme import Imported, import_scheme
from authz.domain.audit import Action, AuditObject, AuditRecord, AuditUser, EventType, Outcome
from authz.domain.clock import Clock, SystemClock
from authz.domain.errors import InvalidValue
from authz.domain.files import PUBLIC, write_whole
from authz.domain.reasons import Reason
from authz.edge.operator import operator_login
from authz.edge.tracing import new_trace
from authz.grants.records import SOURCE
from authz.settings import AuthzSettings
from authz.store.audit_log import StoredAuditLog
from authz.store.bundles import StoredBundleSerials
from authz.store.database import Database
from authz.store.directory import StoredDirectory
from authz.store.participants import StoredParticipants
from authz.store.revocations import StoredRevocations
from authz.store.signing_keys import StoredSigningKeys
from authz.tokens.keyfiles import BUNDLE_PUBLIC, KeyFiles
from authz.tokens.keys import KeyFileError, Signer, public_kid
from authz.tokens.revocation import Revocation, RevocationKind
from authz.tokens.rotation import KeySchedule, KeyState, SigningKeyRecord

CHECKPOINT_PUBLIC = "checkpoint.vkey"
"""Beside the private key: the public key of the log, in the form that tlog tools read."""
BUNDLE = "default"
"""Name of the policy bundle that the server publishes."""
LONGEST_CERTIFICATE = timedelta(days=400)
"""A revoked certificate cannot be used any more after it expired; ours live 397 days."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Acts of one operator on one installation.

    Attributes:
        settings: of the installation.
        clock: the time.
        examination: looks at the hosts of services that are taken up; by `[dnssec]` of the settings when None.
    """

    settings: AuthzSettings
    clock: Clock = field(default_factory=SystemClock)
    examination: HostExamination | None = None

    async def init_keys(self) -> dict[str, Any]:
        """Make every key that is not there yet; returns what others need to know of them.

        Raises:
            SluisError: a file cannot be made or opened.
        """
        keys = self.settings.keys
        origin = self.settings.log_origin

        def checkpoint_key(path: Path, passphrase: bytes) -> None:
            FileNoteSigner.create(origin, path, passphrase)

        files = KeyFiles.create(keys.folder, keys.passphrase_file, checkpoint_key)
        verifier = FileNoteSigner.load(origin, files.checkpoint_path, files.passphrase).verifier
        write_whole(keys.folder / CHECKPOINT_PUBLIC, f"{verifier}\n".encode("ascii"), PUBLIC)
        async with self._database() as database:
            _, records = await StoredSigningKeys(database).load()
            if not records:
                await self._add_token_key(database, files, timedelta())
            _, records = await StoredSigningKeys(database).load()
        return {
            "token_keys": [record.kid for record in records],
            "feed_key": files.feed.kid,
            "bundle_key": {"key_id": files.bundle.kid, "public_key": str(files.bundle_public_path)},
            "checkpoint_key": str(verifier),
        }

    async def rotate_keys(self, *, now: bool) -> SigningKeyRecord:
        """Add a token key that signs after `tokens.prepublish`, or at once.

        Args:
            now: sign at once, because the key of before may be known to others. Readers that fetched the keys
                shortly before refuse tokens until they fetch them again.

        Raises:
            SluisError: no keys yet, or a file cannot be made.
        """
        files = KeyFiles.open(self.settings.keys.folder, self.settings.keys.passphrase_file)
        wait = timedelta() if now else timedelta(seconds=self.settings.tokens.prepublish)
        async with self._database() as database:
            return await self._add_token_key(database, files, wait)

    async def withdraw_key(self, kid: str, *, replace: bool) -> SigningKeyRecord | None:
        """End a token key at once: it signs nothing, stands in no JWKS, and agents take no token that it signed.

        Args:
            kid: of the key, which somebody else may have.
            replace: in the same act, add a key that signs from now on.

        Returns:
            The key that was added, if one was.

        Raises:
            InvalidValue: no such key, withdrawn already, or nothing would sign any more.
            SluisError: the new key cannot be made.
        """
        now = self.clock.now()
        async with self._database() as database:
            stored = StoredSigningKeys(database)
            _, records = await stored.load()
            key = next((record for record in records if record.kid == kid), None)
            if key is None:
                raise InvalidValue("there is no token key with this key id: see `authz keys list`")
            if key.withdrawn_at is not None:
                raise InvalidValue("this key is withdrawn already")
            state = KeySchedule(records, self.settings.tokens.overlap).state(kid, now)
            if state is KeyState.SIGNING and not replace:
                raise InvalidValue(
                    "this key signs now: give --replace, so that a new one signs from the same moment on"
                )
            changed, event = [dataclasses.replace(key, withdrawn_at=now)], EventType.KEY_WITHDRAW
            made = [self._record(event, Action.DELETE, AuditObject("kid", kid, "none", details={"state": state.value}))]
            added = None
            if replace:
                files = KeyFiles.open(self.settings.keys.folder, self.settings.keys.passphrase_file)
                added, record = self._new_token_key(files, timedelta())
                changed.append(added)
                made.append(record)
            # Listed for longer than any agent keeps a key set, and than the key could be of use to anybody.
            revocation = Revocation(RevocationKind.KEY, kid, now + LONGEST_CERTIFICATE)
            await stored.save(changed, made, [revocation])
            return added

    async def renew_bundle(self) -> None:
        """Give the policies a new serial number at the next start of the server, although they are those of before.

        For a database that was restored from a backup: agents refuse numbers below the highest that they have seen.
        """
        async with self._database() as database:
            record = self._record(EventType.POLICY_ACTIVATE, Action.UPDATE, AuditObject("bundle", BUNDLE, "none"))
            await StoredBundleSerials(database).renew(BUNDLE, record)

    async def list_keys(self) -> dict[str, Any]:
        """The token keys and what each does at this moment; key id of the bundles, verifier key of the audit log.

        Opens no private key.

        Raises:
            KeyFileError: there are no keys yet.
        """
        folder = self.settings.keys.folder
        async with self._database() as database:
            _, records = await StoredSigningKeys(database).load()
        schedule = KeySchedule(records, self.settings.tokens.overlap)
        at = self.clock.now()
        tokens = [
            {
                "kid": record.kid,
                "algorithm": record.algorithm,
                "state": schedule.state(record.kid, at).value,
                "signs_from": record.signs_from.isoformat(),
            }
            for record in records
        ]
        return {
            "token_keys": tokens,
            "bundle_key": {"key_id": public_kid(folder / BUNDLE_PUBLIC), "public_key": str(folder / BUNDLE_PUBLIC)},
            "checkpoint_key": str(self._log_key()),
        }

    async def import_scheme(self, path: Path, *, dry_run: bool = False) -> Imported:
        """Bring deelnemers and address book to what the file says; see `authz.directory.scheme`.

        Args:
            path: the scheme file.
            dry_run: check and compare only; nothing is written, a refusal neither.
        """
        from authz.onboarding import open_examination  # noqa: PLC0415  only this act asks DNS
        from authz.policy.catalogue import organization_types  # noqa: PLC0415  only this act reads the policies
        from authz.policy.default import load_configured  # noqa: PLC0415

        examination = self.examination or open_examination(self.settings, self.clock)
        policy = self.settings.policy
        bundle, _ = load_configured(policy.bundle, policy.bundle_keys, self.clock.now())

        async def unwritten(*_records: AuditRecord) -> None:
            return

        async with self._database() as database:
            return await import_scheme(
                path,
                self.settings.environment,
                organization_types=organization_types(bundle),
                dry_run=dry_run,
                participants=StoredParticipants(database),
                directory=StoredDirectory(database),
                make_record=lambda event, item: self._record(event, Action.UPDATE, item),
                gate=ServiceGate(
                    examination,
                    lambda event, item, reason: self._record(event, Action.UPDATE, item, reason),
                    unwritten if dry_run else database.record,
                ),
            )

    async def revoke(self, kind: RevocationKind, value: str, until: datetime | None = None) -> int:
        """Revoke; returns the version of the list that has it.

        Args:
            kind: what `value` is.
            value: a jti, a certificate's `x5t#S256`, or a grant id.
            until: when the revocation may be forgotten; default: when nothing it could stop is valid any more.

        Raises:
            InvalidValue: malformed, or `until` has passed.
        """
        life = timedelta(seconds=self.settings.tokens.lifetime + self.settings.tokens.skew)
        span = life if kind is RevocationKind.JTI else LONGEST_CERTIFICATE
        revocation = Revocation(kind, value, until or self.clock.now() + span)
        if revocation.expires_at <= self.clock.now():
            raise InvalidValue("a revocation that ends before it begins stops nothing: give a later moment")
        async with self._database() as database:
            record = self._record(EventType.TOKEN_REVOKE, Action.EXECUTE, AuditObject(kind.value, value, "none"))
            return await StoredRevocations(database, self.clock).add([revocation], [record])

    @contextlib.asynccontextmanager
    async def open_audit(self) -> AsyncIterator[ReadingDesk]:
        """The reading desk of `authz.audit.cli`, for this operator."""
        key = self._log_key()
        # Read before the database: what is kept is never newer than what the database then has.
        try:
            kept = KeptNote(self.settings.keys.folder).read()
        except OSError as error:
            raise KeyFileError(f"the checkpoint beside the key of the log cannot be read ({error.strerror})") from None
        async with self._database() as database:
            yield ReadingDesk(
                reader=StoredAuditLog(database),
                own=OwnRecords(database, self.clock, SOURCE),
                keys=[key],
                user=_operator(),
                kept=kept,
            )

    def _log_key(self) -> VerifierKey:
        path = self.settings.keys.folder / CHECKPOINT_PUBLIC
        try:
            return VerifierKey.parse(path.read_text("ascii").strip())
        except OSError:
            raise KeyFileError(f"{path}: the public key of the log cannot be read; run `authz keys init`") from None

    @contextlib.asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        self.settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(self.settings.database_url, self.clock)
        await database.start()
        try:
            yield database
        finally:
            await database.close()

    async def _add_token_key(self, database: Database, files: KeyFiles, wait: timedelta) -> SigningKeyRecord:
        key, record = self._new_token_key(files, wait)
        await StoredSigningKeys(database).save([key], [record])
        return key

    def _new_token_key(self, files: KeyFiles, wait: timedelta) -> tuple[SigningKeyRecord, AuditRecord]:
        signer: Signer = files.create_token_key()
        now = self.clock.now()
        key = SigningKeyRecord(signer.kid, signer.algorithm, signer.public_jwk, now, now + wait)
        item = AuditObject("kid", key.kid, "none", details={"signs_from": key.signs_from.isoformat()})
        return key, self._record(EventType.KEY_ROTATE, Action.CREATE, item)

    def _record(
        self, event: EventType, action: Action, item: AuditObject, refused: Reason | None = None
    ) -> AuditRecord:
        return AuditRecord(
            record_id=str(uuid.uuid4()),
            event_type=event,
            action=action,
            time=self.clock.now(),
            outcome=Outcome.SUCCESS if refused is None else Outcome.REFUSED,
            reason="" if refused is None else refused.value,
            source=SOURCE,
            users=(_operator(),),
            objects=(item,),
            trace=new_trace(),
        )


def _operator() -> AuditUser:
    return AuditUser(f"operator:{operator_login()}", "STELSELBEHEER")
