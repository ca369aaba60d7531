"""The policies that come with medvouch, as the TOML that `policy.parse_policy` reads, by name."""

from __future__ import annotations

SECURE_BOOT = """\
# Every static PCR explained by the logs, and Secure Boot on. What was booted is not asked.
id = "medvouch:secure-boot:1"

[pcrs]
sha256 = "0-15"

[secure_boot]
required = true
"""

RELEASE = """\
# The boot chain of a signed release, event by event.
id = "medvouch:release:1"
include = ["secure-boot"]

[reference]
required = true
"""

IMA_ALLOWLIST = """\
# Every file that the kernel measured is one that a signed reference lists; firmware and kernel may be any.
id = "medvouch:ima-allowlist:1"
include = ["secure-boot"]

[reference]
required = true
pcrs = "10"

[ima]
required = true
"""

STRICT = """\
# A signed release, its files and nothing else, asked just now, with a ledger that goes on from the one known.
id = "medvouch:strict:1"
include = ["release", "ima-allowlist"]
quirks = []

[freshness]
nonce = true
clock_safe = true

[ledger]
required = true
"""

SHIPPED = {"secure-boot": SECURE_BOOT, "release": RELEASE, "ima-allowlist": IMA_ALLOWLIST, "strict": STRICT}
