"""From the sections `rollout`, `engine` and `search` to what samples trajectories and rewards them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from agentrl import envs
from agentrl.models.chat import ChatFormat
from agentrl.models.transformer import ModelConfig
from agentrl.named import by_name, check_name, naming
from agentrl.rewards.combine import Reward
from agentrl.rollout.driver import Drivers
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import LOST_TURNS
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.strategies.contract import Sampler, Surroundings
from agentrl.rollout.strategies.utterances import UtteranceSampler
from agentrl.settings import above, at_least, between, setting
from agentrl.training.collect import SEEDS, Collector


@dataclasses.dataclass(frozen=True)
class RolloutSettings:
  """What is sampled in a step, and within which limits."""

  groups: int = setting(8, "prompts per step", at_least(1))
  group_size: int = setting(8, "samples per prompt", at_least(1))
  max_tokens: int = setting(
    128, "of a trajectory, prompt included", at_least(2, "a token of the prompt, and one that is sampled")
  )
  max_turns: int = setting(4, "of a trajectory", at_least(1))
  turn_tokens: int = setting(
    0, "sampled tokens after which a turn is over as it stands; 0: it may fill the trajectory", at_least(0)
  )
  end_on: tuple[str, ...] = setting((), 'kinds of turns behind which an episode is over: "void", "malformed"')
  seeds: str = setting(
    "group",
    'what seeds an environment: "group": the samples of a prompt meet the same episode; "task": all samples of a task '
    'do, whenever it is asked; "sample": each meets its own, so that what is random in it differs among them. Or the '
    "import path of a function of yours",
  )
  temperature: float = setting(1.0, "of sampling", above(0, "the update divides by it; only eval.temperature may be 0"))
  compiled: bool = setting(True, "one compiled loop with host callbacks; false: the same loop from Python")
  workers: int = setting(8, "threads for environments and tools", at_least(1))
  environment_seconds: float = setting(
    60.0, "that one environment call may take; then the environment has failed", above(0)
  )
  rounds: int = setting(
    1, "how often groups that the filters emptied are sampled (dynamic sampling); 1: once", at_least(1)
  )
  oversample: float = setting(
    1.0,
    "how many times as many groups are sampled as are wanted; where the filters keep more of them than `groups`, the "
    "first are trained on",
    at_least(1),
  )
  max_failed_share: float = setting(
    0.5, "of a step's trajectories with a failed environment; above it the run stops", between(0, 1)
  )
  entropy_window: int = setting(
    20,
    "tokens behind a tool result whose entropies are held against those of the rollout's first tokens: by the metrics, "
    "and by what decides where samples branch",
    at_least(1),
  )
  strategy: str = setting(
    "independent",
    "module under rollout/strategies/, or the import path of one of yours; its settings are `strategy`. Of the samples "
    'of a prompt "independent"; "branching": some branch from others, after tool results; "tree_search": each is the '
    'visited path of a search, see `search`; "reranked": of several utterances at every state the algorithm\'s critics '
    "choose the one that is said, in the evaluations after a first update too",
  )


def make_surroundings(
  rollout: RolloutSettings,
  engine: EngineConfig,
  search: SearchConfig,
  model: ModelConfig,
  chat: ChatFormat,
  *,
  mesh: Mesh,
  place: Callable[[Any], Any],
) -> Surroundings:
  """What a strategy samples with.

  Args:
    rollout: limits of trajectories, and their number.
    engine: sizes of the slots.
    search: how trees grow, where the strategy or an evaluation searches.
    model: the policy's.
    chat: how the policy is talked to.
    mesh: where the slots lie.
    place: puts the policy's params on every device, whole.
  """
  drivers = Drivers(model, engine, mesh=mesh, compiled=rollout.compiled)
  driver = drivers(chat.pause_table(model.vocab_size))
  return Surroundings(
    engine=engine,
    chat=chat,
    vocab_size=model.vocab_size,
    driver=driver,
    drivers=drivers,
    utterances=UtteranceSampler(
      driver=driver,
      engine=engine,
      chat=chat,
      temperature=rollout.temperature,
      max_tokens=rollout.max_tokens,
      turn_tokens=rollout.turn_tokens,
      place=lambda policy: place({"policy": policy}),
    ),
    group_size=rollout.group_size,
    entropy_window=rollout.entropy_window,
    search=search,
  )


def make_collector(rollout: RolloutSettings, reward: Reward, sampler: Sampler, tasks: envs.TaskSource) -> Collector:
  """What samples groups and gives them their rewards.

  Args:
    rollout: limits of trajectories.
    reward: what they are worth.
    sampler: that the strategy made.
    tasks: and their environments.

  Raises:
    ValueError: no such kind of turn in `rollout.end_on`, or no such way to seed environments.
  """
  with naming("rollout.end_on"):
    for kind in rollout.end_on:
      check_name(LOST_TURNS, kind, kind="kind of turn that ends an episode")
    end_on = frozenset(LOST_TURNS[kind] for kind in rollout.end_on)
  with naming("rollout.seeds"):
    seed_of = by_name(SEEDS, rollout.seeds, kind="way to seed environments", takes=("group", "uid"))
  return Collector(
    sampler=sampler,
    tasks=tasks,
    workers=rollout.workers,
    reward=reward,
    max_tokens=rollout.max_tokens,
    max_turns=rollout.max_turns,
    turn_tokens=rollout.turn_tokens,
    end_on=end_on,
    seed_of=seed_of,
    # The pool ends every call that its workers do not: a call that waits there for its turn is not late.
    environment_seconds=rollout.environment_seconds if not tasks.pools else math.inf,
  )
