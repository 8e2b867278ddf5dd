"""What a set of trajectories looks like in numbers."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from agentrl.rollout.driver import RolloutStats
from agentrl.rollout.episode import LOST_TURNS, entropy_window
from agentrl.rollout.strategies.branching import entropy_change
from agentrl.types import FailureKind, StopReason, Task, ToolFailure, Trajectory, TurnKind, succeeded


def rollout_metrics(trajectories: Sequence[Trajectory], stats: RolloutStats) -> dict[str, float]:
  """Metrics of one step's trajectories; those whose environment failed count in the failures alone."""
  trajectories = [t for t in trajectories if t.visits is None]  # the others are steps, not samples
  valid = [t for t in trajectories if not t.failed]
  counts = {
    "rollout/trajectories": float(len(trajectories)),
    "rollout/environment_failures": float(len(trajectories) - len(valid)),
    **failure_counts(trajectories, "rollout/failed_"),
  }
  if not valid:
    return counts
  turns = [turn for t in valid for turn in t.turns]
  results = [result for turn in turns for result in turn.results]
  failures = collections.Counter(result.failure for result in results if result.failure is not None)
  metrics = counts | {
    "train/reward": _mean(t.reward for t in valid),
    "train/success": _mean(succeeded(t) for t in valid),
    "rollout/flat_groups": float(flat_groups(valid)),
    "rollout/tool_calls": len(results) / len(valid),
    "rollout/cost": _mean(map(_cost, valid)),
    "rollout/turns": len(turns) / len(valid),
    "rollout/void_turns": _mean(turn.kind is TurnKind.VOID for turn in turns),
    "rollout/malformed_turns": _mean(turn.kind is TurnKind.MALFORMED for turn in turns),
    "rollout/lost": _mean(any(turn.kind in LOST_TURNS.values() for turn in t.turns) for t in valid),
    "rollout/least_logp": min((float(t.sampler_logp.min()) for t in valid), default=0.0),
    "rollout/length": _mean(len(t.tokens) for t in valid),
    "rollout/action_tokens": _mean(t.action_mask.sum() for t in valid),
    "rollout/policy_failures": float(failures[ToolFailure.MALFORMED] + failures[ToolFailure.ARGUMENTS]),
    "rollout/tool_failures": float(failures[ToolFailure.EXCEPTION] + failures[ToolFailure.TIMEOUT]),
    "rollout/prefilled": float(stats.prefilled),
    "rollout/sampled": float(stats.sampled),
    "rollout/tokens_per_second": stats.sampled / stats.seconds,
    "time/rollout_s": stats.seconds,
    "time/tool_s": float(sum(result.seconds for result in results)),
  }
  metrics |= {f"rollout/tool_{kind.value}": float(failures[kind]) for kind in ToolFailure}
  metrics |= {f"rollout/stop_{stop.value}": _mean(t.stop is stop for t in trajectories) for stop in StopReason}
  names = sorted({name for t in valid for name in t.reward_parts})
  return metrics | {f"reward/{name}": _mean(t.reward_parts.get(name, 0.0) for t in valid) for name in names}


def flat_groups(trajectories: Sequence[Trajectory]) -> int:
  """How many groups have one reward in all of their samples, so that comparing them teaches nothing."""
  rewards: dict[int, set[float]] = collections.defaultdict(set)
  for t in trajectories:
    rewards[t.group_id].add(t.reward)
  return sum(len(of_group) == 1 for of_group in rewards.values())


def entry_metrics(trajectories: Sequence[Trajectory], tasks: Mapping[int, Task]) -> dict[str, float]:
  """Success and reward of a step by entry of the mixture, `train/success/<entry>`; nothing where none is mixed.

  Args:
    tasks: by group.
  """
  succeeding, rewarded = (by_entry(trajectories, tasks, of) for of in (succeeded, lambda t: t.reward))
  metrics = {f"train/success/{entry}": success for entry, success in succeeding.items()}
  return metrics | {f"train/reward/{entry}": reward for entry, reward in rewarded.items()}


def by_entry(
  trajectories: Sequence[Trajectory], tasks: Mapping[int, Task], of: Callable[[Trajectory], float]
) -> dict[str, float]:
  """The mean over an entry's tasks of their samples' mean, for each entry of a mixture that has samples.

  Args:
    tasks: by group.
    of: a number of a sample; those whose environment failed are left out.
  """
  samples: dict[str, dict[int, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))
  for t in trajectories:
    if tasks[t.group_id].entry and not t.failed and t.visits is None:
      samples[tasks[t.group_id].entry][t.group_id].append(of(t))
  return {entry: _mean(_mean(group) for group in groups.values()) for entry, groups in sorted(samples.items())}


def stratum_metrics(trajectories: Sequence[Trajectory], tasks: Mapping[int, Task], prefix: str) -> dict[str, float]:
  """`prefix/<stratum>/` success, tool_calls, cost, return (the mean reward) and tasks, for strata that have samples.

  Success is the mean over the stratum's tasks of their samples' mean, the others are means over its samples. Weighed by
  the numbers of tasks they give the totals, where every task has equally many samples and belongs to a stratum.

  Args:
    tasks: by group.
    prefix: "eval" or "train".
  """
  strata: dict[str, list[Trajectory]] = collections.defaultdict(list)
  for t in trajectories:
    if tasks[t.group_id].stratum and not t.failed and t.visits is None:
      strata[tasks[t.group_id].stratum].append(t)
  metrics = {}
  for stratum, samples in sorted(strata.items()):
    metrics |= {f"{prefix}/{stratum}/{name}": value for name, value in _of_stratum(samples).items()}
  return metrics


def _of_stratum(samples: Sequence[Trajectory]) -> dict[str, float]:
  by_task: dict[int, list[bool]] = collections.defaultdict(list)
  for t in samples:
    by_task[t.group_id].append(succeeded(t))
  return {
    "success": _mean(_mean(outcomes) for outcomes in by_task.values()),
    "tool_calls": _mean(map(_calls, samples)),
    "cost": _mean(map(_cost, samples)),
    "return": _mean(t.reward for t in samples),
    "tasks": float(len(by_task)),
  }


def _calls(t: Trajectory) -> int:
  return sum(len(turn.results) for turn in t.turns)


def _cost(t: Trajectory) -> float:
  return sum(turn.cost for turn in t.turns)


def failure_counts(trajectories: Sequence[Trajectory], prefix: str) -> dict[str, float]:
  """How many trajectories lost their environment in each way, by the `FailureKind` behind the prefix."""
  kinds = collections.Counter(t.failure.kind for t in trajectories if t.failure is not None)
  return {f"{prefix}{kind.value}": float(kinds[kind]) for kind in FailureKind if kind is not FailureKind.PROMPT}


def calls_made(trajectories: Sequence[Trajectory]) -> int:
  """Tool calls, each counted once whatever branches from it, those of failed environments included."""
  return sum(len(turn.results) for t in trajectories for turn in t.turns if turn.start >= t.fork_at)


def tool_metrics(trajectories: Sequence[Trajectory], *, window: int) -> dict[str, float]:
  """Tool calls in all, branches, and what a tool result does to the entropy of the tokens behind it.

  `rollout/tool_calls_made` counts the step's calls once each, `rollout/tool_calls_replayed` those that branches made
  again to get to their fork. `rollout/entropy_start` and `rollout/entropy_after_tool` are nats per token,
  `rollout/entropy_change` is what branching rules look at, see `rollout/strategies/branching.py`; the last two are left
  out where no tool answered.

  Args:
    window: tokens, from the start of a trajectory and behind each tool result.
  """
  roots = [t for t in trajectories if t.parent is None]
  branches = [t for t in trajectories if t.parent is not None]
  starts = [_window(t, t.prompt_length, window) for t in roots]
  pairs = [(_window(t, t.prompt_length, window), _window(t, p, window)) for t in trajectories for p in _after_tools(t)]
  metrics = {
    "rollout/branches": len(branches) / max(1, len({t.group_id for t in trajectories})),
    "rollout/tool_calls_made": float(calls_made(trajectories)),
    "rollout/tool_calls_replayed": float(sum(len(u.results) for t in branches for u in t.turns if u.start < t.fork_at)),
  }
  if any(starts):
    metrics["rollout/entropy_start"] = _mean(itertools.chain(*starts))
  if pairs:
    metrics["rollout/entropy_after_tool"] = _mean(itertools.chain(*(after for _, after in pairs)))
    metrics["rollout/entropy_change"] = _mean(entropy_change(before, after) for before, after in pairs)
  return metrics


def _after_tools(t: Trajectory) -> list[int]:
  """Where the policy went on after each tool result that no parent has read."""
  return [b.start for a, b in itertools.pairwise(t.turns) if a.kind is TurnKind.TOOL_CALL and b.start >= t.fork_at]


def _window(t: Trajectory, start: int, size: int) -> list[float]:
  return entropy_window(t.action_mask, t.entropy, start, size)


def evaluation_metrics(trajectories: Sequence[Trajectory], samples: int) -> dict[str, float]:
  """Success of k samples per task: mean@k with its 95 % interval (`success_low` to `success_high`), pass@j and pass^j.

  For j <= k, pass@j is the probability that one of j samples succeeds and pass^j that all of them do: the unbiased
  estimates of Chen et al., 2021 (https://arxiv.org/abs/2107.03374), eq. 1, and of Yao et al., 2024
  (https://arxiv.org/abs/2406.12045). Trajectories whose environment failed are left out of their task's k, and a j for
  which no task has samples left is left out.
  """
  by_task: Mapping[int, list[bool]] = collections.defaultdict(list)
  for t in trajectories:
    if not t.failed:
      by_task[t.group_id].append(succeeded(t))
  if not by_task:
    raise RuntimeError(f"none of the {len(trajectories)} trajectories of the evaluation has a reward")
  means = np.asarray([np.mean(outcomes) for outcomes in by_task.values()])
  valid = [t for t in trajectories if not t.failed]
  low, high = success_interval(means)
  metrics = {
    "eval/success": float(means.mean()),
    "eval/success_low": low,
    "eval/success_high": high,
    "eval/tasks": float(len(means)),
    "eval/tool_calls": _mean(map(_calls, valid)),
    "eval/cost": _mean(map(_cost, valid)),
    "eval/return": _mean(t.reward for t in valid),
    "eval/length": _mean(len(t.tokens) for t in valid),
    "eval/generated_tokens": _mean(t.action_mask.sum() for t in valid),
    "eval/environment_failures": float(len(trajectories) - len(valid)),
    **failure_counts(trajectories, "eval/failed_"),
  }
  names = sorted({name for t in valid for name in t.reward_parts} - {"correct"})  # that one is the success
  metrics |= {f"eval/reward/{name}": _mean(t.reward_parts.get(name, 0.0) for t in valid) for name in names}
  ks = [k for k in (1, 2, 4, 8, 16, 32, 64) if 1 < k <= samples]
  enough = {k: [outcomes for outcomes in by_task.values() if len(outcomes) >= k] for k in ks}
  for k, tasks in enough.items():
    if tasks:
      metrics[f"eval/pass@{k}"] = _mean(pass_at_k(outcomes, k) for outcomes in tasks)
      metrics[f"eval/pass^{k}"] = _mean(pass_all_k(outcomes, k) for outcomes in tasks)
  return metrics


def searched_metrics(trajectories: Sequence[Trajectory], samples: int, stats: RolloutStats) -> dict[str, float]:
  """What searching gave and cost: success with its interval, and generated tokens per search.

  `eval_search/generated_tokens` counts every token that was sampled, in the path or not; beside it stands
  `eval/generated_tokens`, per sample without search.

  Args:
    trajectories: visited paths, `samples` of each task. stats: of all searches.
  """
  plain = evaluation_metrics(trajectories, samples)
  names = ("success", "success_low", "success_high", "environment_failures")
  kept = {f"eval_search/{name}": plain[f"eval/{name}"] for name in names}
  return kept | {"eval_search/generated_tokens": stats.sampled / len(trajectories)}


def success_interval(means: np.ndarray) -> tuple[float, float]:
  """Wilson's 95 % score interval for the mean of tasks' success rates; not empty where all tasks agree.

  The number of draws is that of a coin whose mean varies as much as the mean over tasks does, at least the number of
  tasks: samples of one task are no independent draws.

  Args:
    means: [N], each in [0, 1].
  """
  p, n = float(means.mean()), len(means)
  spread = float(means.var(ddof=1)) if n > 1 else 0.0
  draws = max(n, n * p * (1 - p) / spread) if spread > 0 else n
  z2 = 1.96**2 / draws
  centre = (p + z2 / 2) / (1 + z2)
  half = math.sqrt(p * (1 - p) * z2 + z2**2 / 4) / (1 + z2)
  return max(0.0, centre - half), min(1.0, centre + half)


def pass_at_k(outcomes: Sequence[bool], k: int) -> float:
  """Probability that at least one of k samples drawn from the outcomes succeeds."""
  n, correct = len(outcomes), sum(outcomes)
  if k > n:
    raise ValueError(f"pass@{k} needs at least {k} samples of a task, got {n}")
  return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_all_k(outcomes: Sequence[bool], k: int) -> float:
  """Probability that all of k samples drawn from the outcomes succeed, pass^k: C(c, k) / C(n, k)."""
  n, correct = len(outcomes), sum(outcomes)
  if k > n:
    raise ValueError(f"pass^{k} needs at least {k} samples of a task, got {n}")
  return math.comb(correct, k) / math.comb(n, k)


def _mean(values: Iterable[float]) -> float:
  return float(np.mean([float(v) for v in values]))
