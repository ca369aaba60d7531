"""After the first start of a release: does the device find itself booted as the release's reference values say.

The code is the appraiser's, the network is not asked: whoever cuts it off cannot turn a good update back (DESIGN §7).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from medvouch.formats.reference import ReferenceValues
from medvouch.lifecycle.roles import TrustedRole
from medvouch.ports import Entropy

APPRAISER = "self-check"
NONCE_BYTES = 32


@dataclass(frozen=True)
class SelfCheck:
    """`make(nonce, appraiser)` gives evidence; `roots` (DER) issue this device's certificates.

    `boot_count` is the TPM's resetCount in this boot, `now` trusted time (s since 1970).
    """

    device: str
    boot_count: int
    roots: Sequence[bytes]
    release: TrustedRole
    make: Callable[[bytes, str], Awaitable[bytes]]
    now: Callable[[], int]
    entropy: Entropy

    async def evidence(self) -> bytes:
        """Fresh evidence of this boot. Raises TpmFault, StorageFault."""
        return await self.make(self.entropy.bytes(NONCE_BYTES), APPRAISER)

    def values(self, reference: bytes) -> ReferenceValues:
        """Of one release, if enough have signed them. Raises as `attestation.reference.verify_references`."""
        from medvouch.attestation.reference import verify_references  # noqa: PLC0415 - as below

        (verified,) = verify_references([reference], self.release.keys, self.release.threshold)
        return verified.values

    def judge(self, evidence: bytes, reference: bytes, pcrs: Collection[int] | None = None) -> None:
        """Appraise it against one release's signed reference values, or only against those of some PCRs.

        What was installed while it was good is confirmed whatever has expired since (DESIGN §7), so this device's own
        certificates are judged no later than they end. Raises as `attestation.appraisal.appraise`.
        """
        from medvouch.attestation.appraisal import Anchors, Expectation, appraise  # noqa: PLC0415 - much code,
        from medvouch.attestation.evidence import UnverifiedEvidence  # noqa: PLC0415 - that is wanted once a release
        from medvouch.attestation.policy import RELEASE_POLICY  # noqa: PLC0415
        from medvouch.attestation.reference import verify_references  # noqa: PLC0415
        from medvouch.crypto.certificates import load  # noqa: PLC0415

        references = verify_references([reference], self.release.keys, self.release.threshold)
        expected = Expectation(APPRAISER, self.device)
        anchors = Anchors(self.roots, references)
        policy = replace(RELEASE_POLICY, reference_pcrs=None if pcrs is None else frozenset(pcrs))
        parsed = UnverifiedEvidence.parse(evidence)
        ends = (load(each).parsed.not_valid_after_utc for each in (parsed.quote.lak_certificate, *self.roots))
        appraise(parsed, expected, anchors, policy, min(self.now(), *(int(end.timestamp()) for end in ends)))
