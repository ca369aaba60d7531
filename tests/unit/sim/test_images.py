"""Slot images: one file, one encoding."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import slot_image
from medvouch_sim import uki
from medvouch_sim.fixtures import FIXTURES, RELEASES
from medvouch_sim.images import Image, build_image, read_image
from support.truncation import assert_every_truncation_refused

SMALL = Image(b"a kernel", {"bin/a": b"one", "bin/b": bytes(513), "bin/c": b""})


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_as_tar_reads_it(release: str) -> None:
    data = build_image(release)
    assert data == build_image(release)
    folder = FIXTURES / "releases" / release
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        for name in names:
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == (folder / name).read_bytes()
    assert names == sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_says_its_version(release: str) -> None:
    assert read_image(build_image(release)).version == release


def test_a_kernel_image_without_a_version() -> None:
    assert dataclasses.replace(SMALL, uki=uki.build({".linux": b"x"})).version == ""
    with pytest.raises(InputError, match="pe-malformed"):
        _ = SMALL.version


def test_there_and_back() -> None:
    assert read_image(SMALL.encode()) == SMALL
    assert_every_truncation_refused(read_image, SMALL.encode())


@given(
    st.binary(max_size=1100),
    st.dictionaries(
        st.from_regex(r"[a-z]{1,9}(/[a-z]{1,9}){0,3}", fullmatch=True), st.binary(max_size=600), min_size=1
    ),
)
def test_whatever_is_in_it(kernel: bytes, files: dict[str, bytes]) -> None:
    assert read_image(Image(kernel, files).encode()) == Image(kernel, files)


@given(st.integers(0, len(SMALL.encode()) - 1), st.integers(1, 255))
def test_another_byte_is_other_contents_or_refused(at: int, change: int) -> None:
    data = bytearray(SMALL.encode())
    data[at] ^= change
    try:
        image = read_image(bytes(data))
    except InputError:
        return
    assert image != SMALL
    assert image.encode() == data


@given(st.binary(max_size=2048))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="image-"):
        read_image(data)


def archive(*members: tuple[str, bytes], format: int = tarfile.USTAR_FORMAT, **attributes: object) -> bytes:
    """What Python's tar writes; cut to the two blocks of zeros that we close with."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as written:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            written.addfile(info, io.BytesIO(data))
        size = written.offset
    return file.getvalue()[:size] + bytes(1024)


KERNEL, ROOT_FILE = ("medvouch.efi", b"kernel"), ("rootfs/a", b"program")


def test_what_the_cases_below_start_from() -> None:
    assert read_image(archive(KERNEL, ROOT_FILE)) == Image(b"kernel", {"a": b"program"})


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (archive(KERNEL), "malformed"),
        (archive(ROOT_FILE), "malformed"),
        (archive(ROOT_FILE, KERNEL), "malformed"),
        (archive(KERNEL, ROOT_FILE, ROOT_FILE), "malformed"),
        (archive(KERNEL, ("readme", b""), ROOT_FILE), "malformed"),
        (archive(KERNEL, ROOT_FILE, mtime=1), "malformed"),
        (archive(KERNEL, ROOT_FILE, uid=1), "malformed"),
        (archive(KERNEL, ROOT_FILE, mode=0o755), "malformed"),
        (archive(KERNEL, ROOT_FILE, type=tarfile.LNKTYPE), "malformed"),
        (archive(KERNEL, ROOT_FILE, format=tarfile.GNU_FORMAT), "malformed"),
        (archive(KERNEL, ("rootfs/\u00e4", b"")), "malformed"),
        (archive(KERNEL, ROOT_FILE)[:-512] + b"x" * 512, "malformed"),
        (archive(KERNEL, ROOT_FILE) + bytes(512), "trailing"),
        (archive(KERNEL, ROOT_FILE)[:-1], "truncated"),
    ],
)
def test_archives_that_are_no_image(data: bytes, fault: str) -> None:
    with pytest.raises(InputError, match=f"^image-{fault}:"):
        read_image(data)


@pytest.mark.parametrize("size", [-1, 1 << 60])
def test_sizes_beyond_the_archive(size: int) -> None:
    header = tarfile.TarInfo("medvouch.efi")
    header.size = size
    with pytest.raises(InputError, match="image-truncated"):
        read_image(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 3), ("MAX_IMAGE_BYTES", len(SMALL.encode()) - 1)])
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    refuses(read_image, lambda: monkeypatch.setattr(slot_image, limit, value), SMALL.encode())


def refuses(parse: Callable[[bytes], object], lower: Callable[[], None], data: bytes) -> None:
    parse(data)
    lower()
    with pytest.raises(InputError, match="image-limit"):
        parse(data)
