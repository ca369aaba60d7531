"""The three commands that every evidence takes, put on the wire as they are: the objects of the stack cost as much.

No session but the password's, no auth but the empty one; all else goes through ESAPI. (TPM 2.0 Library, Part 3, 18.4,
20.2 and 22.4; Part 1, 18.)
"""

from __future__ import annotations

import functools

from tpm2_pytss import ESYS_TR

from medvouch.adapters.tss_context import Context
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.tpm import (
    MAX_DATA_BYTES,
    MAX_DIGEST_BYTES,
    MAX_PCR_BANKS,
    PCR_SELECT_BYTES,
    PcrSelection,
    Signature,
    SignedAttest,
    sized,
)

_NO_SESSIONS, _SESSIONS = b"\x80\x01", b"\x80\x02"
_PCR_READ, _QUOTE, _SIGN = ((code).to_bytes(4, "big") for code in (0x17E, 0x158, 0x15D))
_PASSWORD = bytes.fromhex("00000009 40000009 0000 01 0000")
"""authorizationSize, TPM_RS_PW, no nonce, continueSession, the empty auth."""
_OWN_SCHEME = b"\x00\x10"
_MESSAGE_SCHEME = b"\x00\x18" + HashAlg.SHA256.to_bytes(2, "big")
_NO_TICKET = bytes.fromhex("8024 40000007 0000")
"""TPMT_TK_HASHCHECK of the null hierarchy: an unrestricted key asks for nothing better."""
_HEADER_BYTES = 10
_MAX_DIGESTS = 8
"""TPML_DIGEST holds no more (Part 2, 10.9.2)."""
_BANK_BYTES = 3 + PCR_SELECT_BYTES
_COORDINATE_BYTES = 32
NOTHING = PcrSelection(())


def handle_of(context: Context, key: ESYS_TR) -> bytes:
    """The TPM's own handle of a key, which leads what the stack writes of it for another process."""
    serialized: bytes = context.tr_serialize(key)
    name = bytes(context.tr_get_name(key))
    if serialized[4 : 6 + len(name)] != sized(name):
        raise TpmFault("tpm-refused", "the stack tells handles in a form that is not known", place="handle")
    return bytes(serialized[:4])


def pcr_read(context: Context, selection: PcrSelection) -> tuple[int, PcrSelection, list[bytes]]:
    """TPM2_PCR_Read: update counter, which PCRs were read, and their values."""
    answer = context.direct(_command(_NO_SESSIONS, _PCR_READ, _encoded(selection)))
    cursor = Cursor(answer[_HEADER_BYTES:], "tpm")
    counter = cursor.u32()
    start = cursor.offset
    banks = cursor.count(4, MAX_PCR_BANKS)
    cursor.take(banks * _BANK_BYTES)
    read = _selection(cursor.data[start : cursor.offset])
    digests = [cursor.sized(2, MAX_DIGEST_BYTES) for _ in range(cursor.count(4, _MAX_DIGESTS))]
    cursor.done()
    return counter, read, digests


def quote(context: Context, key: bytes, qualifying_data: bytes, selection: PcrSelection) -> SignedAttest:
    """TPM2_Quote with the key's own scheme."""
    if len(qualifying_data) > MAX_DATA_BYTES:
        raise TpmFault("tpm-refused", f"{len(qualifying_data)} bytes of qualifying data", place="TPM2_Quote")
    parameters = sized(qualifying_data) + _OWN_SCHEME + _encoded(selection)
    given = _parameters(context.direct(_command(_SESSIONS, _QUOTE, key + _PASSWORD + parameters)))
    size = int.from_bytes(given[:2], "big")
    return SignedAttest(given[2 : 2 + size], given[2 + size :])


def sign(context: Context, key: bytes, digest: bytes) -> bytes:
    """TPM2_Sign by ECDSA P-256 with SHA-256: r || s."""
    parameters = sized(digest) + _MESSAGE_SCHEME + _NO_TICKET
    given = _parameters(context.direct(_command(_SESSIONS, _SIGN, key + _PASSWORD + parameters)))
    return b"".join(part.rjust(_COORDINATE_BYTES, b"\0") for part in Signature.parse(given).value)


@functools.lru_cache(maxsize=64)
def pairs(selection: PcrSelection) -> tuple[tuple[HashAlg, int], ...]:
    """(bank, PCR) in the selection's order."""
    return tuple((bank, pcr) for bank, pcrs in selection.banks for pcr in pcrs)


@functools.lru_cache(maxsize=64)
def without(selection: PcrSelection, read: PcrSelection) -> PcrSelection:
    """What of a selection is still to be read; of no bank without a PCR."""
    done = set(pairs(read))
    left = ((bank, tuple(pcr for pcr in pcrs if (bank, pcr) not in done)) for bank, pcrs in selection.banks)
    return PcrSelection(tuple((bank, pcrs) for bank, pcrs in left if pcrs))


@functools.lru_cache(maxsize=64)
def _selection(data: bytes) -> PcrSelection:
    """Of a TPML_PCR_SELECTION, likewise."""
    return PcrSelection.parse(data)


@functools.lru_cache(maxsize=64)
def _encoded(selection: PcrSelection) -> bytes:
    """The same few are asked for again and again."""
    return selection.encode()


def _command(tag: bytes, code: bytes, body: bytes) -> bytes:
    return tag + (_HEADER_BYTES + len(body)).to_bytes(4, "big") + code + body


def _parameters(answer: bytes) -> bytes:
    """Those of an answer with sessions."""
    cursor = Cursor(answer[_HEADER_BYTES:], "tpm")
    return cursor.take(cursor.u32())
