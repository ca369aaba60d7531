"""Attacks on updates, those that hit others among them: the code that each is refused with, and the test that shows it.

`make docs` writes the table; a test holds that each test is there and names what it says it is about.
"""

from __future__ import annotations

from typing import NamedTuple

UPDATE = "tests/unit/update"
SITE = "tests/integration/site"


class Attack(NamedTuple):
    """`code` is empty where the attack comes to nothing, and so nothing is refused; `known` are CVE numbers."""

    what: str
    code: str
    test: str
    known: tuple[str, ...] = ()


ATTACKS = (
    Attack("a signature over part of a large bundle", "payload-mismatch",
           "tests/integration/adapters/test_delivery.py::test_the_signature_covers_every_byte_of_a_large_image",
           ("CVE-2026-34155",)),
    Attack("a size of which a counter of 32 bits sees the rest", "payload-too-short",
           f"{UPDATE}/test_payload.py::test_a_size_that_others_count_round", ("CVE-2026-34155",)),
    Attack("a manifest's threshold met by one key twice", "manifest-key-repeated",
           f"{UPDATE}/test_verification.py::test_the_same_key_twice", ("CVE-2020-6174", "CVE-2020-15093")),
    Attack("a role's threshold met by one key under two ids", "metadata-untrusted",
           f"{UPDATE}/test_roots.py::test_one_key_under_two_ids_counts_once", ("CVE-2020-6174", "CVE-2020-15093")),
    Attack("one key in both roles, release and quality", "manifest-roles-overlap",
           f"{UPDATE}/test_verification.py::test_a_key_in_both_roles"),
    Attack("a threshold of zero in the repository", "metadata-malformed",
           f"{UPDATE}/test_roots.py::test_a_threshold_of_nobody"),
    Attack("a threshold of zero in the trust document", "trust-malformed",
           "tests/unit/formats/test_trust.py::test_roles_that_cannot_be_filled"),
    Attack("path traversal by a target's name", "target-name-unsafe",
           f"{UPDATE}/test_directing.py::test_a_release_whose_name_leads_elsewhere",
           ("CVE-2021-41131", "CVE-2021-41149")),
    Attack("path traversal by a role's name", "",
           f"{UPDATE}/test_delegations.py::test_roles_with_odd_names_stay_within_their_folder",
           ("CVE-2021-41131", "CVE-2021-41150")),
    Attack("metadata that expires between install and reboot", "",
           f"{SITE}/test_clock.py::test_a_jump_while_an_update_is_under_way"),
    Attack("fast-forward: versions that nobody reaches", "repository-rolled-back",
           "tests/conformance/test_tuf_workflow.py::test_fast_forward_is_recovered_from_by_new_keys"),
    Attack("an unsigned envelope", "manifest-signatures-too-few",
           f"{UPDATE}/test_verification.py::test_too_few_release_keys"),
    Attack("a severed member that is swapped", "manifest-member-mismatch",
           f"{UPDATE}/test_verification.py::test_a_severed_member_that_is_another"),
    Attack("an integrated payload that is swapped", "manifest-member-mismatch",
           f"{UPDATE}/test_verification.py::test_an_integrated_payload_that_nobody_signed"),
    Attack("an address that redirects elsewhere", "fetch-failed",
           "tests/integration/adapters/test_http.py::test_a_redirect_is_not_followed"),
    Attack("a manifest that names a place elsewhere", "url-not-allowed",
           f"{UPDATE}/test_admission.py::test_elsewhere"),
    Attack("an older release, signed as it was", "sequence-not-higher", f"{UPDATE}/test_admission.py::test_not_newer"),
    Attack("a release of a closed security epoch", "epoch-below-floor",
           f"{UPDATE}/test_admission.py::test_below_the_floor"),
    Attack("a frozen repository", "repository-frozen", f"{UPDATE}/test_metadata.py::test_a_frozen_repository"),
    Attack("a repository that goes back", "repository-rolled-back",
           f"{UPDATE}/test_metadata.py::test_a_timestamp_that_goes_back"),
    Attack("a mixture of two states of a repository", "metadata-mismatch",
           f"{UPDATE}/test_metadata.py::test_a_snapshot_that_is_not_the_one_named"),
    Attack("metadata without end", "metadata-limit", f"{UPDATE}/test_metadata.py::test_metadata_over_its_limit"),
    Attack("a director who sends devices to what nobody released", "directive-unlisted",
           f"{UPDATE}/test_directing.py::test_nobody_else_publishes_releases"),
    Attack("a directive moved to another device", "directive-misdirected",
           f"{UPDATE}/test_directing.py::test_a_directive_for_another"),
)  # fmt: skip
