"""From a config to an experiment: the one place where the functions that build its sections are put together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from agentrl import envs
from agentrl.algorithms.contract import Algorithm, Policy
from agentrl.batching.filters import Filter, make_filters
from agentrl.batching.pack import PackConfig
from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig, weight_specs
from agentrl.named import by_path, naming
from agentrl.rewards.combine import Reward, make_reward
from agentrl.rollout import strategies
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.strategies.contract import Sampler, Surroundings
from agentrl.rollout.strategies.tree_search import tree_search
from agentrl.training import jax_flags, sharding
from agentrl.training.build.algorithm import check_needs, check_samples, check_source, make_algorithm, make_earlier
from agentrl.training.build.chat import ChatSettings
from agentrl.training.build.model import ModelSettings, load_policy
from agentrl.training.build.optimizer import OptimizerSettings
from agentrl.training.build.rollout import RolloutSettings, make_collector, make_surroundings
from agentrl.training.build.sections import check_numbers
from agentrl.training.build.tasks import open_tasks
from agentrl.training.collect import Collector
from agentrl.training.curriculum import CurriculumSettings, check_curriculum
from agentrl.training.sources import kind_of
from agentrl.training.stages import Stage, stages_of


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What a config is built into.

  Attributes:
    keys: base keys by use; each is only ever folded, never consumed.
    params: the policy's initial params, on the mesh.
    surroundings: what the strategy was made of, and others may be.
    searching: searches beside the samples of an evaluation; None: nothing does.
    filter: what chooses the trajectories that are trained on.
    collector: samples for the algorithm of the last stage.
    algorithm: of the last stage.
    earlier: the algorithms of the stages before it, by name.
  """

  model: ModelConfig
  params: Any
  tokenizer: Tokenizer
  chat: ChatFormat
  tasks: envs.TaskSource
  collector: Collector
  surroundings: Surroundings
  searching: Sampler | None
  filter: Filter
  algorithm: Algorithm
  earlier: Mapping[str, Algorithm]
  mesh: Mesh
  keys: Mapping[str, jax.Array]

  def algorithm_of(self, stage: Stage) -> Algorithm:
    """What learns in a stage."""
    return self.algorithm if stage.final else self.earlier[stage.name]

  def in_stage(self, stage: Stage) -> Experiment:
    """The same, where a stage trains: its own algorithm judges, and gets the siblings that it learns from."""
    if stage.final:
      return self
    return dataclasses.replace(self, collector=self.collector.serving(self.algorithm_of(stage)))

  def place(self, state: Any) -> Any:
    """Puts a learner state on the mesh by the sharding rules."""
    specs = weight_specs(self.model)
    return jax.tree.map(jax.device_put, state, sharding.state_shardings(state, specs, self.mesh))

  def zeros_of(self, name: str) -> Any:
    """Zeros in the shape of an entry of the algorithm's params."""
    shapes = jax.eval_shape(self.algorithm.init, jax.random.key(0), self.params).params[name]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  def fresh_head(self, name: str) -> Any:
    """A head's params as RL may start with; what a value head of these says is 0."""
    return self.algorithm.heads[name].init(jax.random.fold_in(self.keys["update"], 0), self.model)

  @property
  def acts_by(self) -> tuple[str, ...]:
    """What acting reads of a learner's params beside the policy: the head of a search, the critic of a judge."""
    samplers = (self.searching, self.collector.sampler)
    return tuple(dict.fromkeys(name for sampler in samplers if sampler for name in sampler.needs.params))

  def driver_params(self, params: Any) -> Any:
    """What collections need of a learner's params: the policy and, as far as it is there, what `acts_by`; whole."""
    names = ("policy", *(name for name in self.acts_by if name in params))
    return whole_on_devices({name: params[name] for name in names}, self.mesh)


def build_experiment(config: ConfigDict) -> Experiment:
  """Builds everything; errors name the config key that is wrong. Whoever is done with it closes its `tasks`."""
  jax_flags.check_flags()
  check_numbers(config)
  root = jax.random.key(config.seed)
  names = ("init", "rollout", "update", "evaluation")
  keys = {name: jax.random.fold_in(root, n) for n, name in enumerate(names)}
  mesh = sharding.make_mesh(**config.mesh)
  sharding.check_rows(config.pack.rows, mesh)
  tasks = open_tasks(config.task, config.hosting, environment_seconds=config.rollout.environment_seconds)
  try:
    return _build(config, tasks, keys, mesh)
  except BaseException:
    tasks.close()
    raise


def _build(config: ConfigDict, tasks: envs.TaskSource, keys: Mapping[str, jax.Array], mesh: Mesh) -> Experiment:
  rollout, optimizer = RolloutSettings(**config.rollout), OptimizerSettings(**config.optimizer)
  model, params, chat = load_policy(
    ModelSettings(**config.model), ChatSettings(**config.chat), tasks, keys["init"], max_tokens=rollout.max_tokens
  )
  engine = EngineConfig(positions=rollout.max_tokens, **config.engine)
  search, place = SearchConfig(**config.search), functools.partial(whole_on_devices, mesh=mesh)
  surroundings = make_surroundings(rollout, engine, search, model, chat, mesh=mesh, place=place)
  sampler = strategies.load(rollout.strategy).make(surroundings, config.strategy)
  searching = tree_search(surroundings, search) if config.eval.search else None
  check_curriculum(CurriculumSettings(**config.curriculum), measured=config.eval.pool)
  *before, last = stages_of(config)
  kinds = {stage: kind_of(config, stage) for stage in (*before, last)}
  most = {stage.name: kind.most(config, stage, sampler.per_sample) for stage, kind in kinds.items()}
  with naming("reward"):
    reward = make_reward(by_path(config.reward), by_path(config.reward_options.to_dict()))
  pack = PackConfig(**config.pack, sequences=most[last.name])
  policy = _policy(model, pack, surroundings, rollout.max_turns, reward, mesh)
  algorithm = make_algorithm(last, policy, optimizer, config.algo, sequences=most[last.name])
  earlier = {s.name: make_earlier(s, policy, optimizer, config[s.name], sequences=most[s.name]) for s in before}
  for stage, kind in kinds.items():
    learns = algorithm if stage.final else earlier[stage.name]
    filtered = bool(config.filters)
    check_source(stage, learns, rewarded=kind.rewarded, sampled=kind.sampled, filtered=filtered)
    acting = [sampler.evaluate_with or sampler, searching] if stage.final else []
    if kind.sampled:
      check_samples(stage, learns, rollout.strategy, sampler, rollout.group_size)
      acting.append(sampler)
    trained = jax.eval_shape(learns.init, keys["init"], params).params
    for each in filter(None, acting):
      check_needs(stage, learns, each, trained)
  return Experiment(
    model=model,
    params=params,
    tokenizer=chat.tokenizer,
    chat=chat,
    tasks=tasks,
    collector=make_collector(rollout, reward, sampler, tasks).serving(algorithm),
    surroundings=surroundings,
    searching=searching,
    filter=make_filters(config.filters, by_path(config.filter_options.to_dict())),
    algorithm=algorithm,
    earlier=earlier,
    mesh=mesh,
    keys=keys,
  )


def _policy(
  model: ModelConfig, pack: PackConfig, surroundings: Surroundings, max_turns: int, reward: Reward, mesh: Mesh
) -> Policy:
  """What algorithms need to know of the policy, of the shape of its batches and of the devices."""
  return Policy(
    model=model,
    pack=pack,
    max_turns=max_turns,
    sampler=surroundings.utterances,
    reward_weights=tuple(reward.weights.items()),
    place_batch=functools.partial(sharding.place_batch, mesh=mesh),
    place_hidden=sharding.place_hidden_on(mesh),
    linear_logprob=sharding.linear_logprob_on(mesh, model),
  )


def whole_on_devices(params: Any, mesh: Mesh) -> Any:
  """Params as a driver takes them, whole on every device."""
  return jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
