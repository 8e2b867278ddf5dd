"""What a config chooses, checked without building a run: no model, no environment, nothing sampled."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.algorithms import learner
from agentrl.batching.filters import make_filters
from agentrl.batching.masks import make_masking
from agentrl.credit import make_credit
from agentrl.named import by_path, naming
from agentrl.rewards.combine import make_reward
from agentrl.rollout.search.planner import SearchConfig
from agentrl.training.build.sections import check_numbers
from agentrl.training.build.tasks import check_tasks
from agentrl.training.config_keys import entry
from agentrl.training.config_values import SECTIONS_OF_MODULES
from agentrl.training.curriculum import CurriculumSettings, check_curriculum
from agentrl.training.sources import kind_of
from agentrl.training.stages import stages_of


def check_choices(config: ConfigDict) -> None:
  """Checks names, their settings, and the ranges of numbers, as far as that needs no part of a run.

  What depends on made tasks, started tools and models, and how choices fit each other, shows when the run is built.

  Raises:
    ValueError: no such name or setting, and names the nearest; or a number outside its range.
    ModuleNotFoundError: there is no module at an import path.
  """
  check_numbers(config)
  check_tasks(config.task)
  SearchConfig(**config.search)
  with naming("reward"):
    make_reward(by_path(config.reward), by_path(config.reward_options.to_dict()))
  make_filters(config.filters, by_path(config.filter_options.to_dict()))
  check_curriculum(CurriculumSettings(**config.curriculum), measured=config.eval.pool)
  for stage in stages_of(config):
    kind_of(config, stage)
    section = SECTIONS_OF_MODULES[stage.algorithm_key].name
    with naming(section):
      _check_algorithm(algorithms.load(stage.algorithm).heads, entry(config, section))


def _check_algorithm(heads: Callable[[ConfigDict], object], algo: ConfigDict) -> None:
  """The choices of an algorithm; which of these keys it has is its own affair."""
  heads(algo)  # makes its terms
  if "credit" in algo:
    make_credit(algo.credit, algo.credit_options)
  if "masked" in algo:
    make_masking(algo.masked, algo.masked_options, algo.masked_denominator)
  if "reduction" in algo:
    learner.reduction(algo)
