"""Samples that branch after tool results, where the policy is in doubt about what it has just read (ARPO).

Of the M samples of a prompt N start at the prompt; the others are branches of them, or of each other. A branch starts
right behind a tool result: it shares everything up to there, and its tokens are sampled under a uid of its own.
Whether to branch is asked once the path itself has sampled the next k tokens: their entropies H_t are held against
H_0, those of the first k tokens of its rollout.

| rule | branch when |
|---|---|
| threshold | `alpha + beta dH > threshold`, `dH = sum(H_t - H_0) / V` (https://arxiv.org/abs/2507.19849) |
| code | `u < clip(probability + weight dH, 0, 1)`, `dH = sum(H_t - H_0) / log V`: the code released with it |
| random | `u < probability`, the control |

Sums run over the tokens that both windows have: a turn may be shorter than k. `u` is drawn from (seed, uid, position).
The code takes entropies over the ten likeliest tokens, we take all; and three of its habits are not repeated: `H_0`
survives from the slot's previous sample, the first `dH` is always 0, and groups are filled with duplicates.

**Who gets the budget.** Rounds decide, not time: in round r every path of the group that has read r tool results is
asked, in the order of uids, until M samples are there. A round is held when every path either has the window behind
its r-th tool result or ended without one, so that the outcome does not depend on latency or slots; paths never wait
for a round, only new branches do. When all paths have ended and there is budget left, fresh samples use it up. This is
the order of the released code, whose loop over tool calls waits for all paths; the paper leaves it open.

**Environments.** A branch's environment is a fresh one that repeats the parent's actions (`episode.Branch`). That
costs those tool calls again, counted apart, and needs tools that answer alike each time.

**Slots.** A group is admitted when M slots are free for it, and a path's prefix stays open until no branch can leave
from it any more. So every branch is a fork of a live cache, no prefix is fed twice, and nothing can block.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import random
from collections.abc import Callable, Iterable, Sequence

from ml_collections import ConfigDict

from agentrl.named import check_name, with_settings
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Branch, Request, RequestQueue
from agentrl.rollout.strategies.contract import Collection, Sampled, Sampler, Surroundings, on_slots
from agentrl.rollout.strategies.independent import Independent, Sample, independent
from agentrl.settings import FINITE, DefaultsOf, at_least, between, check_fields, ranges_of, setting, settings_in


def make(surroundings: Surroundings, cfg: ConfigDict) -> Sampler:
  """See `contract.Sampler`.

  Raises:
    ValueError: settings, group size and slots do not fit.
  """
  settings = with_settings(BranchingConfig, cfg, section="strategy")()
  settings.check(surroundings.group_size, surroundings.engine)

  def sample(collection: Collection) -> Sampled:
    make_strategy = functools.partial(
      Branching,
      RequestQueue(collection.groups),
      group_size=surroundings.group_size,
      settings=settings,
      window=surroundings.entropy_window,
      seed=collection.seed,
    )
    return on_slots(surroundings, collection, make_strategy)

  return Sampler(sample, branches=True, evaluate_with=independent(surroundings))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchingConfig:
  """When to branch, and how much; see the module. The window is `rollout.entropy_window`, as in the metrics."""

  initial: int = setting(
    4, "N, samples that start at the prompt; the rest of `rollout.group_size` are branches", at_least(1)
  )
  branches: int = setting(1, "started at once where the rule says so", at_least(1))
  rule: str = setting("threshold", '"threshold": the paper\'s, "code": the released code\'s, "random": the control')
  alpha: float = setting(0.5, 'read by "threshold"', FINITE)
  beta: float = setting(0.2, 'read by "threshold"', FINITE)
  threshold: float = setting(0.5, 'read by "threshold"', FINITE)
  probability: float = setting(0.5, 'read by "code" and "random"', between(0, 1))
  weight: float = setting(0.2, 'read by "code"', FINITE)

  def __post_init__(self):
    check_name(RULES, self.rule, kind="strategy.rule")
    check_fields(self, section="strategy")

  def check(self, group_size: int, engine: EngineConfig) -> None:
    """Raises ValueError where groups of this size cannot be sampled on these slots."""
    if self.initial == group_size:
      raise ValueError(
        f"strategy.initial={self.initial} is all of rollout.group_size={group_size}, which leaves no sample "
        "to branch: lower it, or set rollout.strategy='independent'"
      )
    if self.initial > group_size:
      raise ValueError(
        f"strategy.initial={self.initial} exceeds rollout.group_size={group_size}: the samples that start "
        "at the prompt are part of the group"
      )
    if group_size > engine.slots:
      raise ValueError(
        f"rollout.group_size={group_size} exceeds engine.slots={engine.slots}: a group that branches needs a slot on "
        "one device for each of its samples; raise engine.slots or lower rollout.group_size"
      )

  def wants(self, change: float, vocab_size: int, draw: float) -> bool:
    """Whether to branch.

    Args:
      change: `sum(H_t - H_0)` in nats. draw: uniform in [0, 1).
    """
    return RULES[self.rule](self, change, vocab_size, draw)


default_config = DefaultsOf(BranchingConfig)
RANGES = ranges_of(settings_in(BranchingConfig))


def _threshold(settings: BranchingConfig, change: float, vocab_size: int, draw: float) -> bool:
  del draw
  return settings.alpha + settings.beta * change / vocab_size > settings.threshold


def _code(settings: BranchingConfig, change: float, vocab_size: int, draw: float) -> bool:
  return draw < min(1.0, max(0.0, settings.probability + settings.weight * change / math.log(vocab_size)))


def _random(settings: BranchingConfig, change: float, vocab_size: int, draw: float) -> bool:
  del change, vocab_size
  return draw < settings.probability


RULES: dict[str, Callable[[BranchingConfig, float, int, float], bool]] = {
  "threshold": _threshold,
  "code": _code,
  "random": _random,
}


def entropy_change(before: Sequence[float], after: Sequence[float]) -> float:
  """`sum_i (after_i - before_i)` over the entries that both have, in nats."""
  return sum(b - a for a, b in zip(before, after, strict=False))


def uniform(seed: int, uid: int, position: int) -> float:
  """The number in [0, 1) that decides whether trajectory `uid` branches at `position`."""
  return random.Random(f"branch {seed} {uid} {position}").random()


@dataclasses.dataclass(eq=False)
class _Path:
  """A member of a group.

  Attributes:
    request: what is wanted.
    source: the path that it branches from; None: it starts at the prompt.
    fork_at: index of the first token that it does not share with its source.
    sample: its trajectory in the making; None until it is begun.
    released: it has been given a slot and needs it no more.
  """

  request: Request
  source: _Path | None = None
  fork_at: int = 0
  sample: Sample | None = None
  released: bool = False

  @property
  def finished(self) -> bool:
    return self.sample is not None and self.sample.episode.finished

  @property
  def needs_source(self) -> bool:
    """It has yet to take over what it shares with its source."""
    if self.source is None or self.finished:
      return False
    if self.sample is None:
      return True
    in_a_slot = self.sample.job is not None and self.sample.job.slot is not None
    return self.sample.prefix.end == self.fork_at and not in_a_slot


@dataclasses.dataclass(eq=False)
class _Group:
  """Samples of one prompt.

  Attributes:
    paths: those that there are, begun or not.
    spare: requests that are left for branches.
    round: to be held next.
  """

  paths: list[_Path]
  spare: collections.deque[Request]
  round: int = 1


class Branching(Independent):
  """Samples groups whose members branch from one another; each group ends with as many trajectories as requests.

  Args:
    groups: the requests of each group, first those that start at the prompt; shared iterators let several devices
      draw from one queue.
    group_size: M, requests of each group.
    settings: see `BranchingConfig`.
    window: k, tokens whose entropies are compared.
    seed: of the rules' random numbers.
    others: keyword arguments of `Independent`.

  Raises:
    ValueError: settings, group size and slots do not fit; before anything is sampled.
  """

  def __init__(
    self,
    groups: Iterable[Sequence[Request]],
    *,
    group_size: int,
    settings: BranchingConfig,
    window: int,
    seed: int,
    **others,
  ):
    super().__init__((), **others)
    settings.check(group_size, self._engine)
    self._groups = iter(groups)
    self._group_size = group_size
    self._settings = settings
    self._size_of_window = window
    self._seed = seed
    self._vocab_size = self._chat.tokenizer.vocab_size
    self._live: list[_Group] = []

  # -- who gets a slot -----------------------------------------------------------------------------------------------

  def _admit(self) -> None:
    for group in self._live:
      self._hold_rounds(group)
    self._release_paths()
    self._admit_groups()
    for group in self._live:
      for path in group.paths:
        if path.sample is None:
          self._begin(path)

  def _admit_groups(self) -> None:
    while self._slots_to_spare() >= self._group_size and (requests := next(self._groups, None)) is not None:
      if len(requests) != self._group_size:
        raise ValueError(f"a group of {len(requests)} requests, where group_size={self._group_size}")
      first, spare = requests[: self._settings.initial], requests[self._settings.initial :]
      self._live.append(_Group([_Path(request) for request in first], collections.deque(spare)))

  def _slots_to_spare(self) -> int:
    """Slots that no live group needs now, or will need."""
    needed = sum(self._group_size - sum(path.released for path in group.paths) for group in self._live)
    return self._engine.slots - needed

  def _begin(self, path: _Path) -> None:
    if path.source is None:
      path.sample = self._new_sample(path.request)
      self._open(path.sample)
      return
    source = path.source.sample
    request = dataclasses.replace(path.request, seed=source.episode.request.seed)  # it meets its parent's episode
    episode = Branch(source.episode, request, path.fork_at)
    path.sample = Sample(episode, next(p for p in source.prefix.chain() if p.end == path.fork_at))
    self._open(path.sample)

  def _release_paths(self) -> None:
    """Lets go of the slots of paths from which no branch can leave any more."""
    sources = {path.source for group in self._live for path in group.paths if path.needs_source}
    for group in self._live:
      for path in group.paths:
        if path.finished and path not in sources and not (group.spare and self._has_round_ahead(group, path)):
          path.released = True
          self._slots.close(path.sample.prefix)
    self._live = [group for group in self._live if group.spare or not all(path.finished for path in group.paths)]

  def _over(self, sample: Sample) -> None:
    """Branches may yet leave from a trajectory that is over: see `_release_paths`."""

  # -- rounds --------------------------------------------------------------------------------------------------------

  def _hold_rounds(self, group: _Group) -> None:
    """All rounds whose outcome is certain by now; with no round to come, what is left of the budget starts afresh."""
    while group.spare and all(self._knows_round(group, path) for path in group.paths):
      asked = [path for path in group.paths if self._has_round_ahead(group, path)]
      if not asked:
        group.paths += [_Path(request) for request in group.spare]
        group.spare.clear()
      for path in asked:
        self._ask(group, path)
      group.round += 1

  def _has_round_ahead(self, group: _Group, path: _Path) -> bool:
    return len(path.sample.episode.after_tools) >= group.round

  def _knows_round(self, group: _Group, path: _Path) -> bool:
    """The path has the window behind its tool result of this round, or ended without that result."""
    if path.sample is None or not self._has_round_ahead(group, path):
      return path.finished
    start = path.sample.episode.after_tools[group.round - 1]
    return not path.sample.in_turn(start) or len(self._window(path, start)) == self._size_of_window

  def _window(self, path: _Path, start: int) -> Sequence[float]:
    """Entropies in nats of the first tokens of the turn that begins at `start`, which may be going on."""
    sample, size = path.sample, self._size_of_window
    return sample.job.entropy[:size] if sample.in_turn(start) else sample.episode.window(start, size)

  def _ask(self, group: _Group, path: _Path) -> None:
    episode = path.sample.episode
    position = episode.after_tools[group.round - 1]
    change = entropy_change(self._window(path, episode.prompt_length), self._window(path, position))
    if self._settings.wants(change, self._vocab_size, uniform(self._seed, path.request.uid, position)):
      for _ in range(min(self._settings.branches, len(group.spare))):
        group.paths.append(_Path(group.spare.popleft(), path, position))
