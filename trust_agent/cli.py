"""`trust-agent`: runs the agent of a datastation, and checks its settings without running it.

Exit status and errors are those of `authz.edge.cli`.
"""

from pathlib import Path
from typing import Annotated

import typer

from authz.domain.clock import SystemClock
from authz.edge.cli import Program, add_version
from authz.edge.logs import configure_logs
from authz.edge.running import run as run_async
from authz.edge.secrets import SecretFiles
from authz.edge.settings import load_settings
from authz.edge.supervise import RunFolder, Service, envoy_binary, run_folder, run_service
from trust_agent.front import CONTROL_SOCKET, render_front
from trust_agent.settings import AgentSettings

app = typer.Typer(
    name="trust-agent",
    help="The trust agent: the policy enforcement point beside a register.",
    no_args_is_help=True,
    cls=Program,
    pretty_exceptions_enable=False,
)
add_version(app, "trust-agent")

CONFIG_VARIABLE = "SLUIS_AGENT_CONFIG"
ConfigOption = Annotated[Path, typer.Option("--config", envvar=CONFIG_VARIABLE, help="Settings file (TOML).")]


@app.command()
def run(config: ConfigOption) -> None:
    """Run the agent: Envoy and the decision service, until SIGTERM."""
    configure_logs("trust-agent")
    settings = load_settings(AgentSettings, config, variable=CONFIG_VARIABLE)
    with run_folder(settings.run_dir) as folder:
        service = Service(
            "decision",
            "trust_agent.cli",
            ["decide", "--config", str(config.absolute()), "--run-dir", str(folder.path)],
            socket=folder.path / CONTROL_SOCKET,
        )
        status = run_service(settings.sender, folder, render_front(settings, folder), service)
    raise typer.Exit(status)


@app.command(hidden=True)
def decide(config: ConfigOption, run_dir: Annotated[Path, typer.Option("--run-dir")]) -> None:
    """Run the decision service alone; `run` starts this."""
    from trust_agent.app import DecisionService  # noqa: PLC0415  the supervising process does without all of it

    configure_logs("trust-agent")
    settings = load_settings(AgentSettings, config, variable=CONFIG_VARIABLE)
    service = DecisionService(settings, RunFolder(run_dir))
    raise typer.Exit(run_async(service.run))


@app.command()
def check(config: ConfigOption) -> None:
    """Check the settings, the schema, the certificates and the kept trust material, and say what is missing."""
    from trust_agent.app import load_register, make_trust_store  # noqa: PLC0415  as above

    settings = load_settings(AgentSettings, config, variable=CONFIG_VARIABLE)
    load_register(settings)
    with run_folder(None) as folder:
        SecretFiles(folder.secrets, render_front(settings, folder).secrets).write_all()
    envoy_binary()
    clock = SystemClock()
    store = make_trust_store(settings, clock)
    for item in store.status(clock.now()):
        typer.echo(f"{item.name}: {'fresh' if item.fresh else 'missing or stale (fetched when the agent runs)'}")
    typer.echo("settings, schema and certificates: in order")


def main() -> None:
    """Entry point of the program."""
    app()


if __name__ == "__main__":
    main()
