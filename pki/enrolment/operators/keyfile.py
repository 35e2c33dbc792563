"""The file in which an operator keeps his key: encrypted PKCS#8, for its owner only."""

import getpass
from pathlib import Path
from typing import Final

from authz.domain.errors import Refused
from authz.domain.files import PRIVATE, write_new
from authz.domain.reasons import Reason
from pki.enrolment.operators.signing import KIND, public_text
from pki.signing.signer import KeySigner, key_pem, load_key_file, new_key, read_passphrase

_ASKED: Final = "Passphrase of your operator key: "


def make_key(path: Path, passphrase: bytes) -> str:
    """Make a key and write it, encrypted; nothing is overwritten.

    Returns:
        The public key, as it belongs into the settings.

    Raises:
        OSError: it cannot be written, or is there already.
    """
    key = new_key(KIND)
    write_new(path, key_pem(key, passphrase), PRIVATE)
    return public_text(KeySigner(key))


def open_key(path: Path, passphrase_file: Path | None) -> KeySigner:
    """The key of the operator at the keyboard, who types the passphrase unless a file has it.

    Raises:
        SignerError: a file cannot be used, or the passphrase does not open the key.
        Refused: PARAMETER_MISSING, nobody is there to type.
    """
    if passphrase_file is not None:
        return load_key_file(path, read_passphrase(passphrase_file))
    try:
        typed = getpass.getpass(_ASKED)
    except EOFError as error:
        raise Refused(
            Reason.PARAMETER_MISSING, "--operator-passphrase-file: nobody is there to type the passphrase."
        ) from error
    return load_key_file(path, typed.encode())


def settings_block(name: str, public_key: str) -> str:
    """What an administrator puts into `pki.toml`."""
    return f'[[operators]]\nname = "{name}"\npublic_key = "{public_key}"\n'
