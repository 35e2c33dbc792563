"""What the decision service loads: each module that it never needs costs memory, and is code beside a token."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
UNWANTED = {
    # Servers and frameworks of the other services.
    *("granian", "litestar", "starlette", "h2"),
    # Databases.
    *("sqlalchemy", "sqlmodel", "alembic", "aiosqlite", "asyncpg"),
    # Making certificates, signing in hardware, looking certificates through.
    *("pkilint", "pkcs11", "pyhanko"),
    # Names are checked by authz, not here.
    "dns",
    # Ours.
    *(
        "authz.store",
        "authz.http",
        "authz.app",
        "authz.console",
        "pki.authority",
        "pki.signing",
        "pki.store",
        "pki.http",
    ),
    *("deploy", "tests"),
}
SHOW = "import json, sys, trust_agent.cli, trust_agent.app; print(json.dumps(sorted(sys.modules)))"


def test_the_decision_service_loads_nothing_that_it_never_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    loaded = json.loads(done.stdout)
    assert "trust_agent.decision" in loaded
    assert [name for name in loaded if any(name == item or name.startswith(f"{item}.") for item in UNWANTED)] == []
