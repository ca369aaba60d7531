"""What lies beside the report, linked, and how anyone judges it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from medvouch.cli.page import text

TRUST = Path("site/trust.cbor")
EVIDENCE = ".evidence.cbor"
BUNDLE = "*.bundle.cbor"
BESIDE = {
    "verdicts.json": "every row of this report",
    "mqtt.jsonl": "every message that was heard, binary ones by their size",
    str(TRUST): "the trust document that all of it is judged under",
}
PARTS = ((EVIDENCE, "evidence"), (".ear.cbor", "result"), (".ear.json", "result as JSON"))


def files(folder: Path) -> str:
    """The section on the files in `folder`, as far as they are there; links are relative."""
    beside = "".join(
        f"<dt>{_link(Path(name))}</dt><dd>{text(what)}</dd>"
        for name, what in BESIDE.items()
        if (folder / name).is_file()
    )
    bundles = sorted(path.relative_to(folder) for path in folder.rglob(BUNDLE))
    bundled = "".join(f"<dt>{_link(path)}</dt><dd>a gateway's whole life, in one file</dd>" for path in bundles)
    stems = sorted(path.name.removesuffix(EVIDENCE) for path in (folder / "evidence").glob(f"*{EVIDENCE}"))
    return (
        '<section aria-labelledby="files">\n<h2 id="files">The files beside this report, and how to judge them</h2>\n'
        f"<dl>{beside}{bundled}</dl>\n{_commands(stems, bundles)}{_evidence(folder, stems)}</section>"
    )


def commands(stems: Sequence[str], bundles: Sequence[Path]) -> list[str]:
    """What to type in the folder of the report."""
    typed = []
    if stems:
        first = f"evidence/{stems[0]}"
        typed += [f"medvouch verify {first}{EVIDENCE} --trust {TRUST}", f"medvouch inspect cmw {first}{EVIDENCE}"]
        typed += [f"medvouch inspect ear {first}.ear.cbor"]
    return typed + [f"medvouch verify {bundle} --trust {TRUST}" for bundle in bundles]


def _commands(stems: Sequence[str], bundles: Sequence[Path]) -> str:
    typed = commands(stems, bundles)
    if not typed:
        return "<p>No evidence was kept.</p>\n"
    return (
        "<p>Anyone can judge them again, on any machine that has medvouch and without the gateways. "
        "In the folder of this report:</p>\n"
        f"<pre>{text_lines(typed)}</pre>\n"
        "<p>Exit code 0 means affirming, 1 a negative verdict, which is what evidence of attacks must get.</p>\n"
    )


def text_lines(lines: Sequence[str]) -> str:
    """Lines, each escaped."""
    return "\n".join(map(text, lines))


def _evidence(folder: Path, stems: Sequence[str]) -> str:
    if not stems:
        return ""
    rows = "\n".join(_row(folder, stem) for stem in stems)
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in ("challenge", *(name for _, name in PARTS)))
    return (
        '<h3 id="evidence">Evidence and attestation results</h3>\n'
        '<div class="wide" tabindex="0" role="group" aria-labelledby="evidence"><table class="narrow">\n'
        f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
    )


def _row(folder: Path, stem: str) -> str:
    cells = []
    for suffix, name in PARTS:
        path = Path("evidence") / f"{stem}{suffix}"
        cells.append(_link(path, name, f"{name} of {stem}") if (folder / path).is_file() else "none")
    return f'<tr><th scope="row">{text(stem)}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _link(path: Path, name: str = "", label: str = "") -> str:
    spoken = f' aria-label="{text(label)}"' if label else ""
    return f'<a href="{text(quote(str(path)))}"{spoken}>{text(name or path)}</a>'
