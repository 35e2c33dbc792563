"""Every generated page: file name, seen from the folder `docs`, to its text."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from authz.cli import app as authz_app
from authz.settings import AuthzSettings
from docs.reference.commands_pages import commands_page
from docs.reference.decisions_page import decisions_page
from docs.reference.settings_pages import settings_page
from pki.cli.main import app as pki_app
from pki.settings import PkiSettings
from trust_agent.cli import app as agent_app
from trust_agent.settings import AgentSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

DOCS: Final = Path(__file__).parents[1]


def pages() -> dict[str, str]:
    """Path below `docs` to text of every generated page."""
    models: dict[str, type[BaseModel]] = {"authz": AuthzSettings, "pki": PkiSettings, "trust-agent": AgentSettings}
    programs = {"authz": authz_app, "pki": pki_app, "trust-agent": agent_app}
    return {
        **{f"reference/settings-{name}.md": settings_page(name, model) for name, model in models.items()},
        **{f"reference/commands-{name}.md": commands_page(name, program) for name, program in programs.items()},
        "decisions/README.md": decisions_page(DOCS / "decisions"),
    }
