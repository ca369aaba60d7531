"""Whose a TPM is."""

from __future__ import annotations

from tpm2_pytss import ESYS_TR
from tpm2_pytss.constants import TPMA_PERMANENT

from medvouch.adapters.tss_stack import TssStack, command

_PT_PERMANENT = 0x200


class TssOwner(TssStack):
    """The ownership commands of the Tpm port."""

    def set_hierarchy_auths(self, owner: bytes, lockout: bytes) -> None:
        """TPM2_HierarchyChangeAuth, owner first; an auth that is set already is left."""
        permanent = self._property(_PT_PERMANENT)
        for flag, hierarchy, auth in (
            (TPMA_PERMANENT.OWNERAUTHSET, ESYS_TR.OWNER, owner),
            (TPMA_PERMANENT.LOCKOUTAUTHSET, ESYS_TR.LOCKOUT, lockout),
        ):
            if not permanent & flag:
                with command("TPM2_HierarchyChangeAuth"):
                    self._esapi.hierarchy_change_auth(hierarchy, auth)

    def ownership_taken(self) -> bool:
        """Whether ownerAuthSet and lockoutAuthSet both stand."""
        both = TPMA_PERMANENT.OWNERAUTHSET | TPMA_PERMANENT.LOCKOUTAUTHSET
        return bool(self._property(_PT_PERMANENT) & both == both)
