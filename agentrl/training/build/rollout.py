"""The section `rollout` of a config."""

from __future__ import annotations

import dataclasses

from agentrl.settings import above, at_least, between, setting


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
  temperature: float = setting(1.0, "of sampling", above(0, "the update divides by it; only eval.temperature may be 0"))
  compiled: bool = setting(True, "one compiled loop with host callbacks; false: the same loop from Python")
  workers: int = setting(8, "threads for environments and tools", at_least(1))
  environment_seconds: float = setting(
    60.0, "that one environment call may take; then the environment has failed", above(0)
  )
  rounds: int = setting(
    1, "how often groups that the filters emptied are sampled (dynamic sampling); 1: once", at_least(1)
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
