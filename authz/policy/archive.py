"""Bundles as archives: tar.gz in and out, bounded, and the same bytes for the same content.

Specification: shared `spec/policy.md`, "Bundles". Reading is strict because what is read was not verified yet: one
gzip member, regular files only, names that mean the same everywhere, each once, everything capped before it is kept.
Does not look into the files, and does not verify anything.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from authz.domain.errors import SluisError

SIGNATURES = ".signatures.json"
MANIFEST = ".manifest"
DATA = "data.json"
WASM = "policy.wasm"

# Lower-case folders and files as OPA's style guide has them. What is not in this alphabet (backslash, colon, NUL,
# another dot segment, another Unicode form of the same letter) is not a file of a bundle.
_REGO_NAME = re.compile(r"(?:[a-z0-9_]+/)*[a-z0-9_]+\.rego")
_TAR_BLOCK = 512


class BundleRefused(SluisError):  # noqa: N818  as with Refused: it is what happened
    """A bundle is not one that may be used. The text names the rule it broke, never its content."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Caps on an archive, in bytes and files. The default bundle has 0.1 MB packed, 0.2 MB unpacked and 10 files."""

    packed_bytes: int = 8 << 20
    unpacked_bytes: int = 32 << 20
    files: int = 2000


def pack(files: Mapping[str, bytes]) -> bytes:
    """One archive, files sorted by name, without times, owners or the name of a machine.

    The compressed bytes may differ between releases of zlib; the unpacked ones do not.
    """
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    return gzip.compress(raw.getvalue(), compresslevel=9, mtime=0)


def unpack(packed: bytes, limits: ArchiveLimits | None = None) -> dict[str, bytes]:
    """The files of an archive by name.

    Args:
        packed: the tar.gz.
        limits: caps.

    Raises:
        BundleRefused: anything that is not exactly a well-formed bundle archive.
    """
    limits = limits or ArchiveLimits()
    raw = _decompress(packed, limits)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            while (entry := archive.next()) is not None:
                if len(files) >= limits.files:
                    raise BundleRefused("the archive has too many files")
                name = _name(entry)
                if name in files:
                    raise BundleRefused("the archive has a file twice")
                reader = archive.extractfile(entry)
                content = reader.read() if reader else b""
                if len(content) != entry.size:
                    raise BundleRefused("the archive is cut short")
                files[name] = content
            rest = raw[archive.offset :]
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleRefused("the archive is not a well-formed tar") from error
    # tarfile stops at the first thing that is no header; another reader might go on.
    if len(rest) < _TAR_BLOCK or rest.strip(b"\0"):
        raise BundleRefused("the archive has no proper end")
    return files


def _decompress(packed: bytes, limits: ArchiveLimits) -> bytes:
    if len(packed) > limits.packed_bytes:
        raise BundleRefused("the archive is too large")
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        raw = inflater.decompress(packed, limits.unpacked_bytes + 1)
    except zlib.error as error:
        raise BundleRefused("the archive is not well-formed gzip") from error
    if len(raw) > limits.unpacked_bytes:
        raise BundleRefused("the archive unpacks to too much")
    if not inflater.eof:
        raise BundleRefused("the archive is cut short")
    # Python and Go would read a second gzip member, others not: two readers must not see two bundles.
    if inflater.unused_data:
        raise BundleRefused("the archive has something behind its end")
    return raw


def _name(entry: tarfile.TarInfo) -> str:
    """The name without the leading slash that `opa build` writes."""
    name = entry.name.removeprefix("/")
    if not entry.isreg() or entry.issparse():
        raise BundleRefused("the archive holds something that is not a regular file")
    if name in {SIGNATURES, MANIFEST, DATA, WASM} or _REGO_NAME.fullmatch(name):
        return name
    raise BundleRefused("the archive holds a file that is no part of a bundle, or has it in another place")
