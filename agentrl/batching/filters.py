"""Which trajectories and groups reach the update; what a filter drops leaves loss and baseline alike.

A filter is a function `(trajectories, *, settings) -> trajectories` that keeps their order; one of yours is named by
its import path. Branches of a trajectory that is dropped stay, and what they share is still laid out and trained once:
see `keep`.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentrl.named import by_name, noting, type_told, with_settings
from agentrl.types import StopReason, Trajectory, TurnKind, succeeded


def keep(trajectories: Sequence[Trajectory], wanted: Callable[[Trajectory], bool]) -> list[Trajectory]:
  """The wanted ones, in order; a branch whose parent goes takes its place, and its siblings then branch from it.

  Of several branches the one that left last does: it holds all that the others share with the parent.
  """
  tree = {t.uid: t for t in trajectories}
  for gone in [t.uid for t in trajectories if not wanted(t)]:
    parent = tree.pop(gone)
    orphans = sorted((t for t in tree.values() if t.parent == gone), key=lambda t: (-t.fork_at, t.uid))
    for t in orphans[1:]:
      tree[t.uid] = dataclasses.replace(t, parent=orphans[0].uid)
    for t in orphans[:1]:
      tree[t.uid] = dataclasses.replace(t, parent=parent.parent, fork_at=min(t.fork_at, parent.fork_at))
  return [tree[t.uid] for t in trajectories if t.uid in tree]


def without_failures(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories whose environment failed: they leave loss and baseline."""
  return keep(trajectories, lambda t: not t.failed)


def with_reward(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """What an algorithm that learns from rewards may learn from: `without_failures`.

  Raises:
    ValueError: one of them has no reward, or another one than its turns earned together; names it.
  """
  kept = without_failures(trajectories)
  for t in kept:
    if t.reward is None:
      raise ValueError(
        f"trajectory {t.uid} (task {t.task_id}) ended with {t.stop.value!r} and has no reward: only a trajectory whose "
        "environment failed has none"
      )
    earned = math.fsum(turn.reward for turn in t.turns)
    if t.turns and abs(earned - t.reward) > 1e-6 * max(1.0, abs(t.reward)):
      raise ValueError(
        f"trajectory {t.uid} (task {t.task_id}) has the reward {t.reward:g}, and its turns earned {earned:g} together: "
        "what only the end knows belongs to the last turn, see rewards.combine.assign"
      )
  return kept


def without_void_turns(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories with a turn that neither calls a tool nor answers.

  Unlike the paper (SimpleTIR, Xue et al., 2025, https://arxiv.org/abs/2509.02479), which masks them in the loss, they
  leave the baseline too: filters run before the advantages. `algo.masked` does as the paper, see `masks.py`.
  """
  return keep(trajectories, lambda t: not has_turn(t, TurnKind.VOID))


def without_lost_turns(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories with a void or a malformed turn, from the baseline too; see `masks.lost_turns`."""
  return keep(trajectories, lambda t: not has_turn(t, TurnKind.VOID, TurnKind.MALFORMED))


def has_turn(trajectory: Trajectory, *kinds: TurnKind) -> bool:
  """Whether some turn is of one of these kinds."""
  return any(turn.kind in kinds for turn in trajectory.turns)


def without_overlong(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops trajectories that ran into the length limit (DAPO's overlong filtering, https://arxiv.org/abs/2503.14476)."""
  return keep(trajectories, lambda t: t.stop is not StopReason.LENGTH_LIMIT)


def without_flat_groups(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops groups whose rewards are all equal, which no baseline of whole rewards can tell apart: DAPO's sampling.

  Credit that compares parts of the reward ("gdpo") or single steps ("gigpo") would have learned from some of them.
  """
  rewards = collections.defaultdict(set)
  for t in trajectories:
    rewards[t.group_id].add(t.reward)
  return keep(trajectories, lambda t: len(rewards[t.group_id]) > 1)


def success_band(trajectories: Sequence[Trajectory], *, low: float = 0.1, high: float = 0.9) -> list[Trajectory]:
  """Keeps the groups whose share of successes lies in [low, high]; branches that a search left at its steps are none.

  Xue et al., 2025 (SimpleTIR, https://arxiv.org/abs/2509.02479). `rollout.oversample` and `rollout.rounds` say how many
  groups are asked so that enough of them are kept.

  Args:
    trajectories: of any groups.
    low: share at which the band begins.
    high: share at which it ends.

  Raises:
    ValueError: they are no shares, or the band is empty.
  """
  if not 0 <= low <= high <= 1:
    raise ValueError(f"filter_options.success_band: low={low} and high={high} must be 0 <= low <= high <= 1")
  outcomes = collections.defaultdict(list)
  for t in trajectories:
    if t.visits is None and t.reward is not None:
      outcomes[t.group_id].append(succeeded(t))
  inside = {group for group, solved in outcomes.items() if low <= sum(solved) / len(solved) <= high}
  return keep(trajectories, lambda t: t.group_id in inside)


def best_of_group(trajectories: Sequence[Trajectory], *, count: int = 1) -> list[Trajectory]:
  """Keeps the trajectories of highest reward in each group, of equals the first: best-of-N distillation.

  Trajectories without a reward are dropped.

  Args:
    trajectories: of any groups.
    count: how many of a group.

  Raises:
    ValueError: `count` is less than 1.
  """
  if count < 1:
    raise ValueError(f"filter_options.best_of_group.count={count}: at least one of a group must be kept")
  groups = collections.defaultdict(list)
  for t in trajectories:
    if t.reward is not None:
      groups[t.group_id].append(t)
  best = [sorted(group, key=lambda t: -t.reward)[:count] for group in groups.values()]
  kept = {t.uid for group in best for t in group}
  return keep(trajectories, lambda t: t.uid in kept)


def ablation_train_on_tool_text(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
  """Drops nothing, and has the policy trained on what tools wrote too, as if it had written it: for ablations alone.

  Every token behind the prompt gets the credit of a sampled one, as where ReTool (Feng et al., 2025,
  https://arxiv.org/abs/2504.11536) forgets its mask. The sampler's log-probs of these tokens stay 0, so that
  `sampler/logp_diff_mean` and a correction say nothing.
  """
  return [dataclasses.replace(t, action_mask=t.turn >= 0) for t in trajectories]


Filter = Callable[[Sequence[Trajectory]], list[Trajectory]]

FILTERS: Mapping[str, Callable[..., list[Trajectory]]] = {
  "void_turns": without_void_turns,
  "lost_turns": without_lost_turns,
  "overlong": without_overlong,
  "flat_groups": without_flat_groups,
  "success_band": success_band,
  "best_of_group": best_of_group,
  "ablation_train_on_tool_text": ablation_train_on_tool_text,
}


def make_filters(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> Filter:
  """The filters of a config, one after another, behind `without_failures`.

  Args:
    names: keys of `FILTERS`, or import paths of functions.
    options: settings of filters, by the same names.

  Raises:
    ValueError: no such filter, no such setting, or settings for a filter that is not chosen; the filter, where one of
      them gives something else than some of its trajectories in their order.
  """
  for name in options:
    if name not in names:
      raise ValueError(f"filter_options.{name}: `filters` does not choose {name!r}; it chooses {tuple(names)}")
  functions = {name: by_name(FILTERS, name, kind="entry of filters", takes=("trajectories",)) for name in names}
  chosen = [with_settings(functions[name], options.get(name, {}), section=f"filter_options.{name}") for name in names]

  def filtered(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    kept = without_failures(trajectories)
    for name, keep_some in zip(names, chosen, strict=True):
      with noting(f"in the filter {name!r}"):
        kept = _of_these(keep_some(kept), kept, name)
    return kept

  return filtered


def _of_these(given: Any, trajectories: Sequence[Trajectory], name: str) -> list[Trajectory]:
  """What a filter gave of trajectories.

  Raises:
    ValueError: it is no list of some of them, each once, in their order; names the filter.
  """
  if not isinstance(given, list | tuple) or not all(isinstance(t, Trajectory) for t in given):
    raise ValueError(f"filters: {name!r} gave {type_told(given)}; a list of the trajectories that it keeps was due")
  place = {t.uid: n for n, t in enumerate(trajectories)}
  places = [place.get(t.uid, -1) for t in given]
  if -1 in places or any(b <= a for a, b in itertools.pairwise(places)):
    raise ValueError(
      f"filters: {name!r} must give some of the trajectories that it was given, each once, in their order"
    )
  return list(given)
