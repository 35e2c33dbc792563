"""Commands for the keys of the authority: `pki ceremony`, its later ceremonies, and `pki retire`.

The ceremonies belong on a machine that is off the network; `retire` on the one that serves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pki.cli.shared import CONFIG, AsJson, Config, emit, operator, with_authority

if TYPE_CHECKING:
    from pki.app import OpenAuthority
    from pki.ceremony.first import HsmPlan
    from pki.store.register import StoredCrl

Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")]
EnvironmentOption = Annotated[str, typer.Option("--environment", help="PRD, TST or ACC.")]
EnvironmentOfRoot = Annotated[
    str,
    typer.Option("--environment", help="PRD, TST or ACC: whose root it is. PRD wants --leader and --witness."),
]
BaseUrl = Annotated[str, typer.Option("--base-url", help="http URL of CRLs; stands in every certificate.")]
Leader = Annotated[str | None, typer.Option("--leader", help="Who holds it; must be named for PRD.")]
Witness = Annotated[str | None, typer.Option("--witness", help="Who watches: another person; must be named for PRD.")]
RootPassphrase = Annotated[Path | None, typer.Option("--root-passphrase-file", help="Asked for when left out.")]
IssuingPassphrase = Annotated[
    Path | None, typer.Option("--issuing-passphrase-file", help="Stays needed while serving.")
]
NOT_AS_WRITTEN: Final = 3
KeyKind = "ec-p256, ec-p384, rsa-3072 or rsa-4096."
IssuingKey = Annotated[str, typer.Option("--issuing-key", help=KeyKind)]
Hsm = Annotated[Path | None, typer.Option("--hsm", help="PKCS#11 module: the issuing key is made inside a token.")]
HsmToken = Annotated[str | None, typer.Option("--hsm-token", help="Label of the token.")]
HsmPinFile = Annotated[Path | None, typer.Option("--hsm-pin-file", help="First line is the PIN; needed while serving.")]
RootCertificate = Annotated[Path, typer.Option("--root", help="Certificate of the root that signs (PEM).")]
RootKey = Annotated[Path | None, typer.Option("--root-key", help="<root>.key.pem beside it when left out.")]
Before = Annotated[Path | None, typer.Option("--before", help="Transcript of the ceremony before this one.")]
Generation = Annotated[int, typer.Option("--generation", min=1, max=999, help="Number in the names; 2 for the second.")]


def ceremony(
    *,
    out: Out,
    organization: Annotated[str, typer.Option(help="Who answers for the authority; in its names.")],
    environment: EnvironmentOption,
    base_url: BaseUrl,
    leader: Leader = None,
    witness: Witness = None,
    root_passphrase_file: RootPassphrase = None,
    issuing_passphrase_file: IssuingPassphrase = None,
    port: Annotated[
        int | None, typer.Option(help="Plain listener in pki.toml; that of --base-url when left out.")
    ] = None,
    root_key: Annotated[str, typer.Option(help=KeyKind)] = "ec-p256",
    issuing_key: IssuingKey = "ec-p256",
    hsm: Hsm = None,
    hsm_token: HsmToken = None,
    hsm_pin_file: HsmPinFile = None,
    generation: Generation = 1,
    as_json: AsJson = False,
) -> None:
    """Make a root and an issuing CA, their first CRLs, settings that use them and a transcript."""
    from pki.ceremony.asked import hold_first  # noqa: PLC0415

    files = hold_first(
        out,
        organization=organization,
        environment=environment,
        base_url=base_url,
        port=port,
        passphrase_files=(root_passphrase_file, issuing_passphrase_file),
        kinds=(root_key, issuing_key),
        people=(leader, witness),
        hsm=_hsm(hsm, hsm_token, hsm_pin_file),
        generation=generation,
    )
    _tell(files, as_json)


def ceremony_issuing(
    *,
    root: RootCertificate,
    out: Out,
    environment: EnvironmentOption,
    base_url: BaseUrl,
    generation: Generation,
    leader: Leader = None,
    witness: Witness = None,
    root_key: RootKey = None,
    root_passphrase_file: RootPassphrase = None,
    issuing_passphrase_file: IssuingPassphrase = None,
    issuing_key: IssuingKey = "ec-p256",
    hsm: Hsm = None,
    hsm_token: HsmToken = None,
    hsm_pin_file: HsmPinFile = None,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """Make a further issuing CA under a root: the next one of an environment, or the first of another."""
    import os  # noqa: PLC0415

    from pki.ceremony.asked import (  # noqa: PLC0415
        occasion_of,
        passphrase,
        read_pin,
        refuse_one_file,
        require_apart,
        root_of,
    )
    from pki.ceremony.later import hold_issuing  # noqa: PLC0415
    from pki.ceremony.parts import FileKeyPlan, KeyPlan  # noqa: PLC0415

    occasion = occasion_of(f"Key ceremony: a further issuing CA, {environment}", (leader, witness), environment, before)
    token = _hsm(hsm, hsm_token, hsm_pin_file)
    refuse_one_file((root_passphrase_file, issuing_passphrase_file))
    root_files = root_of(root, root_key, root_passphrase_file, base_url)
    plan: KeyPlan
    if token is not None:
        require_apart(environment, root_files.passphrase, read_pin(token.pin_file))
        plan = token.key(issuing_key, out)
    else:
        named = os.path.relpath(issuing_passphrase_file or out / "issuing.passphrase", out)
        secret = passphrase(issuing_passphrase_file, "issuing")
        require_apart(environment, root_files.passphrase, secret)
        plan = FileKeyPlan(issuing_key, secret, named)
    _tell(hold_issuing(root_files, out, environment, generation=generation, key_plan=plan, occasion=occasion), as_json)


def ceremony_root_crl(
    *,
    root: RootCertificate,
    previous: Annotated[Path, typer.Option(help="CRL of the root until now (DER).")],
    out: Out,
    environment: EnvironmentOfRoot = "PRD",
    revoke: Annotated[
        list[str] | None, typer.Option("--revoke", help="<certificate>=<reason>: withdraw a CA; may be repeated.")
    ] = None,
    leader: Leader = None,
    witness: Witness = None,
    root_key: RootKey = None,
    root_passphrase_file: RootPassphrase = None,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """Sign the next CRL of a root, at least twice a year, and withdraw CAs with it."""
    from pki.ceremony.asked import occasion_of, reasons_of, root_of  # noqa: PLC0415
    from pki.ceremony.later import make_root_crl  # noqa: PLC0415

    occasion = occasion_of("Key ceremony: the next CRL of a root", (leader, witness), environment, before)
    reasons = reasons_of(revoke or ())
    root_files = root_of(root, root_key, root_passphrase_file, None)
    _tell(make_root_crl(root_files, previous, out, reasons, occasion), as_json)


def ceremony_cross(
    *,
    root: RootCertificate,
    certificate: Annotated[Path, typer.Option(help="Certificate of the new root (PEM).")],
    out: Out,
    base_url: BaseUrl,
    environment: EnvironmentOfRoot = "PRD",
    leader: Leader = None,
    witness: Witness = None,
    root_key: RootKey = None,
    root_passphrase_file: RootPassphrase = None,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """Have the old root vouch for the new one, for relying parties that know only the old one."""
    from pki.ceremony.asked import occasion_of, root_of  # noqa: PLC0415
    from pki.ceremony.later import cross_certify  # noqa: PLC0415

    occasion = occasion_of("Key ceremony: a root by another root", (leader, witness), environment, before)
    root_files = root_of(root, root_key, root_passphrase_file, base_url)
    _tell(cross_certify(root_files, certificate, out, occasion), as_json)


def ceremony_verify(
    transcript: Annotated[Path, typer.Argument(help="transcript.md, with its files in the same folder.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Compare the files of a ceremony with its transcript. Exit status 3 when one was changed or is missing."""
    from pki.ceremony.transcript import verify_transcript  # noqa: PLC0415

    own, found = verify_transcript(transcript)
    good = all(item.acceptable for item in found)

    def text() -> str:
        lines = [f"{item.verdict if item.acceptable else item.verdict.upper():10} {item.name}" for item in found]
        edited = ", ".join(item.name for item in found if item.acceptable and item.verdict == "changed")
        last = "as the transcript says" if good else "NOT as the transcript says"
        last += f", and {edited} was changed since, which an operator may do: look at it" if edited else ""
        return "\n".join([*lines, "", f"{last}; SHA-256 of the transcript itself:", own])

    verdicts = {item.name: {"verdict": item.verdict, "acceptable": item.acceptable} for item in found}
    emit({"transcript": own, "acceptable": good, "files": verdicts}, as_json, text)
    if not good:
        raise typer.Exit(NOT_AS_WRITTEN)


def retire(
    *,
    issuer: Annotated[str, typer.Option(help="Name of an issuing CA that no longer issues.")],
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make the last CRL of an issuing CA of which nothing works any more; then its key can be destroyed."""

    async def act(pki: "OpenAuthority") -> "StoredCrl":
        from authz.domain.errors import Refused  # noqa: PLC0415
        from authz.domain.reasons import Reason  # noqa: PLC0415

        ca = next((ca for ca in pki.cas if ca.name == issuer), None)
        if ca is None:
            names = ", ".join(ca.name for ca in pki.cas)
            raise Refused(Reason.PARAMETER_MALFORMED, f"--issuer: expected one of {names}.")
        return await pki.retirement.retire(ca, operator())

    crl = with_authority(config, act)
    emit(
        {"issuer": crl.issuer, "crl_number": crl.number, "next_update": crl.next_update.isoformat()},
        as_json,
        lambda: (
            f"{crl.issuer} has its last CRL (number {crl.number}, until {crl.next_update:%Y-%m-%d}).\n"
            'Now: set signer = "none" for it, restart the service, and destroy its key.'
        ),
    )


def add_ceremonies(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (
        ("ceremony", ceremony),
        ("ceremony-issuing", ceremony_issuing),
        ("ceremony-root-crl", ceremony_root_crl),
        ("ceremony-cross", ceremony_cross),
        ("ceremony-verify", ceremony_verify),
        ("retire", retire),
    ):
        app.command(name)(command)


def _hsm(module: Path | None, token: str | None, pin_file: Path | None) -> "HsmPlan | None":
    from authz.domain.errors import InvalidValue  # noqa: PLC0415
    from pki.ceremony.first import HsmPlan  # noqa: PLC0415

    if module is None and token is None and pin_file is None:
        return None
    if module is None or token is None or pin_file is None:
        raise InvalidValue("--hsm, --hsm-token and --hsm-pin-file: expected all three or none")
    return HsmPlan(module.absolute(), token, pin_file)


def _tell(files: Mapping[str, Path], as_json: bool) -> None:  # noqa: FBT001  an option
    def text() -> str:
        return "\n".join(str(path) for path in files.values()) + f"\n\nRead {files['transcript.md']} now."

    shown: dict[str, Any] = {name: str(path) for name, path in files.items()}
    emit(shown, as_json, text)
