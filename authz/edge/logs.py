"""Logs as JSON lines, with what must never be in a log masked before it is written.

The rule is that nobody logs a token, a BSN or a secret. This module is the second lock on that door: a processor that
masks by key and by shape. It is not a licence to log such values.
"""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

MASK: Final = "[masked]"
_OURS: Final = frozenset({"authz", "pki", "trust_agent"})
_SECRET_KEYS: Final = (
    "authorization",
    "token",
    "secret",
    "password",
    "passphrase",
    "bsn",
    "cookie",
    "assertion",
    "private_key",
)
_SHAPES: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),  # a JWS or the start of one
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL),
    re.compile(r"(?<![0-9A-Fa-f-])[0-9]{9}(?![0-9A-Fa-f-])"),  # nine digits on their own: may be a BSN
)


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: mask values by the name of their key and by their shape, also in nested values."""
    for key in event:
        event[key] = _masked(key, event[key])
    return event


def _masked(key: str, value: Any) -> Any:  # noqa: ANN401  a log value is anything
    lowered = key.lower()
    if any(word in lowered for word in _SECRET_KEYS) and not lowered.endswith(("_id", "_count", "_type")):
        return MASK
    if isinstance(value, str):
        for shape in _SHAPES:
            value = shape.sub(MASK, value)
        return value
    if isinstance(value, dict):
        return {name: _masked(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return value


def place_of(error: BaseException) -> str:
    """The innermost line of our own code, as `trust_agent.decision:12`, and none of the values there."""
    places = [
        f"{frame.f_globals.get('__name__')}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS
    ]
    return places[-1] if places else "unknown"


def configure_logs(component: str, *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's logging to stderr as one JSON object a line.

    Args:
        component: written in every line, for example `authz`.
        level: the lowest level that is written.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]

    def name_component(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("component", component)
        return event

    last: list[structlog.typing.Processor] = [name_component, mask]
    structlog.configure(
        processors=[*shared, *last, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
