"""Trajectories as HTML: turns as blocks, tool calls readable, every token with its mask and log-probability."""

import collections
import json
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from agentrl.report.markup import text
from agentrl.report.source import Evaluation, Row

TASKS_SHOWN = 12
SURPRISE_OF_FULL_COLOUR = 5.0  # nats


def comparison(before: Evaluation, after: Evaluation | None, limit: int = TASKS_SHOWN) -> str:
  """The first held-out tasks with one sample each, before and after training, side by side.

  Where their strata differ, those are buttons above: the page shows the tasks of the one that is chosen.
  """
  evaluations = [before] if after is None else [before, after]
  firsts = [{row["task_id"]: row for row in first_of_tasks(e.rows, limit)} for e in evaluations]
  ids = [task_id for task_id in firsts[0] if all(task_id in first for first in firsts)]
  strata = sorted({_stratum(firsts[0][i]) for i in ids})
  names = [f"<span>step {evaluation.step}</span>" for evaluation in evaluations]
  head = f'<div class="head"><span>task</span>{"".join(names)}</div>'
  tasks = [_task([first[i] for first in firsts], [e.step for e in evaluations], strata) for i in ids]
  return f'<div class="strata">{_choice(strata)}{head}{"".join(tasks)}</div>'


def first_of_tasks(rows: Sequence[Row], limit: int = TASKS_SHOWN) -> list[Row]:
  """The first row of each of the first tasks, of every stratum equally many, as many as `limit` in all."""
  first: dict[str, Row] = {}
  for row in rows:
    first.setdefault(row["task_id"], row)
  most = math.ceil(limit / max(1, len({_stratum(row) for row in first.values()})))
  taken, shown = collections.Counter(), []
  for row in first.values():
    taken[_stratum(row)] += 1
    if taken[_stratum(row)] <= most:
      shown.append(row)
  return shown[:limit]


def legend() -> str:
  """What the colours of tokens mean."""
  return (
    '<p class="note key">One sample each of the first held-out tasks, in order. '
    '<span class="tokens"><span class="s" style="--w:.05">sampled by the policy</span></span>, darker the less likely '
    'it was; <span class="tokens"><span class="f">given to it</span></span>: prompt and observations, never trained '
    "on. Point at a token for its id, log-probability and entropy.</p>"
  )


def trajectory(row: Row) -> str:
  """One trajectory: its prompt (folded), its turns, its reward."""
  prompt = [i for i, turn in enumerate(row["turn"]) if turn < 0]
  who = f'<summary class="who">prompt, {len(prompt)} tokens</summary>'
  blocks = [f'<details class="block">{who}{_tokens(row, prompt)}</details>']
  for number, turn in enumerate(row["turns"]):
    blocks += _turn(row, number, turn)
  return "".join(blocks) + _ending(row)


def _stratum(row: Row) -> str:
  return row.get("stratum", "")  # rows of older runs say nothing of it


def _choice(strata: Sequence[str]) -> str:
  """A button for all tasks and one for each stratum; without a script, `:has` in the style hides the others."""
  if len(strata) < 2:
    return ""
  shown = [(f"s{number}", name or "no stratum") for number, name in enumerate(strata)]
  buttons = "".join(
    f'<label><input type="radio" name="stratum" id="{mark}"{" checked" if mark == "all" else ""}> {text(name)}</label>'
    for mark, name in [("all", "all tasks"), *shown]
  )
  hiding = ",".join(f".strata:has(#{mark}:checked) .task:not(.{mark})" for mark, _ in shown)
  return f'<style>{hiding} {{ display: none; }}</style><p class="note">{buttons}</p>'


def _task(rows: Sequence[Row], steps: Sequence[int], strata: Sequence[str]) -> str:
  verdicts = "".join(f'<span class="verdict">{_verdict(row)}</span>' for row in rows)
  sides = "".join(
    f'<div class="side"><div class="label">with the weights of step {step}</div>{trajectory(row)}</div>'
    for row, step in zip(rows, steps, strict=True)
  )
  reference = rows[0]["reference"]
  answer = "" if reference is None else f'<p class="note">reference answer: {text(reference)}</p>'
  summary = f'<summary><span class="q">{text(rows[0]["question"])}</span>{verdicts}</summary>'
  mark = f" s{strata.index(_stratum(rows[0]))}" if len(strata) > 1 else ""
  return f'<details class="task{mark}">{summary}{answer}<div class="pair">{sides}</div></details>'


def _verdict(row: Row) -> str:
  calls = sum(len(turn["results"]) for turn in row["turns"])
  tail = f"{calls} call{'' if calls == 1 else 's'}"
  if row["reward"] is None:
    return f'<span class="bad">no reward</span>, {tail}'
  solved = "correct" in row["reward_parts"] and row["reward_parts"]["correct"] >= 1
  return f'<span class="{"good" if solved else "bad"}">reward {row["reward"]:.2g}</span>, {tail}'


def _turn(row: Row, number: int, turn: dict[str, Any]) -> list[str]:
  """Runs of sampled and of given tokens, with the tool's results between them."""
  index = [i for i, at in enumerate(row["turn"]) if at == number]
  blocks = []
  for sampled, run in groupby(index, key=lambda i: row["action_mask"][i]):
    tokens = _tokens(row, list(run))
    if sampled:
      blocks.append(_block("policy", f"turn {number + 1}, policy: {turn['kind'].replace('_', ' ')}", tokens))
      blocks += [_block("tool", _result_title(result), _result(result)) for result in turn["results"]]
    else:
      blocks.append(_block("observation", f"observation, after {turn['latency'] * 1000:.0f} ms", tokens))
  return blocks


def _block(kind: str, title: str, body: str) -> str:
  return f'<div class="block {kind}"><div class="who">{text(title)}</div>{body}</div>'


def _result_title(result: dict[str, Any]) -> str:
  outcome = "ok" if result["ok"] else f"failed: {result['failure']}"
  cost = f", cost {result['cost']:g}" if result.get("cost") else ""  # rows of earlier runs have none
  return f"tool, {result['seconds'] * 1000:.0f} ms{cost}, {outcome}"


def _result(result: dict[str, Any]) -> str:
  values = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in result["arguments"].items()]
  call = f"{result['name']}({', '.join(values)})"
  return f'<div class="call">{text(call)}<br>→ {text(result["text"])}</div>'


def _tokens(row: Row, index: Sequence[int]) -> str:
  return f'<div class="tokens">{"".join(_token(row, i) for i in index)}</div>'


def _token(row: Row, i: int) -> str:
  token, shown = row["tokens"][i], text(row["text"][i])
  if not row["action_mask"][i]:
    return f'<span class="f" data-t="{text(f"token {token}, given")}">{shown}</span>'
  logp = row["sampler_logp"][i]
  weight = min(-logp / SURPRISE_OF_FULL_COLOUR, 1.0) * 0.5 + 0.04
  told = f"token {token}, logp {logp:.3f}, entropy {row['entropy'][i]:.3f}"
  told += f", weights of update {row['policy_version'][i]}"
  return f'<span class="s" style="--w:{weight:.2f}" data-t="{text(told)}">{shown}</span>'


def _ending(row: Row) -> str:
  stop = row["stop"].replace("_", " ")
  if row["reward"] is None:
    failure = row.get("failure")  # rows of older runs say nothing of it
    why = f" ({text(failure['kind'])}: {text(failure['reason'])})" if failure else ""
    return f'<div class="parts">stopped: {text(stop)}{why}; no reward</div>'
  parts = ", ".join(f"{text(name)} {value:.3g}" for name, value in row["reward_parts"].items())
  return f'<div class="parts">stopped: {text(stop)}; reward {row["reward"]:.3g} ({parts})</div>'
