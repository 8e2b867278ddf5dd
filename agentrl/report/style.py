"""Colours, legends and the style sheet of figures and reports."""

from typing import Any

from matplotlib.axes import Axes

GREY = "#5f6368"
COLOURS = ["#0b6fa4", "#d1642a", "#26794c", "#8e5ea2", "#b8860b", "#7a7a7a"]

CSS = """
:root { --ink: #1f2328; --grey: #5f6368; --line: #e3e3df; --blue: #0b6fa4; --good: #26794c;
  --bad: #b3402a; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink);
  max-width: 1180px; margin: 0 auto; padding: 28px 24px 80px; background: #fff; }
h1 { font-size: 24px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 38px 0 6px; }
p.note, .facts { color: var(--grey); font-size: 13px; margin: 0 0 12px; }
img { width: 100%; height: auto; display: block; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 6px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px 12px; min-width: 150px; }
.card b { display: block; font-size: 23px; line-height: 1.3; font-weight: 600; white-space: nowrap; }
.card .name { color: var(--grey); font-size: 13px; } .card .more { color: var(--grey); font-size: 12px; }
.card.first { border-color: var(--blue); background: #f2f8fc; }
table { border-collapse: collapse; font-size: 13px; } th { text-align: left; font-weight: 600; color: var(--grey); }
th, td { padding: 3px 18px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
details > summary { cursor: pointer; }
details.task { border-top: 1px solid var(--line); } details.task:last-of-type { border-bottom: 1px solid var(--line); }
details.task > summary { display: grid; grid-template-columns: minmax(0, 1fr) 170px 170px; gap: 16px; padding: 8px 4px;
  align-items: baseline; list-style: none; }
details.task > summary::-webkit-details-marker { display: none; }
details.task > summary .q { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
details.task > summary .q::before { content: "▸ "; color: var(--grey); }
details.task[open] > summary .q { white-space: normal; } details.task[open] > summary .q::before { content: "▾ "; }
.head { display: grid; grid-template-columns: minmax(0, 1fr) 170px 170px; gap: 16px; padding: 4px; color: var(--grey);
  font-size: 13px; }
.verdict { font-size: 13px; white-space: nowrap; } .good { color: var(--good); } .bad { color: var(--bad); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(0, 1fr)); grid-auto-flow: column; gap: 18px;
  padding: 4px 4px 18px; }
.side > .label { color: var(--grey); font-size: 12px; margin-bottom: 4px; }
.block { border-left: 3px solid var(--line); padding: 2px 0 2px 10px; margin: 0 0 8px; }
.block .who { color: var(--grey); font-size: 11.5px; }
.block.policy { border-color: var(--blue); } .block.tool { border-color: #b8860b; }
.tokens { font: 12.5px/1.75 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.tokens span { position: relative; border-radius: 2px; }
.tokens .s { background: rgba(11, 111, 164, var(--w)); box-shadow: inset 0 -1px rgba(11, 111, 164, 0.45); }
.tokens .f { color: var(--grey); }
.tokens span:hover { outline: 1px solid var(--ink); }
.tokens span:hover::after { content: attr(data-t); position: absolute; left: 0; top: 1.7em; z-index: 9;
  padding: 3px 8px; background: var(--ink); color: #fff; border-radius: 4px; font: 12px/1.4 system-ui, sans-serif;
  white-space: pre; }
.call { font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.parts { font-size: 12.5px; color: var(--grey); }
.key span { padding: 0 4px; border-radius: 2px; }
@media (max-width: 760px) { .pair { grid-auto-flow: row; }
  details.task > summary, .head { grid-template-columns: minmax(0, 1fr) 90px 90px; } }
"""


def show_labels(axes: Axes, **options: Any) -> None:
  """A legend of the labels as they are: a dollar sign in a name begins no formula."""
  for label in axes.legend(frameon=False, **options).get_texts():
    label.set_parse_math(False)
