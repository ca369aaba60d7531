"""What each PCR is for, in a few words (TCG PC Client PFP 1.06, table 1; UAPI group, Linux TPM PCR Registry)."""

from __future__ import annotations

MEANINGS = {
    0: "firmware",
    1: "firmware configuration",
    2: "drivers of add-in cards",
    3: "configuration of add-in cards",
    4: "boot loader and kernel image",
    5: "boot loader configuration, partition table",
    6: "platform events",
    7: "Secure Boot policy",
    8: "GRUB commands",
    9: "kernel command line, initrd",
    10: "files that were run or read (IMA)",
    11: "sections of the kernel image, boot phases",
    12: "overrides of the kernel image",
    13: "system extensions",
    14: "shim's keys (MOK)",
    15: "machine identity",
}


def meaning(pcr: int) -> str:
    """What it is for; nothing for those that nobody has named."""
    return MEANINGS.get(pcr, "")
