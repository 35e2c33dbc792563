"""`make demo`: a whole network on this machine, and the story of one consultation told against it.

Starts a lab of its own, runs the story with real HTTP over real TLS, shows for each question what was asked, what was
answered and what the audit log says of it, and takes the lab away again. Exits 0 only if every step went as it must.
"""

import asyncio
import sys
from pathlib import Path
from time import monotonic
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.lab.components import ComponentFailed
from deploy.lab.network import NORTH
from deploy.lab.ports import PortsTaken
from deploy.lab.running import RunningLab
from deploy.lab.state import LabBusy
from deploy.lab.story.model import Exchange, Step
from deploy.lab.story.session import StoryBroken
from deploy.lab.story.telling import CLOCK_SKEW, TOKEN_LIFETIME, tell
from deploy.lab.up import LabOptions, down, up

FOLDER: Final = Path(".lab") / "demo"
_STEPS: Final = 7


def main() -> int:
    """Run the demo; the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    try:
        return asyncio.run(_demo(console))
    except (ComponentFailed, PortsTaken, LabBusy) as problem:
        console.print(f"[red]The lab did not start:[/] {escape(str(problem))}")
    except StoryBroken as problem:
        console.print(f"[red]The story broke off:[/] {escape(str(problem))}")
    except KeyboardInterrupt:
        console.print("Stopped.")
    return 1


async def _demo(console: Console) -> int:
    begun = monotonic()
    console.print("Starting the lab: DNS, CA, authorization server, two datastations with their trust agents ...")
    # What an earlier demo left behind that was killed.
    await down(FOLDER)
    options = LabOptions(token_lifetime=TOKEN_LIFETIME, clock_skew=CLOCK_SKEW, without_certificate=(NORTH.key,))
    try:
        lab = await up(FOLDER, options)
        console.print(f"Ready in [bold]{lab.state.settings['seconds']:.1f} s[/]; everything is on the loopback.\n")
        steps = await _tell(console, lab)
    finally:
        left = await down(FOLDER)
    good = sum(step.ok for step in steps)
    passed = good == len(steps) == _STEPS and not left
    colour = "green" if passed else "red"
    console.print(
        f"[{colour}]{good} of {_STEPS} steps went as they must[/] ({monotonic() - begun:.0f} s). "
        + ("The lab is gone again." if not left else f"[red]Still running: {left}[/]")
    )
    return 0 if passed else 1


async def _tell(console: Console, lab: RunningLab) -> list[Step]:
    steps: list[Step] = []

    def waiting(seconds: float) -> None:
        console.print(f"[dim]Waiting {seconds:.0f} s for a token of step 2 to expire by itself ...[/]\n")

    async for step in tell(lab, waiting):
        steps.append(step)
        console.print(table(step))
        for note in step.notes:
            console.print(f"  {escape(note)}")
        console.print()
    return steps


def table(step: Step) -> Table:
    """One step as a table."""
    mark = "[green]ok[/]" if step.ok else "[red]FAILED[/]"
    shown = Table(title=f"{step.number}. {escape(step.title)}  {mark}", title_justify="left", title_style="bold")
    for heading, share in (("asked", 4), ("answered", 5), ("why, in the audit log", 3)):
        shown.add_column(heading, ratio=share, overflow="fold")
    shown.add_column("", no_wrap=True)
    for exchange in step.exchanges:
        answered = escape(exchange.answered)
        if not exchange.as_wanted:
            answered += f"\n[red]wanted: {escape(exchange.wanted)}[/]"
        shown.add_row(escape(exchange.asked), answered, _why(exchange), "[green]ok[/]" if exchange.ok else "[red]NO[/]")
    return shown


def _why(exchange: Exchange) -> str:
    why = escape(exchange.why)
    return why if exchange.recorded else f"[red]{why}[/]"


if __name__ == "__main__":
    sys.exit(main())
