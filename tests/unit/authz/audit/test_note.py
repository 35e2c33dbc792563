"""Signed notes against the published example, and what must not pass for one."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.audit.merkle import EMPTY_ROOT
from authz.audit.note import Checkpoint, NoteInvalid, SignedNote, VerifierKey, sign_note
from authz.audit.note_key import FileNoteSigner

# The example of the signed note format (C2SP signed-note, golang.org/x/mod/sumdb/note).
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def another(name: str = "log.example.nl/audit") -> FileNoteSigner:
    return FileNoteSigner(name, Ed25519PrivateKey.generate())


def test_the_published_note_verifies_and_a_changed_one_does_not() -> None:
    key = VerifierKey.parse(PUBLISHED_KEY)
    assert str(key) == PUBLISHED_KEY
    assert SignedNote.parse(PUBLISHED_NOTE).verified_text(key).startswith("If you think")
    with pytest.raises(NoteInvalid, match="wrong"):
        SignedNote.parse(PUBLISHED_NOTE.replace("answer", "ANSWER")).verified_text(key)


def test_a_checkpoint_comes_back_as_it_was_signed(signer: FileNoteSigner) -> None:
    checkpoint = Checkpoint(signer.verifier.name, 12, EMPTY_ROOT)
    note = sign_note(checkpoint.text, signer)
    assert Checkpoint.open(note, signer.verifier) == checkpoint
    assert note.startswith(
        "log.example.nl/audit\n12\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— log.example.nl/audit "
    )


def test_nothing_is_verified_without_a_known_key(signer: FileNoteSigner) -> None:
    note = sign_note("text\n", signer)
    for keys in ((), (another().verifier,), (VerifierKey("other.example.nl", signer.verifier.public),)):
        with pytest.raises(NoteInvalid, match="known key"):
            SignedNote.parse(note).verified_text(*keys)


def test_an_unknown_cosignature_is_ignored_and_a_wrong_known_one_refuses(signer: FileNoteSigner) -> None:
    witness = another("witness.example.nl")
    note = sign_note("text\n", signer)
    cosigned = note + sign_note("text\n", witness).split("\n\n")[1]
    assert SignedNote.parse(cosigned).verified_text(signer.verifier) == "text\n"
    forged = note + sign_note("other\n", witness).split("\n\n")[1]
    with pytest.raises(NoteInvalid, match="wrong"):
        SignedNote.parse(forged).verified_text(signer.verifier, witness.verifier)


def test_a_checkpoint_of_another_log_is_refused(signer: FileNoteSigner) -> None:
    note = sign_note(Checkpoint("other.example.nl", 1, EMPTY_ROOT).text, signer)
    with pytest.raises(NoteInvalid, match="another log"):
        Checkpoint.open(note, signer.verifier)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        "text\n\n— name AAAAAAA=",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAA\n",
        "text\n\n— na+me AAAAAAAAAAAA\n",
        "text\n\n— name AAAAAAB=\n",
        "te\x07xt\n\n— name AAAAAAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAAAAAA\n" * 65,
        "x" * 20_000 + "\n\n— name AAAAAAAAAAAA\n",
    ],
)
def test_what_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(NoteInvalid):
        SignedNote.parse(note)
    SignedNote.parse("text\n\n— name AAAAAAAAAAAA\n")


@pytest.mark.parametrize("text", ["no newline", "bell\x07\n", "carriage\r\n"])
def test_what_can_not_be_read_back_is_not_signed(signer: FileNoteSigner, text: str) -> None:
    with pytest.raises(NoteInvalid):
        sign_note(text, signer)


ROOT = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1\n{ROOT[:-4]}\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        "log\n1\n",
        f"log\n1\n{ROOT}\n\nextension\n",
        f"log\n1\n{ROOT[:-2]}V=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)
    assert Checkpoint.parse(f"log\n1\n{ROOT}\nextension\n").size == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        PUBLISHED_KEY.replace("c74f20a3", "c74f20a4"),
        PUBLISHED_KEY.replace("PeterNeumann", "Peter"),
        PUBLISHED_KEY.replace("+ARpc", "+BBpc"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(text)
