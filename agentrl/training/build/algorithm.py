"""From `algorithm`, `algo` and the sections of the stages to what learns in each stage."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from agentrl import algorithms
from agentrl.algorithms.contract import Algorithm, Policy
from agentrl.named import naming
from agentrl.rollout.strategies.contract import Sampler
from agentrl.training.build.optimizer import OptimizerSettings, make_optimizer
from agentrl.training.config_values import SECTIONS_OF_MODULES, resolve
from agentrl.training.stages import Stage


def make_algorithm(
  stage: Stage,
  policy: Policy,
  optimizer: OptimizerSettings,
  algo: Mapping[str, Any],
  *,
  sequences: int,
) -> Algorithm:
  """What learns in a stage.

  Args:
    stage: names the algorithm.
    policy: what it learns for.
    optimizer: settings of its optimiser.
    algo: settings of the algorithm, where not its defaults.
    sequences: the most trajectories of a step.

  Raises:
    ValueError: no such algorithm or setting; names the key.
  """
  with naming(stage.algorithm_key):
    module = algorithms.load(stage.algorithm)
  section = SECTIONS_OF_MODULES[stage.algorithm_key].name
  settings = resolve(module.default_config(), algo, where=f"{section} (of algorithm {stage.algorithm!r})")
  steps = module.optimizer_steps(settings, stage.steps)
  made = make_optimizer(optimizer, steps, module.heads(settings), section=stage.scheduled_by)
  policy = policy._replace(pack=dataclasses.replace(policy.pack, sequences=sequences))
  with contextlib.nullcontext() if stage.final else naming(stage.name):
    return module.make(policy, made, settings)


def make_earlier(
  stage: Stage, policy: Policy, optimizer: OptimizerSettings, section: ConfigDict, *, sequences: int
) -> Algorithm:
  """What learns in a stage before the last, with the run's optimiser settings at a rate of its own.

  Args:
    stage: see `stages_of`.
    policy: what it learns for.
    optimizer: of the run.
    section: of the stage.
    sequences: the most trajectories of a step.
  """
  own = {"learning_rate": section.learning_rate, "value_warmup": 0, "schedule": stage.schedule}
  return make_algorithm(stage, policy, dataclasses.replace(optimizer, **own), section.algo, sequences=sequences)


def check_source(stage: Stage, algorithm: Algorithm, *, rewarded: bool, sampled: bool, filtered: bool) -> None:
  """Whether an algorithm can learn something from where a stage has its trajectories; warns where it is little.

  Args:
    stage: names the source.
    algorithm: of the stage.
    rewarded: the trajectories have rewards.
    sampled: the policy itself sampled them.
    filtered: filters choose among them.

  Raises:
    ValueError: it learns from rewards, and they have none.
  """
  named = f"{stage.algorithm_key}={stage.algorithm!r}"
  if algorithm.rewards and not rewarded:
    raise ValueError(
      f"{named} learns from rewards, and the trajectories of {stage.name}.source={stage.source!r} have none: choose "
      f"another source, such as 'rollouts', or another {stage.algorithm_key}, such as 'sft' of all of them"
    )
  if algorithm.imitates and sampled and not filtered:
    logging.warning(
      "%s imitates all that the policy itself samples (%s.source=%r), whatever it is worth: it learns nothing from the "
      "reward. Choose among them by `filters`, such as ('best_of_group',), or by algo.min_reward or algo.top_share",
      named, stage.name, stage.source,
    )  # fmt: skip


def check_samples(stage: Stage, algorithm: Algorithm, strategy: str, sampler: Sampler, group_size: int) -> None:
  """Raises ValueError where an algorithm would learn nothing, or something else, from what the rollouts give it.

  Args:
    stage: whose trajectories the strategy samples.
    algorithm: of the stage.
    strategy: its name.
    sampler: that the strategy made.
    group_size: samples per prompt.
  """
  named = f"{stage.algorithm_key}={stage.algorithm!r}"
  if algorithm.compares and group_size == 1:
    raise ValueError(
      f"{named} compares the samples of a prompt, and with rollout.group_size=1 there is nothing to compare: raise it"
    )
  if algorithm.chains and sampler.branches:
    raise ValueError(
      f"the credit of {named} goes from token to token, and takes no branches, which "
      f"rollout.strategy={strategy!r} samples: choose 'independent', or another algo.credit"
    )
  if algorithm.siblings and not sampler.siblings:
    raise ValueError(
      f"the credit of {named} is fitted to the visits of a search, and needs "
      f"rollout.strategy='tree_search', not {strategy!r}"
    )


def check_needs(stage: Stage, algorithm: Algorithm, sampler: Sampler, trained: Mapping[str, Any]) -> None:
  """Raises ValueError where an algorithm has not what a way of sampling needs, or has a head that acting may not read.

  Args:
    stage: in which the sampler acts.
    algorithm: of the stage.
    sampler: see `Sampler.needs`.
    trained: the learner's params, by name.
  """
  needs = sampler.needs
  acting = [name for name, head in algorithm.heads.items() if head.acting]
  lacking = [name for name in needs.params if name not in (acting if name in needs.heads else trained)]
  if lacking or (needs.judge and algorithm.judge is None):
    told = f"has {' and '.join(map(repr, acting))}" if acting and needs.heads else "has none"
    if set(lacking) & set(algorithm.heads):
      told = "keeps it from acting"
    raise ValueError(f"{needs.why}, and {stage.algorithm_key}={stage.algorithm!r} {told}: {needs.otherwise}")
