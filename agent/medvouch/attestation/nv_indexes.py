"""What the authority makes of the NV indexes of a device: the ones of provisioning, and the Names they go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from medvouch.attestation import refusals
from medvouch.attestation.provisioning import nv_layout
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import nv_name
from medvouch.errors import Refusal
from medvouch.formats.tpm_public import NvAttribute, NvPublic

LATER = frozenset({"tuf-versions"})
"""Names of `nv_layout` that agents of before did not define; their devices enrol all the same."""


def verified_names(publics: Mapping[str, bytes], floor_authority: PublicKey, ueid: bytes) -> Mapping[str, bytes]:
    """The Names that exactly the indexes of `nv_layout` have from their first write on (Part 2, 13.4: WRITTEN).

    Those of LATER may be missing.

    `ueid` is the device's, `publics` are TPMS_NV_PUBLIC by name. Raises InputError `tpm-*`, Refusal `nv-index-wrong`.
    """
    layout = nv_layout(floor_authority, ueid)
    if publics.keys() | LATER != layout.keys():
        raise Refusal(refusals.NV_INDEX_WRONG, f"{sorted(publics)} where {sorted(layout)} are wanted")
    return {name: _name(NvPublic.parse(public), layout[name], name) for name, public in publics.items()}


def _name(found: NvPublic, wanted: NvPublic, name: str) -> bytes:
    written = replace(found, attributes=found.attributes | NvAttribute.WRITTEN)
    if written != replace(wanted, attributes=wanted.attributes | NvAttribute.WRITTEN):
        raise Refusal(refusals.NV_INDEX_WRONG, "defined otherwise than provisioning does", place=name)
    return nv_name(written.encode())
