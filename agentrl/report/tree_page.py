"""A search tree as one static page, no network and no script, and as a picture.

  python -m agentrl.report --tree runs/x/trees/train_000012_7.json tree.html

A search is JSON as `agentrl/rollout/search/record.py` writes it: "question", "reward", and "nodes" depth first, each
with id, parent, text, answer, prior, visits, q, value, terminal, barred and chosen.
"""

import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agentrl.report.markup import text
from agentrl.report.source import read_search, tree_name
from agentrl.report.style import CSS

Node = Mapping[str, Any]


class Written(NamedTuple):
  """The page of a search of a run: its path, step, tasks ("train" or "held out") and record."""

  path: pathlib.Path
  step: int
  tasks: str
  record: Mapping[str, Any]


_OWN_CSS = """
.tree ul{list-style:none;margin:0;padding-left:1.1em;border-left:1px solid #ccc4}
.tree summary,.tree .leaf{padding:.15em .4em;border-radius:4px;margin:.1em 0}
.tree .bar{display:inline-block;height:.6em;background:#4a7ebb;border-radius:2px;vertical-align:middle}
.tree code:first-of-type{margin-left:.5em}
.tree code{white-space:pre-wrap}
.tree .n{opacity:.7;font-size:.85em;margin-left:.6em}
.tree .chosen{background:#4a7ebb22;font-weight:600}
.tree .unvisited{opacity:.45}
.tree .barred{text-decoration:line-through}
"""
_TASKS = {"train": "train", "eval": "held out"}
_SHOWN_AT_ONCE = 0.1  # nodes with at least this share of the root's visits are open


def page(record: Mapping[str, Any]) -> str:
  """The whole document of one search."""
  children = _children(record["nodes"])
  root = record["nodes"][0]
  title = text(f"Search {record['uid']}, {record['task']}")
  return (
    f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}{_OWN_CSS}</style></head>\n'
    f"<body>\n<h1>{title}</h1>\n<p>{text(record['question'])}</p>\n{_facts(record)}\n"
    f'<div class="tree">{_branch(root, children, root["visits"])}</div>\n</body></html>\n'
  )


def write(record: Mapping[str, Any], path: str | pathlib.Path) -> pathlib.Path:
  """Writes the page of one search."""
  path = pathlib.Path(path)
  path.write_text(page(record), encoding="utf-8", errors="xmlcharrefreplace")
  return path


def write_beside(source: pathlib.Path) -> Written:
  """Writes the page of a search that a run saved, such as trees/train_000012_7.json, beside it."""
  kind, step, _ = tree_name(source)
  record = read_search(source)
  return Written(write(record, source.with_suffix(".html")), step, _TASKS[kind], record)


def draw(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
  """Draws the search in a JSON file: a page where `target` ends in .html, a picture for .png, .svg or .pdf.

  Raises:
    FileNotFoundError: there is no such search.
    ValueError: `target` ends in something else, or `source` holds no search.
  """
  drawings = {".html": write, ".png": picture, ".svg": picture, ".pdf": picture}
  if target.suffix not in drawings:
    raise ValueError(f"{target}: a drawing of a search ends in {', '.join(drawings)}")
  if not source.exists():
    raise FileNotFoundError(f"{source} does not exist; a run that searched keeps its searches under trees/")
  return drawings[target.suffix](read_search(source), target)


def picture(record: Mapping[str, Any], path: str | pathlib.Path) -> pathlib.Path:
  """Draws the visited part of a search: width of an edge is its visits, colour of a node its Q, the chosen path is red.

  Args:
    path: of a PNG, SVG or PDF file.
  """
  from matplotlib.figure import Figure

  nodes = {node["id"]: node for node in record["nodes"] if node["visits"]}
  places = _places(nodes, _children(list(nodes.values())))
  figure = Figure(figsize=(9, 5), layout="constrained")
  axes = figure.add_subplot()
  most = max(node["visits"] for node in nodes.values())
  for node in nodes.values():
    if node["parent"] is not None:
      (x0, y0), (x1, y1) = places[node["parent"]], places[node["id"]]
      colour = "#c0504d" if node["chosen"] else "#999999"
      axes.plot([x0, x1], [y0, y1], color=colour, linewidth=0.5 + 5 * node["visits"] / most, zorder=1)
  xs, ys = zip(*(places[i] for i in nodes), strict=True)
  points = axes.scatter(
    xs, ys, c=[n["q"] for n in nodes.values()], cmap="viridis", s=60, zorder=2,
    edgecolors=["#c0504d" if n["chosen"] else "white" for n in nodes.values()], linewidths=1.5,
    marker="o",
  )  # fmt: skip
  figure.colorbar(points, ax=axes, label="Q")
  axes.set_title(f"{record['question'][:80]}: {most} visits, reward {record['reward']}", parse_math=False)
  axes.set_ylabel("steps")
  axes.set_yticks(
    sorted({y for _, y in places.values()}), [str(int(-y)) for y in sorted({y for _, y in places.values()})]
  )
  axes.set_xticks([])
  path = pathlib.Path(path)
  figure.savefig(path, dpi=120)
  return path


def _children(nodes: Sequence[Node]) -> dict[int, list[Node]]:
  """By parent, the most visited first."""
  found: dict[int, list[Node]] = defaultdict(list)
  for node in nodes:
    if node["parent"] is not None:
      found[node["parent"]].append(node)
  return {parent: sorted(kids, key=lambda node: -node["visits"]) for parent, kids in found.items()}


def _facts(record: Mapping[str, Any]) -> str:
  nodes = record["nodes"]
  ends = sum(node["terminal"] for node in nodes)
  tokens = sum(node["tokens"] + node["given"] for node in nodes)
  visited = sum(node["visits"] > 0 for node in nodes)
  reward = "none: the environment failed" if record["reward"] is None else f"{record['reward']:.3g}"
  counts = f"Reward {reward}. {len(nodes)} nodes, {visited} of them visited, {ends} ends, {tokens} tokens."
  return (
    f'<p class="note">{text(counts)} '
    "Bars are shares of the visits; N visits, Q mean value, P prior among siblings, V the node's own value.</p>"
  )


def _branch(node: Node, children: Mapping[int, Sequence[Node]], total: int) -> str:
  below = children.get(node["id"], ())
  states = {"chosen": node["chosen"], "unvisited": not node["visits"], "barred": node["barred"]}
  kinds = [kind for kind, holds in states.items() if holds]
  line = (
    f'<span class="bar" style="width:{6 * node["visits"] / max(total, 1):.2f}em"></span>{_text(node)}{_numbers(node)}'
  )
  if not below:
    return f'<div class="{" ".join(["leaf", *kinds])}">{line}</div>'
  opened = " open" if node["chosen"] or node["visits"] >= _SHOWN_AT_ONCE * total else ""
  items = "".join(f"<li>{_branch(child, children, total)}</li>" for child in below)
  return f'<details{opened}><summary class="{" ".join(kinds)}">{line}</summary><ul>{items}</ul></details>'


def _text(node: Node) -> str:
  answer = f" → <code>{text(node['answer'])}</code>" if node["answer"] else ""
  return f"<code>{text(node['text'])}</code>{answer}"


def _numbers(node: Node) -> str:
  told = [f"N {node['visits']}", f"P {node['prior']:.2f}"]
  if node["visits"]:
    told.insert(1, f"Q {node['q']:.3f}")
  if node["value"] is not None:
    told.append(f"{'reward' if node['terminal'] else 'V'} {node['value']:.3f}")
  if node["barred"]:
    told.append("environment failed")
  return f'<span class="n">{text(", ".join(told))}</span>'


def _places(nodes: Mapping[int, Node], children: Mapping[int, Sequence[Node]]) -> dict[int, tuple[float, float]]:
  """(x, -depth) of every node: leaves side by side, a parent above the middle of its children."""
  places: dict[int, tuple[float, float]] = {}
  leaves = 0

  def place(node: Node, depth: int) -> float:
    nonlocal leaves
    below = [place(child, depth + 1) for child in children.get(node["id"], ())]
    if not below:
      leaves += 1
    x = sum(below) / len(below) if below else float(leaves)
    places[node["id"]] = (x, -float(depth))
    return x

  place(next(node for node in nodes.values() if node["parent"] is None), 0)
  return places
