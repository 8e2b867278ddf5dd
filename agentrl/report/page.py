"""report.html: one file, no network, no script; the pages of saved search trees stand beside it, in trees/."""

import base64
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.report import curves, source, tree_page, viewer
from agentrl.report.markup import text
from agentrl.report.style import CSS

COUNTED = {
  "rollout/environment_failures": "environment failed (row left out of the update)",
  "rollout/failed_raised": "environment failed: it raised",
  "rollout/failed_deadline": "environment failed: no answer in time",
  "rollout/failed_lost": "environment failed: its process was lost",
  "rollout/failed_answer": "environment failed: its answer was none",
  "rollout/failed_changed": "environment failed: acted anew, it answered otherwise",
  "rollout/failed_reward": "environment failed: no reward could be made of what it gave",
  "rollout/left_out": "task left out: not made, or its prompt does not fit",
  "update/empty": "step without anything to train on",
  "hosting/lost": "worker process lost, and replaced",
  "hosting/retries": "episode played again in another worker process",
  "rollout/tool_timeout": "tool: time-out",
  "rollout/tool_exception": "tool: exception",
  "rollout/tool_arguments": "policy: wrong tool or argument",
  "rollout/tool_malformed": "policy: malformed call",
}


def write_report(folder: str | pathlib.Path) -> pathlib.Path:
  """Draws figures/curves.png, writes the pages of the search trees, and report.html, in a run's folder.

  Args:
    folder: of a run that has finished at least one step.

  Returns:
    Path of report.html.

  Raises:
    FileNotFoundError: it is no run, or has no step yet.
    ValueError: a file of it is damaged; names the file.
  """
  run = source.load(pathlib.Path(folder))
  figure = run.path / "figures" / "curves.png"
  figure.parent.mkdir(exist_ok=True)
  drawn = curves.draw(run.lines, figure, cold_start=run.cold_start)
  trees = [tree_page.write_beside(file) for file in run.trees]
  report = run.path / "report.html"
  report.write_text(
    page(run, figure.read_bytes() if drawn else None, trees), encoding="utf-8", errors="xmlcharrefreplace"
  )
  return report


def page(run: source.Run, figure_png: bytes | None, trees: Sequence[tree_page.Written]) -> str:
  """The whole document; None: there are no curves to show yet."""
  name = text(run.path.absolute().name)
  body = [
    f"<h1>{name}</h1>",
    _facts(run),
    _cards(run),
    _section("Learning curves", _curves_note(run), _image(figure_png)),
    _trajectories(run),
    _section("Search trees", "", _trees(trees)),
    _section("Failures", "", _failures(run.lines)),
    _section("Config", "", _config(run.config)),
  ]
  return (
    f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<style>{CSS}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
  )


def _image(figure_png: bytes | None) -> str:
  if figure_png is None:
    return "<p>No step has measured anything that they show.</p>"
  return f'<img alt="learning curves" src="data:image/png;base64,{base64.b64encode(figure_png).decode()}">'


def _section(title: str, note: str, body: str) -> str:
  return f"<h2>{title}</h2>\n{note}\n{body}"


def _facts(run: source.Run) -> str:
  start = run.starts[-1]
  machine = start["machine"]
  cores = [] if machine["cores"] is None else [f"{machine['cores']} cores"]  # None: the system did not tell
  commit = "no git commit" if start["commit"] is None else f"commit {start['commit'][:10]}{start['commit'][40:]}"
  facts = [
    f"started {run.starts[0]['time']}" + (f", {len(run.starts)} starts" if len(run.starts) > 1 else ""),
    commit,
    f"JAX {start['versions']['jax']}",
    str(machine["devices"]),
    ", ".join([*cores, machine["processor"]]),
  ]
  return f'<p class="facts">{text(" · ".join(facts))}</p>'


def _trajectories(run: source.Run) -> str:
  if run.before is None:
    return ""
  return _section("Trajectories, before and after", viewer.legend(), viewer.comparison(run.before, run.after))


# ---- headline numbers -------------------------------------------------------------------------------------------


def _cards(run: source.Run) -> str:
  last = run.lines[-1]
  cards = [
    _before_after(run, "eval/success", "Held-out success", _percent, "first"),
    _before_after(run, "eval/tool_calls", "Tool calls per task", lambda x: f"{x:.2f}", ""),
    _before_after(run, "train/reward", "Reward in training", lambda x: f"{x:.2f}", ""),
    _card("Updates", str(last["step"]), _cold_start_text(run), ""),
    _card("Wall time", _time(last["wall_s"]), "", ""),
    _card("Failed environments", f"{sum(source.series(run.lines, 'rollout/environment_failures')[1]):.0f}", "", ""),
  ]
  return f'<div class="cards">{"".join(cards)}</div>'


def _before_after(run: source.Run, metric: str, name: str, show: Any, kind: str) -> str:
  """First value since the cold start, and last one."""
  steps, values = source.series([line for line in run.lines if line["step"] >= run.cold_start], metric)
  if not values:
    return ""
  if len(values) == 1:
    return _card(name, show(values[0]), f"at step {steps[0]}", kind)
  return _card(name, f"{show(values[0])} → {show(values[-1])}", f"step {steps[0]} → {steps[-1]}", kind)


def _card(name: str, value: str, more: str, kind: str) -> str:
  lines = f'<span class="name">{text(name)}</span><b>{text(value)}</b><span class="more">{text(more)}</span>'
  return f'<div class="card {kind}">{lines}</div>'


def _cold_start_text(run: source.Run) -> str:
  return f"the first {run.cold_start} supervised" if run.cold_start else ""


def _curves_note(run: source.Run) -> str:
  flagged = sum("nonfinite" in line for line in run.lines)
  notes = ["Bands: 95 % interval over tasks."]
  if run.cold_start:
    notes.append(f"The first {run.cold_start} updates are a supervised cold start; the curves begin after it.")
  if flagged:
    notes.append(f"<b class='bad'>Steps with a metric that is NaN or infinite: {flagged}.</b>")
  return f'<p class="note">{" ".join(notes)}</p>'


# ---- tables -----------------------------------------------------------------------------------------------------


def _failures(lines: Sequence[source.Line]) -> str:
  rows = []
  for metric, name in COUNTED.items():
    _, values = source.series(lines, metric)
    if values:
      rows.append(f'<tr><td>{name}</td><td class="n">{sum(values):.0f}</td><td class="n">{values[-1]:.0f}</td></tr>')
  if not rows:
    return '<p class="note">This run counted none.</p>'
  return f"<table><tr><th>what</th><th>whole run</th><th>last step</th></tr>{''.join(rows)}</table>"


def _trees(trees: Sequence[tree_page.Written]) -> str:
  if not trees:
    return '<p class="note">This run saved none.</p>'
  head = "<tr><th>step</th><th>tasks</th><th>question</th><th>nodes</th><th>reward</th></tr>"
  return f"<table>{head}{''.join(map(_tree, trees))}</table>"


def _tree(tree: tree_page.Written) -> str:
  reward = "none" if tree.record["reward"] is None else f"{tree.record['reward']:.3g}"
  link = f'<a href="trees/{text(tree.path.name)}">{text(tree.record["question"])}</a>'
  numbers = "".join(f'<td class="n">{text(value)}</td>' for value in (len(tree.record["nodes"]), reward))
  return f'<tr><td class="n">{tree.step}</td><td>{text(tree.tasks)}</td><td>{link}</td>{numbers}</tr>'


def _config(config: Mapping[str, Any]) -> str:
  rows = "".join(f"<tr><td>{text(key)}</td><td>{text(_shown(value))}</td></tr>" for key, value in _leaves(config))
  return f"<details><summary>all keys</summary><table>{rows}</table></details>"


def _leaves(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
  found = []
  for key, value in config.items():
    found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
  return found


def _shown(value: Any) -> str:
  """Text in quotes, so that a line end and no text at all can be seen."""
  return repr(value) if isinstance(value, str) else str(value)


def _percent(share: float) -> str:
  return f"{share * 100:.0f} %"


def _time(seconds: float) -> str:
  minutes, second = divmod(round(seconds), 60)
  hours, minute = divmod(minutes, 60)
  return f"{hours} h {minute:02d} min" if hours else f"{minute} min {second:02d} s"
