"""Settings of the CAs: roots, and issuing CAs with their key in a file, in a token, or gone.

Two issuing CAs of one environment can be there at once (rollover): `issuing.active` says which one issues. The other
one still makes CRLs and answers OCSP for what it issued, until it is retired.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, StringConstraints, Tag

from authz.edge.settings import ExistingFile, Settings
from pki.signing.pkcs11_signer import TokenKey, TokenSigner, open_token_key
from pki.signing.signer import KeySigner, load_key_file, read_passphrase

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
TokenText = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,64}$")]
HexId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,32}$")]
EnvironmentName = Literal["PRD", "TST", "ACC"]


class RootSettings(Settings):
    """An offline root: its key is not here, only what must be published."""

    name: Slug = "root"
    """Name in files and URLs: `/ca/<name>.crt`, `/crl/<name>.crl`."""
    certificate: ExistingFile
    """Its certificate, PEM."""
    crl: ExistingFile
    """Its newest CRL, from the ceremony; a newer one is noticed by itself."""
    cross: ExistingFile | None = None
    """Its key certified by the root before it (`pki ceremony-cross`), published as `/ca/<name>-cross.crt`."""


class _IssuerSettings(Settings):
    name: Slug
    """Name in files and URLs: `/ca/<name>.crt`, `/crl/<name>.crl`."""
    environment: EnvironmentName
    """What it issues for."""
    certificate: ExistingFile
    """Its certificate, PEM."""


class FileIssuerSettings(_IssuerSettings):
    """An issuing CA whose key is an encrypted PKCS#8 file."""

    signer: Literal["file"] = "file"
    """Where the key is: in a file."""
    key: ExistingFile
    """Its private key: encrypted PKCS#8, PEM."""
    passphrase_file: ExistingFile
    """First line: the passphrase of the key; mode 0600."""

    def open(self) -> KeySigner:
        """The signer.

        Raises:
            SignerError: the key or passphrase cannot be used.
        """
        return load_key_file(self.key, read_passphrase(self.passphrase_file))


class TokenIssuerSettings(_IssuerSettings):
    """An issuing CA whose key is in a PKCS#11 token."""

    signer: Literal["pkcs11"]
    """Where the key is: in a token."""
    module: ExistingFile
    """The vendor's library."""
    token: TokenText
    """Label of the token."""
    key: TokenText
    """Label of the key."""
    key_id: HexId | None = None
    """CKA_ID in hex, where several keys have the label."""
    pin_file: ExistingFile
    """First line: the PIN of the user of the token; mode 0600."""

    def open(self) -> TokenSigner:
        """The signer.

        Raises:
            SignerError: the token or the key cannot be used.
        """
        key_id = bytes.fromhex(self.key_id) if self.key_id is not None else None
        return open_token_key(TokenKey(self.module, self.token, self.pin_file, self.key, key_id))


class RetiredIssuerSettings(_IssuerSettings):
    """An issuing CA that was retired (`pki retire`): its certificate and last CRL are published, its key is gone."""

    signer: Literal["none"]
    """The key is gone; only the certificate and the last CRL are left."""


def _kind(value: Any) -> str:  # noqa: ANN401  whatever stands in the file
    found = value.get("signer", "file") if isinstance(value, Mapping) else getattr(value, "signer", "file")
    return found if found in {"file", "pkcs11", "none"} else "file"


IssuingCaSettings = Annotated[
    Annotated[FileIssuerSettings, Tag("file")]
    | Annotated[TokenIssuerSettings, Tag("pkcs11")]
    | Annotated[RetiredIssuerSettings, Tag("none")],
    Discriminator(_kind),
]


def choose_active(
    issuers: Iterable[FileIssuerSettings | TokenIssuerSettings | RetiredIssuerSettings], active: Iterable[str]
) -> dict[str, str]:
    """Environment -> name of the issuing CA that issues in it.

    Args:
        issuers: all of them.
        active: names out of `issuing.active`.

    Raises:
        ValueError: a name that is no working issuing CA, two for one environment, or a choice that was not made.
    """
    working = [issuer for issuer in issuers if not isinstance(issuer, RetiredIssuerSettings)]
    chosen: dict[str, str] = {}
    for name in active:
        environment = next((issuer.environment for issuer in working if issuer.name == name), None)
        if environment is None:
            raise ValueError(f"issuing.active: {name} is not one of the issuers that have a key")
        if environment in chosen:
            raise ValueError(f"issuing.active: expected one issuing CA for {environment}")
        chosen[environment] = name
    for environment in dict.fromkeys(issuer.environment for issuer in working):
        names = [issuer.name for issuer in working if issuer.environment == environment]
        if environment not in chosen and len(names) > 1:
            raise ValueError(
                f"issuing.active: expected one of {', '.join(names)}, as {environment} has several issuers"
            )
        chosen.setdefault(environment, names[0])
    return chosen
