"""Keys that a command line names: PEM files, tokens by their PKCS#11 URIs, and directories of either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvouch.adapters.files import read_bounded
from medvouch.cli.parsing import existing_file, part
from medvouch.crypto.keys import PublicKey, Signer, SoftwareSigner, load_private_pem, load_public_pem
from medvouch.errors import ConfigFault, InputError

if TYPE_CHECKING:
    from medvouch.release.tuf_signing import RepositoryKeys

MAX_KEY_FILE = 1 << 16
"""Bytes."""
KEY_FILES: Mapping[str, str] = {
    "root": "tuf-root",
    "targets": "tuf-targets",
    "releases": "tuf-releases",
    "director": "director",
    "snapshot": "tuf-snapshot",
    "timestamp": "tuf-timestamp",
}
"""By role: NAME.pem, NAME-1.pem, NAME-2.pkcs11 ..., as many as are at hand."""
_URI_FILE = ".pkcs11"
_PUBLIC = b"-----BEGIN PUBLIC KEY-----"


def key(text: str) -> Path | str:
    """An argument that names a key: a file, or the URI of one in a token."""
    return text if text.startswith("pkcs11:") else existing_file(text)


@contextmanager
def opened(key: Path | str) -> Iterator[Signer]:
    """A signer, of a token while its session lasts. ConfigFault `key-unusable` where it is none."""
    with ExitStack() as stack:
        if isinstance(key, str):
            yield _Tokens(stack).signer(key)
            return
        try:
            software = SoftwareSigner(load_private_pem(read_bounded(key, MAX_KEY_FILE)))
        except InputError as error:
            detail, remedy = f"{key}: {error.detail}", "name an unencrypted ECDSA key on P-256 or P-384 in PEM"
            raise ConfigFault("key-unusable", detail, remedy=remedy) from error
        yield software


@contextmanager
def opened_folder(folder: Path) -> Iterator[RepositoryKeys]:
    """All keys of the repository's roles in a directory: private ones in PEM and, in `NAME.pkcs11`, URIs of tokens' to
    sign with, public ones in PEM of who signs elsewhere.

    Raises StorageFault, InputError `key-malformed`, `pkcs11-*`; ConfigFault `key-unusable`.
    """
    from medvouch.release.tuf_signing import RepositoryKeys  # noqa: PLC0415 - with tuf

    here: dict[str, list[Signer]] = {role: [] for role in KEY_FILES}
    elsewhere: dict[str, list[PublicKey]] = {role: [] for role in KEY_FILES}
    with ExitStack() as stack:
        tokens = _Tokens(stack)
        for role, path in _files(folder):
            data = read_bounded(path, MAX_KEY_FILE)
            try:
                if path.suffix == _URI_FILE:
                    here[role].append(tokens.signer(data.decode("utf-8", "replace").strip()))
                elif _PUBLIC in data:
                    elsewhere[role].append(load_public_pem(data))
                else:
                    here[role].append(SoftwareSigner(load_private_pem(data)))
            except InputError as error:
                remedy = error.remedy or "put an unencrypted ECDSA P-256 key there, as PEM"
                raise InputError(error.code, f"{path}: {error.detail}", remedy=remedy) from error
        yield RepositoryKeys(**here, elsewhere=elsewhere)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for role, name in KEY_FILES.items():
        for path in sorted(path for form in (name, f"{name}-*") for path in folder.glob(f"{form}.*")):
            if path.suffix in (".pem", _URI_FILE):
                yield role, path


class _Tokens:
    """Opened when the first of their keys is, closed with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: Any = None

    def signer(self, text: str) -> Signer:
        with part("pkcs11"):
            from medvouch.adapters import tokens  # noqa: PLC0415 - only who has a token needs it
        uri = tokens.TokenUri.parse(text)
        self._open = self._open or self._stack.enter_context(tokens.OpenTokens())
        signer: Signer = self._open.signer(uri)
        return signer
