"""A handle on a running lab, for everything that talks to it: the story, the bench, the tests and `lab status`."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from deploy.lab.client import Caller, Credentials
from deploy.lab.layout import AUTHZ_PORT, Layout, agent_port, environment, program, register_port
from deploy.lab.network import TRUST_PROVIDER, Datastation, Party
from deploy.lab.state import LabState

IWLZ_TOKEN_PATH: Final = "/netwerkmodel/v3/auth/token"  # noqa: S105  a path
OAUTH_TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105  a path
_COMMAND_PATIENCE: Final = 120.0
"""Seconds that one of the product's commands may take."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command said, and how long it took."""

    status: int
    output: str
    problem: str
    seconds: float


class RunningLab:
    """Addresses, credentials and commands of a lab that runs.

    Args:
        state: as `lab up` wrote it.
    """

    def __init__(self, state: LabState) -> None:
        self.state = state
        self.layout = Layout(state.folder)

    @property
    def authz_url(self) -> str:
        """The address of the authorization server."""
        return f"https://{TRUST_PROVIDER.host('authz')}:{self.state.ports[AUTHZ_PORT]}"

    @property
    def iwlz_token(self) -> str:
        """The token endpoint as iWlz RFC0014 names it."""
        return self.authz_url + IWLZ_TOKEN_PATH

    @property
    def oauth_token(self) -> str:
        """The token endpoint of the OAuth face."""
        return self.authz_url + OAUTH_TOKEN_PATH

    def audience(self, station: Datastation) -> str:
        """The address of a datastation's trust agent, which is the audience of its tokens."""
        return audience(self.state.ports, station)

    def credentials(self, party: Party) -> Credentials:
        """A party's certificate and key."""
        return self.layout.credentials(party)

    def register_socket(self, station: Datastation) -> Path:
        """The Unix socket of a datastation's resource server, behind its TLS end."""
        return self.state.sockets / f"{station.key}.sock"

    def caller(self, credentials: Credentials | None, *, keep_alive: bool = False) -> Caller:
        """A client with these credentials; without keep-alive each request shows its certificate anew."""
        return Caller(credentials, self.layout.anchors, keep_alive=keep_alive)

    async def command(self, name: str, *arguments: str, settings: Mapping[str, str] | None = None) -> Finished:
        """Run one of the product's own commands, as an operator would.

        Args:
            name: `pki`, `authz` or `trust-agent`.
            arguments: as on the command line.
            settings: variables that point it to its settings; by default those of this lab.

        Raises:
            TimeoutError: it did not end in time; it is killed.
        """
        variables = {**os.environ, **environment(), **(settings if settings is not None else self.command_settings())}
        begun = perf_counter()
        process = await asyncio.create_subprocess_exec(
            program(name),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=variables,
            cwd=self.state.folder,
        )
        try:
            async with asyncio.timeout(_COMMAND_PATIENCE):
                output, problem = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return Finished(process.returncode or 0, output.decode(), problem.decode(), perf_counter() - begun)

    def command_settings(self) -> dict[str, str]:
        """Variables that point the product's commands to this lab."""
        return {
            "SLUIS_PKI_CONFIG": str(self.layout.pki_settings),
            "SLUIS_AUTHZ_CONFIG": str(self.layout.authz_settings),
        }


def audience(ports: Mapping[str, int], station: Datastation) -> str:
    """The audience of a datastation; one that only stands in the address book gets a port where nobody listens."""
    return station.audience(ports.get(agent_port(station.key), _NOBODY))


def resource(ports: Mapping[str, int], station: Datastation) -> str:
    """The address of a datastation's resource server."""
    return station.resource(ports.get(register_port(station.key), _NOBODY))


def lab_in(folder: Path) -> RunningLab | None:
    """The lab in `folder`, if there is one."""
    state = LabState.load(folder.resolve())
    return None if state is None else RunningLab(state)


_NOBODY: Final = 8443
