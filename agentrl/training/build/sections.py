"""Every key of a config: the sections, each the dataclass or the function that reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from agentrl.batching.pack import PackConfig
from agentrl.envs.hosting import Hosting
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.search.planner import SearchConfig
from agentrl.settings import at_least, between, check_ranges, from_function, ranges_of, section, setting, settings_in
from agentrl.training import config_values, sharding
from agentrl.training.build.chat import ChatSettings
from agentrl.training.build.model import ModelSettings
from agentrl.training.build.optimizer import OptimizerSettings
from agentrl.training.build.rollout import RolloutSettings
from agentrl.training.build.tasks import TaskSettings
from agentrl.training.config_keys import entry
from agentrl.training.curriculum import CurriculumSettings
from agentrl.training.probing import ProbeSettings


@dataclasses.dataclass(frozen=True)
class _EarlierStage:
  """A stage before the last, by default supervised learning on authored traces; one of 0 steps is left out."""

  source: str = setting("authored", "of its trajectories: name in training.sources.SOURCES, or an import path")
  algorithm: str = setting("sft", "module under algorithms/, or the import path of one of yours")
  algo: Mapping[str, Any] = setting({}, "the algorithm's own settings, from its default_config()")
  steps: int = setting(0, "updates before reinforcement learning", at_least(0))
  batch: int = setting(64, "traces per step", at_least(1))
  mix: Mapping[str, float] = setting(
    {},
    'share of traces that show each habit, by name: {"needed": 0.25, "never": 0.75}, where "needed" makes the calls '
    'that the task needs, and "never" answers at once, or a habit that the family has; empty: all show what is needed',
  )
  learning_rate: float = setting(1e-3, "at its peak", at_least(0))
  schedule: str = setting("", "of the rate, as in `optimizer`; empty: that of `optimizer`")


@dataclasses.dataclass(frozen=True)
class ColdStartSettings(_EarlierStage):
  """The first stage, which other runs may take over."""

  run: str = setting(
    "", "folder of a run whose cold start, with the same settings, is taken over in place of these steps"
  )


@dataclasses.dataclass(frozen=True)
class TuningSettings(_EarlierStage):
  """A stage between the cold start and the last, on demonstrations that may depend on what the policy knows by then."""

  probe: ProbeSettings = section(ProbeSettings)


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """The last stage, which the run is about: where it learns from, how long it is, and what is written when."""

  source: str = setting("rollouts", "of its trajectories: name in training.sources.SOURCES, or an import path")
  source_options: Mapping[str, Any] = setting({}, 'settings of the source, where it has some: {"turns": 1}')
  steps: int = setting(100, "updates by the algorithm", at_least(0))
  eval_every: int = setting(50, "steps; also before the first and after the last one", at_least(1))
  checkpoint_every: int = setting(50, "steps; also at the end", at_least(1))
  trajectories_every: int = setting(
    10, "steps; how often sampled trajectories are written to the run folder", at_least(1)
  )
  saved_trees: int = setting(
    2, "searches written with them, and at evaluations, the first by uid; 0: none", at_least(0)
  )


@dataclasses.dataclass(frozen=True)
class EvalSettings:
  """How a policy is measured on the held-out split."""

  tasks: int = setting(64, "of the held-out split", at_least(1))
  samples: int = setting(1, "independent ones of each task", at_least(1))
  temperature: float = setting(1.0, "of sampling; 0 is greedy", at_least(0))
  pool: int = setting(
    0,
    "tasks of the curriculum's pool that a run measures beside those of the held-out split, the first by number, as "
    "eval_pool/success and so on; 0: none",
    at_least(0),
  )
  search: int = setting(
    0,
    "searches of each task beside the samples, at every evaluation, with the settings of `search`; 0: none. A search "
    "is told the reward of every end that it reaches: its success is that of a policy with a checker at hand",
    at_least(0),
  )


@dataclasses.dataclass(frozen=True)
class WandbSettings:
  """Where metrics go beside the run folder."""

  mode: str = setting("disabled", '"online", "offline" or "disabled"')
  project: str = setting("agentrl", "of Weights & Biases")


MeshSettings = from_function(
  sharding.make_mesh,
  "MeshSettings",
  ranges={"data": at_least(0), "fsdp": at_least(1), "tensor": at_least(1)},
  given={},
)


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """Every key of a config but those of `config.SECTIONS_OF_MODULES`, which are an algorithm's or the strategy's."""

  seed: int = setting(0, "of every random number", between(0, 2**32 - 1))
  model: ModelSettings = section(ModelSettings)
  chat: ChatSettings = section(ChatSettings)
  task: Any = section(TaskSettings)
  curriculum: CurriculumSettings = section(CurriculumSettings)
  hosting: Hosting = section(Hosting)
  rollout: RolloutSettings = section(RolloutSettings)
  strategy: Mapping[str, Any] = setting({}, "the strategy's own settings, from its default_config()")
  search: SearchConfig = section(SearchConfig)
  engine: EngineConfig = section(EngineConfig)
  pack: PackConfig = section(PackConfig)
  reward: Mapping[str, float] = setting(
    {},
    'weight of each part: {"correct": 1.0}. A part is a name in rewards.REWARDS, the import path of a reward function, '
    'or a part that the environment itself gives; what it gives for single turns counts by "turn_rewards"',
  )
  reward_options: Mapping[str, Any] = setting(
    {}, 'settings of reward functions: {"soft_overlong": {"max_tokens": 512, "buffer": 64}}'
  )
  filters: tuple[str, ...] = setting(
    (), "names in batching.filters.FILTERS, or import paths, in order, before the credit"
  )
  filter_options: Mapping[str, Any] = setting({}, 'settings of filters: {"best_of_group": {"count": 2}}')
  cold_start: ColdStartSettings = section(ColdStartSettings)
  tuning: TuningSettings = section(TuningSettings)
  algorithm: str = setting("grpo", "module under algorithms/, or the import path of one of yours")
  algo: Mapping[str, Any] = setting({}, "the algorithm's own settings, from its default_config()")
  optimizer: OptimizerSettings = section(OptimizerSettings)
  train: TrainSettings = section(TrainSettings)
  eval: EvalSettings = section(EvalSettings)
  mesh: Any = section(MeshSettings)
  wandb: WandbSettings = section(WandbSettings)


def check_numbers(config: ConfigDict) -> None:
  """Raises ValueError where a number is outside its range; names the key and what it may be."""
  ranges = ranges_of(settings_in(RunSettings))
  for key, of_module in config_values.SECTIONS_OF_MODULES.items():
    module = of_module.load(entry(config, key))
    ranges |= {f"{of_module.name}.{name}": allowed for name, allowed in module.RANGES.items()}
  check_ranges(config_values.flatten(config), ranges)
