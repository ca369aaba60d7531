"""Pages in one file that needs no other; what is quoted in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from medvouch.cli.page_style import STYLE
from medvouch.formats.text import escaped


def text(untrusted: object) -> str:
    """For HTML and SVG, in elements and quoted attributes: markup is escaped, and so is what nobody can see."""
    return escape(escaped(str(untrusted)))


def page(title: str, parts: Sequence[str]) -> str:
    """The whole document; `title` is escaped here, `parts` are markup."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n"
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def table(identifier: str, headings: Iterable[tuple[str, str]], rows: Iterable[str], *, stacks: bool = False) -> str:
    """A table that scrolls in itself; headings as (text, class), rows as markup; `identifier` is of its heading.

    On a narrow screen one that `stacks` shows the cells of a row below each other.
    """
    cells = "".join(f'<th scope="col"{_classed(style)}>{text(heading)}</th>' for heading, style in headings)
    return (
        f'<div class="wide{" stacks" * stacks}" tabindex="0" role="group" aria-labelledby="{identifier}"><table>\n'
        f"<thead><tr>{cells}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def section(identifier: str, title: str, *contents: str) -> str:
    """A part of a page under a heading."""
    inner = "\n".join(contents)
    return f'<section aria-labelledby="{identifier}">\n<h2 id="{identifier}">{text(title)}</h2>\n{inner}\n</section>'


def _classed(style: str) -> str:
    return f' class="{style}"' if style else ""
