"""What the steps of the story share: who speaks, their tokens, and looking up what the audit log holds of it."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

from authz.domain.audit import AuditRecord
from deploy.lab.client import Answer, Credentials
from deploy.lab.network import Datastation, Party
from deploy.lab.records import records_of
from deploy.lab.running import RunningLab
from deploy.lab.story.model import OK, Exchange

_ARRIVAL: Final = 60.0
"""Seconds that a record may take from an agent to the audit log; a second is usual."""
_SPARE: Final = 5.0
"""Seconds that a token must still live to be used again."""


class StoryBroken(RuntimeError):  # noqa: N818  what happened
    """The story cannot go on: something that a later step needs did not happen."""


class Session:
    """One telling of the story.

    Args:
        lab: the running lab.
    """

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab
        self._credentials: dict[str, Credentials] = {}
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    def credentials(self, party: Party) -> Credentials:
        """What the party identifies itself with now."""
        return self._credentials.get(party.key) or self.lab.credentials(party)

    def replace_credentials(self, party: Party, credentials: Credentials) -> None:
        """From now on the party uses another certificate; tokens bound to the old one are forgotten."""
        self._credentials[party.key] = credentials
        self._tokens = {key: value for key, value in self._tokens.items() if key[0] != party.key}

    async def ask_token(self, party: Party, station: Datastation, *, oauth: bool = False, keep: bool = True) -> Answer:
        """Ask for a token for a datastation; one that was given is used from then on, unless `keep` is False."""
        async with self.lab.caller(self.credentials(party)) as caller:
            scope, audience = station.scopes[0], self.lab.audience(station)
            if oauth:
                identity = party.identity.subject
                answer = await caller.token_oauth(self.lab.oauth_token, scope, audience, identity)
            else:
                answer = await caller.token_iwlz(self.lab.iwlz_token, scope, audience)
        if answer.status == OK and keep:
            document = answer.json()
            self._tokens[party.key, station.key] = (document["access_token"], monotonic() + document["expires_in"])
        return answer

    async def token(self, party: Party, station: Datastation, *, fresh: bool = False) -> str:
        """A token that is still good for a while.

        Args:
            party: whose.
            station: for which datastation.
            fresh: ask for a new one also when there is one, so that it lasts for a longer stretch of the story.

        Raises:
            StoryBroken: it was refused.
        """
        token, until = self._tokens.get((party.key, station.key), ("", 0.0))
        if fresh or until - monotonic() < _SPARE:
            answer = await self.ask_token(party, station)
            if answer.status != OK:
                raise StoryBroken(f"{party.name} got no token: {answer.status} {answer.text}")
            token, _ = self._tokens[party.key, station.key]
        return token

    async def consult(self, party: Party, station: Datastation, content: bytes, *, token: str | None = None) -> Answer:
        """Send a GraphQL request over the party's own certificate, with its own token unless another is given."""
        presented = token if token is not None else await self.token(party, station)
        async with self.lab.caller(self.credentials(party)) as caller:
            return await caller.consult(self.lab.audience(station), presented, content)

    async def settled(self, exchanges: Sequence[Exchange]) -> tuple[Exchange, ...]:
        """The exchanges with what the audit log holds of each; waits a while for records on their way."""
        traces = {exchange.trace_id for exchange in exchanges if exchange.trace_id is not None}
        found = await self.records(traces)
        return tuple(
            exchange if exchange.trace_id is None else exchange.with_records(found.get(exchange.trace_id, []))
            for exchange in exchanges
        )

    async def records(self, traces: set[str]) -> dict[str, list[AuditRecord]]:
        """The audit records of some traces, by trace; waits until each has one, or for `_ARRIVAL` seconds."""
        deadline = monotonic() + _ARRIVAL
        while True:
            found = await records_of(self.lab, traces)
            if traces <= set(found) or monotonic() > deadline:
                return found
            await asyncio.sleep(0.2)
