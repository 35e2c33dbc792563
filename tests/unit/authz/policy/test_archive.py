"""Archives that are not exactly a bundle."""

import gzip
import io
import tarfile
from typing import Any

import pytest

from authz.policy.archive import ArchiveLimits, BundleRefused, pack, unpack
from tests.fakes.bundles import content


def tar(*entries: tuple[str, bytes], **fields: Any) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, body in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry, io.BytesIO(body))
    return raw.getvalue()


def test_what_is_packed_comes_out() -> None:
    assert unpack(pack(content())) == content()


def test_the_same_content_is_the_same_bytes() -> None:
    files = content()
    assert pack(files) == pack(dict(reversed(files.items())))


def test_opa_s_leading_slash_is_dropped() -> None:
    assert unpack(gzip.compress(tar(("/access/decision.rego", b"x")))) == {"access/decision.rego": b"x"}


@pytest.mark.parametrize(
    "name",
    [
        "../data.json",
        "/../data.json",
        "//data.json",
        "access/../../etc/a.rego",
        "access/./a.rego",
        "access//a.rego",
        "./data.json",
        "access\\a.rego",
        "C:/a.rego",
        "access/a\u0435.rego",
        "access/A.rego",
        "access/a.rego ",
        "access/a.rego\n",
        "access/data.json",
        "access/policy.wasm",
        "access/.manifest",
        "access/.signatures.json",
        "data.yaml",
        "patch.json",
        "plan.json",
        ".manifest.pb",
        "secret.txt",
        "",
    ],
)
def test_a_name_that_is_no_file_of_a_bundle_is_refused(name: str) -> None:
    with pytest.raises(BundleRefused):
        unpack(gzip.compress(tar((name, b"x"))))


def test_a_file_twice_is_refused() -> None:
    with pytest.raises(BundleRefused, match="twice"):
        unpack(gzip.compress(tar(("data.json", b"{}"), ("data.json", b"[]"))))
    with pytest.raises(BundleRefused, match="twice"):
        unpack(gzip.compress(tar(("data.json", b"{}"), ("/data.json", b"[]"))))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_regular_file_is_refused(kind: bytes) -> None:
    with pytest.raises(BundleRefused):
        unpack(gzip.compress(tar(("data.json", b""), type=kind, linkname="policy.wasm")))


def test_a_zip_bomb_is_refused_before_it_unpacks() -> None:
    bomb = pack({"data.json": b" " * (3 << 20)})
    assert len(bomb) < 10_000
    with pytest.raises(BundleRefused, match="unpacks to too much"):
        unpack(bomb, ArchiveLimits(unpacked_bytes=2 << 20))
    assert unpack(bomb, ArchiveLimits(unpacked_bytes=4 << 20))


def test_too_many_bytes_or_files_are_refused() -> None:
    packed = pack(content())
    with pytest.raises(BundleRefused, match="too large"):
        unpack(packed, ArchiveLimits(packed_bytes=len(packed) - 1))
    assert unpack(packed, ArchiveLimits(packed_bytes=len(packed), files=4))
    with pytest.raises(BundleRefused, match="too many"):
        unpack(packed, ArchiveLimits(files=3))


def test_a_truncated_gzip_is_refused() -> None:
    packed = pack(content())
    for length in (0, 1, 5, 10, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        with pytest.raises(BundleRefused):
            unpack(packed[:length])


def test_a_damaged_checksum_is_refused() -> None:
    packed = bytearray(pack(content()))
    packed[-5] ^= 1
    with pytest.raises(BundleRefused):
        unpack(bytes(packed))


def test_a_second_gzip_member_is_refused() -> None:
    packed = pack(content())
    for rest in (packed, b"x", b"\0"):
        with pytest.raises(BundleRefused, match="behind its end"):
            unpack(packed + rest)


def test_a_second_tar_behind_the_first_is_refused() -> None:
    raw = gzip.decompress(pack(content()))
    with pytest.raises(BundleRefused, match="end"):
        unpack(gzip.compress(raw + tar(("data.json", b"{}"))))


def test_a_truncated_tar_is_refused() -> None:
    raw = tar(("data.json", b"{" + b" " * 2000 + b"}"))
    for length in (0, 100, 512, 1024, 1536, 2560):
        with pytest.raises(BundleRefused):
            unpack(gzip.compress(raw[:length]))


def test_a_damaged_header_is_refused() -> None:
    raw = bytearray(tar(("data.json", b"{}")))
    raw[0] ^= 1
    with pytest.raises(BundleRefused):
        unpack(gzip.compress(bytes(raw)))


def test_what_is_no_gzip_is_refused() -> None:
    with pytest.raises(BundleRefused):
        unpack(tar(("data.json", b"{}")))
