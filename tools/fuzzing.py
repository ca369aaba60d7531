"""Mutated inputs for every parser, with atheris (`make fuzz`).

    python tools/fuzz.py [TARGET ...]      --runs inputs for each of tests/support/parsers.py, or only for these
    python tools/fuzz.py --minimise DIR    take from DIR/TARGET what reaches more than the committed seeds do

What is found on the way is kept in build/fuzz/, findings in build/fuzz/findings/. Exit 1 where a parser raises what it
does not declare, takes more than `TIMEOUT_S` for one input or more than `RSS_MIB` in all.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from fuzz_seeds import read_seeds, seeded, write_seeds

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"
RUNS = 40_000
MAX_BYTES = 8192
SEED_BYTES = 6144
TIMEOUT_S = 10
RSS_MIB = 1024


def child(target: str, arguments: list[str]) -> None:
    """Be the fuzzer of one target; libFuzzer ends the process."""
    atheris = import_module("atheris")  # make fuzz installs it
    for folder in ("agent", "simulator", "tests"):
        sys.path.insert(0, str(ROOT / folder))
    with atheris.instrument_imports(include=["medvouch", "tuf"]):
        run = import_module("support.parsers").TARGETS[target]

    def one(data: bytes) -> None:
        run(data)

    itself = f"{sys.executable} {__file__} --child {target}"  # run again by a shell, to merge
    atheris.Setup([itself, *arguments], one)
    atheris.Fuzz()


def start(target: str, *arguments: str) -> tuple[int, str]:
    """One target in a process of its own: (exit code, what libFuzzer says)."""
    limits = [f"-max_len={MAX_BYTES}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MIB}"]
    findings = BUILD / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    prefix = f"-artifact_prefix={findings}/{target}-"
    ran = subprocess.run(
        [sys.executable, __file__, "--child", target, *limits, prefix, *arguments],
        capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


def fuzz(target: str, runs: int) -> tuple[int, int, str]:
    """(inputs, peak MiB, finding or nothing)."""
    found = BUILD / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    code, said = start(target, f"-runs={runs}", "-print_final_stats=1", str(found), str(unpack(target)))
    executed = re.search(r"stat::number_of_executed_units:\s+(\d+)", said) or re.search(r"Done (\d+) runs", said)
    peak = re.search(r"stat::peak_rss_mb:\s+(\d+)", said)
    finding = "" if code == 0 else "\n".join(said.splitlines()[-40:])
    return int(executed[1]) if executed else 0, int(peak[1]) if peak else 0, finding


def unpack(target: str) -> Path:
    """The committed seeds of a target, as libFuzzer wants them: each in a file."""
    folder = BUILD / "seeds" / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, seed in enumerate(read_seeds(target)):
        (folder / str(number)).write_bytes(seed)
    return folder


def minimise(target: str, seeds: Path) -> None:
    """Keep, of the committed seeds and these, what reaches something that others do not."""
    kept = BUILD / "merged" / target
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    code, said = start(target, "-merge=1", f"-max_len={SEED_BYTES}", str(kept), str(unpack(target)), str(seeds))
    if code:
        sys.exit(said[-2000:])
    merged = sorted((path.read_bytes() for path in kept.iterdir()), key=lambda seed: (len(seed), seed))
    write_seeds(target, merged)
    print(f"{target}: {len(merged)} seeds", flush=True)


def main() -> int:
    """The command."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--minimise", type=Path)
    options = parser.parse_args()
    targets = options.targets or seeded()
    if options.minimise:
        for target in options.targets or sorted(path.name for path in options.minimise.iterdir()):
            minimise(target, options.minimise / target)
        return 0
    total, bad, started = 0, 0, time.monotonic()
    for target in targets:
        began = time.monotonic()
        inputs, peak, finding = fuzz(target, options.runs)
        total, bad = total + inputs, bad + bool(finding)
        verdict = "FOUND" if finding else "ok"
        print(f"{target:16} {verdict:6} {inputs:9,} inputs {time.monotonic() - began:6.0f} s {peak:5} MiB", flush=True)
        if finding:
            print(finding)
    print(f"{total:,} inputs to {len(targets)} parsers in {time.monotonic() - started:.0f} s, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
