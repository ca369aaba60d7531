"""How pages look: on screens wide and narrow, light and dark, and on paper."""

from __future__ import annotations

STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #55606c; --edge: #d3d9e0; --band: #f3f5f8;
  --good: #1a6b35; --bad: #b3191f; --new: #0b57a8; --trial: #8a5300; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6eaef; --soft: #a3aebb; --edge: #38414b;
  --band: #1d232a; --good: #6fd08c; --bad: #ff8b87; --new: #7db8ff; --trial: #f0b35a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem clamp(.8rem, 3vw, 2.5rem) 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--edge); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; }
p { margin: .5rem 0; max-width: 75ch; }
a { color: var(--new); overflow-wrap: anywhere; }
a:focus-visible, .wide:focus-visible { outline: 3px solid var(--new); outline-offset: 2px; }
code, pre, .code { font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size: .875rem; }
code, .code { overflow-wrap: anywhere; }
pre { background: var(--band); border: 1px solid var(--edge); border-radius: .3rem; padding: .7rem .9rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.summary { font-size: 1.15rem; font-weight: 600; padding: .6rem .9rem; border-left: .4rem solid var(--good);
  background: var(--band); max-width: none; }
.summary.bad { border-color: var(--bad); }
.soft { color: var(--soft); }
.told { max-width: 110ch; font-size: .95rem; margin-bottom: 0; }
.good { color: var(--good); } .bad { color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 46rem; font-size: .925rem; }
.narrow { min-width: 30rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--edge); }
thead th { background: var(--band); white-space: nowrap; }
tbody th { font-weight: 600; }
td.number, th.number { width: 1%; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td .bad { font-weight: 700; }
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
td.detail { width: 38%; } td.difference { width: 52%; } td.digest { width: 36%; }
td.seen { overflow-wrap: break-word; }
@media screen and (min-width: 70rem) { td.seen { min-width: 14rem; } }
@media screen and (max-width: 46rem) {
  .stacks table, .stacks tbody { display: block; min-width: 0; }
  .stacks thead, .stacks td:empty { display: none; }
  .stacks tr { display: flex; flex-wrap: wrap; column-gap: .7rem; padding: .4rem .2rem;
    border-bottom: 1px solid var(--edge); }
  .stacks th, .stacks td { border: 0; padding: .05rem 0; width: auto; }
  .stacks th, .stacks .seen, .stacks .detail, .stacks .difference, .stacks .event, .stacks td.code { flex: 0 0 100%; }
  .stacks td[data-label]::before { content: attr(data-label) " "; font-family: system-ui, sans-serif;
    color: var(--soft); }
}
tr.wrong { background: color-mix(in srgb, var(--bad) 14%, var(--paper)); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; margin: .5rem 0 1rem; list-style: none; }
.legend li { display: flex; align-items: center; gap: .35rem; }
svg.life { display: block; max-width: 100%; height: auto;
  font: 12.5px system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
@media screen { svg.life { min-width: min(.85 * var(--natural), 76rem); } }
svg text { fill: var(--ink); text-anchor: middle; }
svg text.pcr { text-anchor: start; }
svg .lane { stroke: var(--edge); stroke-width: 1; }
svg .soft { color: var(--soft); }
th.whole, td.whole { white-space: nowrap; }
td.event { overflow-wrap: anywhere; }
td dl { font-size: .875rem; margin: .2rem 0 0; }
svg text.time { fill: var(--soft); font-size: 11.5px; }
svg .line { stroke: var(--soft); stroke-width: 2; }
svg .bracket { fill: none; stroke: var(--soft); }
svg .solid { fill: currentColor; } svg .hollow { fill: var(--paper); stroke: currentColor; stroke-width: 1.5; }
svg .plain { fill: var(--paper); }
svg .stroke { fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
svg .inverse { stroke: var(--paper); stroke-width: 2; }
svg .new { color: var(--new); } svg .trial { color: var(--trial); }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --edge: #bbb; --band: #f3f3f3; --good: #1a6b35;
    --bad: #b3191f; --new: #0b57a8; --trial: #8a5300; }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  table, .narrow { min-width: 0; font-size: 8pt; }
  .code, code { font-size: 7pt; }
  th, td { padding: .2rem .35rem; }
  td.detail { width: 30%; }
  thead { display: table-header-group; }
  tr, svg.life, .gateway { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
