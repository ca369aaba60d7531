"""Writes the catalogue of attacks into build/catalogue/ and judges it: every code as it is told (`make catalogue`)."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "catalogue"


def main() -> int:
    """The command."""
    sys.path.insert(0, str(ROOT / "tests"))
    catalogue = import_module("support.catalogue")
    written = catalogue.write(TARGET)
    wrong = [attack.id for attack in written if catalogue.judge(TARGET / attack.id) != attack.code]
    codes = {attack.code for attack in written if attack.code}
    print(f"{len(written)} inputs, {len(codes)} codes in {TARGET.relative_to(ROOT)}")
    if wrong:
        print(f"refused with another code: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
