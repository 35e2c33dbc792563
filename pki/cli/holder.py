"""Commands of participants: `pki enrol` and `pki reenrol`. They need neither settings nor the authority's database."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pki.cli.shared import AsJson, Identity, identifier

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from authz.domain.errors import Refused
    from authz.domain.identifiers import Identifier
    from pki.holder.est_client import EstClient
    from pki.holder.keyset import Keyset

Folder = Annotated[Path, typer.Option("--out-dir", help="Folder for key, certificate and chain: <out-dir>/current/.")]
KeyKind = Annotated[
    str | None, typer.Option("--key-kind", help="Of a new key: ec-p256 (when left out), ec-p384, rsa-3072 or rsa-4096.")
]
Hook = Annotated[str | None, typer.Option(help="Command that makes your programs take the new certificate; no shell.")]
MAX_FILE: Final = 65_536


def enrol(
    *,
    url: Annotated[str, typer.Option(help="Of the authority: https://<host>[:port].")],
    ca: Annotated[Path, typer.Option(help="Its root certificate (PEM), received on another way than this one.")],
    code_file: Annotated[
        Path | None, typer.Option(help="File with the one-time code, or with both halves of it; - is standard input.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Instead of a code: the chain that an operator sent, as the answer got lost.")
    ] = None,
    identity: Identity,
    out_dir: Folder,
    server_name: Annotated[
        str | None, typer.Option(help="Name in the server's certificate, if not that of --url.")
    ] = None,
    key_kind: KeyKind = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The certificate in the folder works no longer: take another in its place."),
    ] = False,
    daemon: Annotated[
        bool,
        typer.Option("--daemon", help="Stay afterwards and renew, as `pki reenrol --daemon`."),
    ] = False,
    reload_hook: Hook = None,
    as_json: AsJson = False,
) -> None:
    """Get the first certificate, with the one-time code that an operator gave you.

    In production two operators gave you a half each: put both into the file, the first one first.
    """
    from pki.holder.est_client import EstClient  # noqa: PLC0415
    from pki.holder.keyset import Keyset  # noqa: PLC0415
    from pki.holder.renewal import read_hook  # noqa: PLC0415

    # Before the code is used: what comes after it must be possible.
    read_hook(reload_hook)
    if reload_hook is not None and not daemon:
        raise _malformed("--reload-hook: expected --daemon as well; nothing runs a hook otherwise.")
    who = identifier(identity)
    client = EstClient(url, authorities := _read(ca), server_name)
    if (code_file is None) == (certificate is None):
        raise _malformed("Expected either --code-file or --certificate.")
    given = _read(certificate or code_file or Path("-"))
    code = _code(given) if certificate is None else ""
    keyset = Keyset(out_dir.absolute())
    with keyset.locked():
        _check_free(keyset, who, replace=replace)
        how = {"url": url, "identity": who.subject, "server_name": server_name or ""}
        made = keyset.pending_key(_kind(key_kind))
        obtained = client.accept(who, given, made) if certificate is not None else client.enrol(who, code, made)
        keyset.remember(how, authorities)
        keyset.install(obtained.certificate, list(obtained.issuers))
    _tell(keyset, as_json, "enrolled")
    if daemon:
        reenrol(out_dir=out_dir, daemon=True, reload_hook=reload_hook, key_kind=key_kind)


def reenrol(
    *,
    out_dir: Folder,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="Stay, and renew whenever a third of the life is left.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Renew although it is not due yet.")] = False,
    reload_hook: Hook = None,
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm",
            help="After the reload, say that the new certificate is in use: the old one is revoked at once.",
        ),
    ] = False,
    key_kind: KeyKind = None,
    as_json: AsJson = False,
) -> None:
    """Renew by the current certificate when a third of its life is left; the old one keeps working meanwhile.

    Confirm only where all machines that use the certificate take it from this folder.
    """
    from authz.domain.clock import SystemClock  # noqa: PLC0415
    from pki.holder.keyset import Keyset, KeysetError  # noqa: PLC0415
    from pki.holder.renewal import Renewer, due_at, read_hook  # noqa: PLC0415

    keyset = Keyset(out_dir.absolute())
    kept = keyset.remembered()
    who = identifier(kept.get("identity", ""))
    if confirm and daemon and reload_hook is None:
        raise _malformed("--confirm with --daemon: expected --reload-hook, or nobody would know what is in use.")
    renewer = Renewer(
        keyset,
        _client(keyset, kept),
        who,
        SystemClock(),
        hook=read_hook(reload_hook),
        confirm=_confirmer(keyset, kept) if confirm else None,
        key_kind=_kind(key_kind),
    )
    if daemon:
        _log()
    else:
        _be_silent()
    if confirm and not daemon and not now:
        # Also when nothing is to be renewed: somebody who types it has the current certificate at work.
        keyset.expect_confirmation()
    if daemon:
        _stay(lambda stop: renewer.run(stop, now=now))
        return
    step = renewer.step(now=now)
    if step.failed is not None:
        raise step.error or KeysetError(step.failed)
    certificate = keyset.certificate()
    due = "" if certificate is None else f"; next renewal {due_at(certificate):%Y-%m-%d}"
    _tell(keyset, as_json, ("renewed" if step.renewed else "not due yet") + due)


def _client(keyset: "Keyset", kept: dict[str, str]) -> "EstClient":
    from pki.holder.est_client import EstClient  # noqa: PLC0415

    return EstClient(kept.get("url", ""), _read(keyset.authorities), kept.get("server_name") or None)


def _confirmer(keyset: "Keyset", kept: dict[str, str]) -> "Callable[[], bool]":
    def confirm() -> bool:
        from pki.holder.confirming import confirm_use  # noqa: PLC0415

        # One look at the link, so that a switch in the middle does not mix two sets.
        used = keyset.current.resolve()
        name = kept.get("server_name") or None
        return confirm_use(kept.get("url", ""), used / "chain.pem", used / "key.pem", keyset.authorities, name)

    return confirm


def _stay(run: "Callable[[threading.Event], None]") -> None:
    import signal  # noqa: PLC0415
    import threading  # noqa: PLC0415

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    run(stop)


def _log() -> None:
    from authz.edge.logs import configure_logs  # noqa: PLC0415

    configure_logs("pki-reenrol")


def _be_silent() -> None:
    """A single look is told by its outcome; the same in a log would be said twice."""
    import logging  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _check_free(keyset: "Keyset", who: "Identifier", *, replace: bool) -> None:
    """See that the folder waits for a first certificate, or for one after the last stopped working.

    Raises:
        Refused: PARAMETER_MALFORMED, it is somebody else's; IDENTITY_HAS_CERTIFICATE, one that is not over is there.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415

    certificate = keyset.certificate()
    if certificate is None:
        return
    owner = keyset.remembered().get("identity", "")
    if owner != who.subject:
        raise _malformed(f"{keyset.folder} is the folder of {owner}: name another --out-dir for {who}.")
    ends = certificate.not_valid_after_utc
    if replace or ends <= datetime.now(UTC):
        return
    raise Refused(
        Reason.IDENTITY_HAS_CERTIFICATE,
        f"{keyset.folder} has a certificate, until {ends:%Y-%m-%d}: renew it with `pki reenrol --out-dir"
        f" {keyset.folder} --now`. If it was revoked, and an operator gave you a new code, add --replace.",
    )


def _kind(given: str | None) -> str | None:
    from pki.signing.signer import KINDS  # noqa: PLC0415

    if given is not None and given not in KINDS:
        raise _malformed(f"--key-kind: expected one of {', '.join(KINDS)}.")
    return given


def _code(given: bytes) -> str:
    """The code in a file, in the form in which it was handed out; what has another form is not sent to anybody."""
    from pki.enrolment.codes import are_swapped, read_code  # noqa: PLC0415

    text = given.decode("ascii", "replace").strip()
    code = read_code(text)
    if code is None:
        raise _malformed(
            "--code-file: what it holds is not valid as a code: expected 40 letters and digits; or, if two operators"
            " gave you a half each, both halves, 40 and 32, the first one first. Nothing but the code stands in the"
            " file: no title, no words before a half, and plain text (ASCII) without a byte order mark."
        )
    if are_swapped(text):
        raise _malformed(
            "--code-file: the halves seem to stand in the wrong order: expected the longer one, which is the first,"
            " on the first line. Nothing was sent."
        )
    return code.text()


def _malformed(detail: str) -> "Refused":
    from authz.domain.errors import Refused  # noqa: PLC0415
    from authz.domain.reasons import Reason  # noqa: PLC0415

    return Refused(Reason.PARAMETER_MALFORMED, detail)


def _read(path: Path) -> bytes:
    from authz.domain.files import read_limited  # noqa: PLC0415

    if str(path) == "-":
        return typer.get_binary_stream("stdin").read(MAX_FILE)
    return read_limited(path, MAX_FILE)


def _tell(keyset: "Keyset", as_json: bool, what: str) -> None:  # noqa: FBT001  as it came from the command line
    certificate = keyset.certificate()
    value = {
        "outcome": what,
        "folder": str(keyset.current),
        "serial_number": f"{certificate.serial_number:x}" if certificate else None,
        "not_after": certificate.not_valid_after_utc.isoformat() if certificate else None,
    }
    text = f"{what}\n{keyset.current}/key.pem\n{keyset.current}/chain.pem"
    typer.echo(json.dumps(value) if as_json else text)
