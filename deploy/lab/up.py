"""Starting and ending a lab as a whole."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from deploy.lab.components import START_PATIENCE, Job, bring_up, stop_all
from deploy.lab.layout import AUTHZ, CEREMONY, CERTIFICATES, DNS, LISTED, PORTS, SCHEME, agent_component
from deploy.lab.listing import wait_until_listed
from deploy.lab.network import DATASTATIONS
from deploy.lab.ports import choose_ports
from deploy.lab.prepare import Preparation
from deploy.lab.processes import ProcessId
from deploy.lab.programs import programs
from deploy.lab.running import RunningLab
from deploy.lab.state import LabState, sole_command


class LabRunning(RuntimeError):  # noqa: N818  what happened
    """There is a lab in this folder already."""


@dataclass(frozen=True, slots=True)
class LabOptions:
    """What can be chosen of a lab. Nothing here turns a check off.

    Attributes:
        first_port: of a range of consecutive ports; None takes free ones.
        token_lifetime: seconds that a token lives; None leaves it to authz.
        clock_skew: seconds of difference between clocks that trust agents forgive; None leaves it to them.
        without_certificate: keys of parties that take part but have not enrolled yet.
    """

    first_port: int | None = None
    token_lifetime: int | None = None
    clock_skew: int | None = None
    without_certificate: tuple[str, ...] = ()


async def up(folder: Path, options: LabOptions | None = None, *, begun: float | None = None) -> RunningLab:
    """Start a lab.

    Args:
        folder: what it may use and `down` removes; made when it is not there.
        options: see `LabOptions`.
        begun: moment of `time.monotonic` from which the start is counted; now when None.

    Raises:
        LabRunning: there is one already, running or left behind.
        LabBusy: another command is starting or ending it.
        PortsTaken: the wanted ports are in use.
        ComponentFailed: a part did not start; everything else was taken away again.
    """
    chosen = options or LabOptions()
    begun = monotonic() if begun is None else begun
    folder = _absolute(folder)
    with sole_command(folder):
        if LabState.load(folder) is not None:
            raise LabRunning(f"there is a lab in {folder} already")
        state = LabState.create(folder, choose_ports(PORTS, chosen.first_port), {})
        lab = RunningLab(state)
        try:
            preparation = Preparation(
                lab,
                token_lifetime=chosen.token_lifetime,
                clock_skew=chosen.clock_skew,
                without_certificate=chosen.without_certificate,
            )
            preparation.folders()
            agents = (agent_component(station.key) for station in DATASTATIONS)
            jobs = (
                Job(CEREMONY, preparation.ceremony),
                # A name is certified, and a service taken up, only when DNS says that it is secure.
                Job(CERTIFICATES, preparation.certificates, after=(CEREMONY, DNS)),
                Job(SCHEME, preparation.scheme, after=(CERTIFICATES, DNS)),
                Job(LISTED, partial(wait_until_listed, lab), after=(AUTHZ, *agents)),
            )
            state.settings["ready"] = await bring_up(state, [*programs(lab), *jobs], START_PATIENCE)
        except BaseException:
            # Whatever it was, also an interrupt: leave nothing behind, then say what it was.
            await _end(state)
            raise
        state.settings["seconds"] = monotonic() - begun
        state.save()
        return lab


async def down(folder: Path) -> list[ProcessId]:
    """End the lab in `folder` and remove all of it; nothing happens when there is none.

    Returns:
        Processes that could not be ended; empty unless the system is in trouble.

    Raises:
        LabBusy: another command is starting or ending it.
    """
    folder = _absolute(folder)
    with sole_command(folder):
        state = LabState.load(folder)
        return [] if state is None else await _end(state)


def _absolute(folder: Path) -> Path:
    return folder.resolve()


async def _end(state: LabState) -> list[ProcessId]:
    left = await stop_all(state)
    if not left:
        state.remove()
    return left
