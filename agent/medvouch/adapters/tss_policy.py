"""Policy sessions of a TPM: how the keys with a policy are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss import ESYS_TR, TPM2B_DIGEST, TPML_DIGEST
from tpm2_pytss.constants import TPM2_SE

from medvouch.adapters.tss_stack import TssStack
from medvouch.errors import TpmFault
from medvouch.formats.tpm_public import ObjectAttribute, Public
from medvouch.ports import KeyHandle

_POLICY_SECRET = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_POLICY_CERTIFY = bytes.fromhex("b2a69e6391e2684a0fe752d39e14acd2e5cb922e4bd035830eea31f2aabe9870")
_POLICY_ACTIVATE = bytes.fromhex("cd9917cf18c3848c3a2e606986a066c68142f9bc2710a278287a650ca3bbf245")
_POLICY_IDEVID_NV = bytes.fromhex("629c50b05f1adb5b4297feb241549d4217a1c792c162feb861022def88fa9501")
_POLICY_IAK_NV = bytes.fromhex("101e689dadf145222412c05b76e14532af1e5c74208e0ae7cdb0cff1906c8a09")
_ADMIN_BRANCHES = {
    bytes.fromhex("ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea"): _POLICY_IDEVID_NV,
    bytes.fromhex("5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07"): _POLICY_IAK_NV,
}
"""By authPolicy of IDevID and IAK, the fourth branch of their PolicyOR(secret, secret and Certify, secret and
ActivateCredential, NV), where secret is PolicySecret(endorsement) (TCG TPM 2.0 Keys for Device Identity and
Attestation, 7.3.6)."""


class TssPolicy(TssStack):
    """Policy sessions."""

    @contextmanager
    def _admin(self, key: KeyHandle, code: int) -> Iterator[ESYS_TR]:
        """What authorises the command `code` in the ADMIN role of a key: its empty auth, or its policy."""
        public = Public.parse(self.read_public(key))
        if not public.attributes & ObjectAttribute.ADMIN_WITH_POLICY:
            yield ESYS_TR.PASSWORD
            return
        if public.auth_policy not in _ADMIN_BRANCHES:
            raise TpmFault("tpm-refused", "the key has an administrative policy that is not known")
        branches = _POLICY_SECRET, _POLICY_CERTIFY, _POLICY_ACTIVATE, _ADMIN_BRANCHES[public.auth_policy]
        with self._policy_session() as session:
            self._esapi.policy_command_code(session, code)
            self._esapi.policy_or(session, TPML_DIGEST([TPM2B_DIGEST(branch) for branch in branches]))
            yield session

    @contextmanager
    def _user(self, key: KeyHandle) -> Iterator[ESYS_TR]:
        """What authorises the use of a key: its empty auth, or PolicySecret(endorsement)."""
        if Public.parse(self.read_public(key)).attributes & ObjectAttribute.USER_WITH_AUTH:
            yield ESYS_TR.PASSWORD
            return
        with self._policy_session() as session:
            yield session

    @contextmanager
    def _policy_session(self) -> Iterator[ESYS_TR]:
        """A SHA-256 policy session in which PolicySecret(endorsement) holds."""
        with self._session(TPM2_SE.POLICY) as session:
            self._esapi.policy_secret(ESYS_TR.ENDORSEMENT, session, b"", b"", b"", 0)
            yield session
