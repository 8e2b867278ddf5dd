"""From a config to the parts of a run: the one place where names in a config become objects."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from agentrl import algorithms, envs
from agentrl.algorithms.contract import Algorithm, Policy
from agentrl.batching.filters import Filter, make_filters
from agentrl.batching.pack import PackConfig
from agentrl.models import chat, transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.rewards.combine import make_reward
from agentrl.rollout import strategies
from agentrl.rollout.driver import Drivers
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.strategies.contract import Sampler, Surroundings
from agentrl.rollout.strategies.tree_search import tree_search
from agentrl.rollout.strategies.utterances import UtteranceSampler
from agentrl.training import jax_flags, sharding
from agentrl.training.build.chat import ChatSettings
from agentrl.training.build.model import ModelSettings, load_policy
from agentrl.training.build.optimizer import OptimizerSettings, make_optimizer
from agentrl.training.build.tasks import open_tasks
from agentrl.training.collect import Collector
from agentrl.training.config import by_path, resolve
from agentrl.training.defaults import check_numbers
from agentrl.training.sources import kind_of
from agentrl.training.stages import Stage, stages_of


@dataclasses.dataclass(frozen=True)
class Assembly:
  """The parts of a run.

  Attributes:
    keys: base keys by use; each is only ever folded, never consumed.
    params: the policy's initial params, on the mesh.
    surroundings: what the strategy was made of, and others may be.
    searching: searches beside the samples of an evaluation; None: nothing does.
    filter: what chooses the trajectories that are trained on.
    algorithm: of the last stage.
    earlier: the algorithms of the stages before it, by name.
  """

  model: transformer.ModelConfig
  params: Any
  tokenizer: Tokenizer
  chat: chat.ChatFormat
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

  def place(self, state: Any) -> Any:
    """Puts a learner state on the mesh by the sharding rules."""
    specs = transformer.weight_specs(self.model)
    return jax.tree.map(jax.device_put, state, sharding.state_shardings(state, specs, self.mesh))

  def zeros_of(self, name: str) -> Any:
    """Zeros in the shape of an entry of the algorithm's params; a value head of zeros says 0, as before RL."""
    shapes = jax.eval_shape(self.algorithm.init, jax.random.key(0), self.params).params[name]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  @property
  def acts_by(self) -> tuple[str, ...]:
    """What acting reads of a learner's params beside the policy: the value head of a search, the critic of a judge."""
    samplers = (self.searching, self.collector.sampler)
    return tuple(dict.fromkeys(name for sampler in samplers if sampler for name in sampler.needs.params))

  def driver_params(self, params: Any) -> Any:
    """What collections need of a learner's params: the policy and, as far as it is there, what `acts_by`; whole."""
    names = ("policy", *(name for name in self.acts_by if name in params))
    return _whole({name: params[name] for name in names}, self.mesh)


def assemble(config: ConfigDict) -> Assembly:
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
    return _assemble(config, tasks, keys, mesh)
  except BaseException:
    tasks.close()
    raise


def _assemble(config: ConfigDict, tasks: envs.TaskSource, keys: Mapping[str, jax.Array], mesh: Mesh) -> Assembly:
  model, params, chat_format = load_policy(
    ModelSettings(**config.model),
    ChatSettings(**config.chat),
    tasks,
    keys["init"],
    max_tokens=config.rollout.max_tokens,
  )
  surroundings = _surroundings(config, model, chat_format, mesh)
  sampler = strategies.load(config.rollout.strategy).make(surroundings, config.strategy)
  searching = tree_search(surroundings, surroundings.search) if config.eval.search else None
  *before, last = stages_of(config)
  most = kind_of(config, last).most(config, last, sampler.per_sample)
  policy = Policy(
    model=model,
    pack=PackConfig(**config.pack, sequences=most),
    max_turns=config.rollout.max_turns,
    sampler=surroundings.utterances,
    place_batch=functools.partial(sharding.place_batch, mesh=mesh),
    place_hidden=sharding.place_hidden_on(mesh),
    linear_logprob=sharding.linear_logprob_on(mesh, model),
  )
  algorithm = _algorithm(config, policy)
  _check_samples(config, sampler, algorithm)
  trained = jax.eval_shape(algorithm.init, keys["init"], params).params
  for each in filter(None, (sampler, searching)):
    _check_needs(config, each, algorithm, trained)
  return Assembly(
    model=model,
    params=params,
    tokenizer=chat_format.tokenizer,
    chat=chat_format,
    tasks=tasks,
    collector=_collector(config, sampler, algorithm, tasks),
    surroundings=surroundings,
    searching=searching,
    filter=make_filters(config.filters, by_path(config.filter_options.to_dict())),
    algorithm=algorithm,
    earlier={stage.name: _earlier(config, stage, policy, sampler.per_sample) for stage in before},
    mesh=mesh,
    keys=keys,
  )


def check_sizes(config: ConfigDict) -> None:
  """Raises ValueError where a trajectory could be longer, or hold more actions, than a row of the update."""
  rollout, pack = config.rollout, config.pack
  if rollout.max_tokens > pack.row_tokens:
    raise ValueError(
      f"rollout.max_tokens={rollout.max_tokens} exceeds pack.row_tokens={pack.row_tokens}: "
      "a trajectory must fit into a row of the update"
    )
  actions = most_actions(config)
  if actions > pack.row_actions:
    raise ValueError(
      f"pack.row_actions={pack.row_actions} is too small for a trajectory of {actions} sampled tokens, which "
      f"rollout.max_tokens={rollout.max_tokens}, rollout.max_turns={rollout.max_turns} and "
      f"rollout.turn_tokens={rollout.turn_tokens} allow: raise pack.row_actions to {actions}, or bound the turns by "
      f"rollout.turn_tokens={max(1, pack.row_actions // rollout.max_turns)}"
    )


def most_actions(config: ConfigDict) -> int:
  """The most tokens that a trajectory may sample: all but one token of the prompt, or as many as its turns may hold."""
  room = config.rollout.max_tokens - 1
  return min(room, config.rollout.max_turns * config.rollout.turn_tokens) if config.rollout.turn_tokens else room


def _algorithm(config: ConfigDict, policy: Policy) -> Algorithm:
  module = _named("algorithm", algorithms.load, config.algorithm)
  settings = resolve(module.default_config(), config.algo, where=f"algo (of algorithm {config.algorithm!r})")
  steps = module.optimizer_steps(settings, config.train.steps)
  return module.make(
    policy, make_optimizer(OptimizerSettings(**config.optimizer), steps, module.heads(settings)), settings
  )


def _earlier(config: ConfigDict, stage: Stage, policy: Policy, per_sample: int) -> Algorithm:
  """The algorithm of a stage before the last: with the run's optimiser settings, at a rate of its own."""
  section = config[stage.name]
  settings = dataclasses.replace(
    OptimizerSettings(**config.optimizer), learning_rate=section.learning_rate, value_warmup=0, schedule=stage.schedule
  )
  most = kind_of(config, stage).most(config, stage, per_sample)
  policy = policy._replace(pack=dataclasses.replace(policy.pack, sequences=most))
  module = _named(f"{stage.name}.algorithm", algorithms.load, stage.algorithm)
  chosen = module.default_config()
  steps = module.optimizer_steps(chosen, stage.steps)
  optimizer = make_optimizer(settings, steps, module.heads(chosen), section=stage.scheduled_by)
  return module.make(policy, optimizer, chosen)


def _surroundings(config, model: transformer.ModelConfig, chat_format: chat.ChatFormat, mesh: Mesh) -> Surroundings:
  rollout = config.rollout
  engine = EngineConfig(positions=rollout.max_tokens, **config.engine)
  drivers = Drivers(model, engine, mesh=mesh, compiled=rollout.compiled)
  driver = drivers(chat_format.pause_table(model.vocab_size))
  return Surroundings(
    engine=engine,
    chat=chat_format,
    vocab_size=model.vocab_size,
    driver=driver,
    drivers=drivers,
    utterances=UtteranceSampler(
      driver=driver,
      engine=engine,
      chat=chat_format,
      temperature=rollout.temperature,
      max_tokens=rollout.max_tokens,
      turn_tokens=rollout.turn_tokens,
      place=lambda policy: _whole({"policy": policy}, mesh),
    ),
    group_size=rollout.group_size,
    entropy_window=rollout.entropy_window,
    search=SearchConfig(**config.search),
  )


def _collector(config, sampler: Sampler, algorithm: Algorithm, tasks: envs.TaskSource) -> Collector:
  return Collector(
    sampler=sampler,
    tasks=tasks,
    workers=config.rollout.workers,
    reward=_named("reward", make_reward, by_path(config.reward), by_path(config.reward_options.to_dict())),
    max_tokens=config.rollout.max_tokens,
    max_turns=config.rollout.max_turns,
    turn_tokens=config.rollout.turn_tokens,
    # The pool ends every call that its workers do not: a call that waits there for its turn is not late.
    environment_seconds=config.rollout.environment_seconds if not tasks.pools else math.inf,
    judge=algorithm.judge,
    siblings=algorithm.siblings,
  )


def _check_samples(config, sampler: Sampler, algorithm: Algorithm) -> None:
  """Raises ValueError where the algorithm would learn nothing, or something else, from what the rollouts give it."""
  if algorithm.compares and config.rollout.group_size == 1:
    raise ValueError(
      f"algorithm={config.algorithm!r} compares the samples of a prompt, and with rollout.group_size=1 there is "
      "nothing to compare: raise it"
    )
  if algorithm.siblings and not sampler.siblings:
    raise ValueError(
      "algo.target='visits' is fitted to the visits of a search: it needs rollout.strategy='tree_search', not "
      f"{config.rollout.strategy!r}"
    )


def _check_needs(config, sampler: Sampler, algorithm: Algorithm, trained: Mapping[str, Any]) -> None:
  """Raises ValueError where the algorithm does not train, or has, what a way of sampling needs."""
  needs = sampler.needs
  if any(name not in trained for name in needs.params) or (needs.judge and algorithm.judge is None):
    raise ValueError(f"{needs.why}, and algorithm={config.algorithm!r} has none: {needs.otherwise}")


def _named(section: str, make: Callable[..., Any], *args: Any, **settings: Any) -> Any:
  """Calls `make`; a ValueError names the section of the config that the arguments are from."""
  try:
    return make(*args, **settings)
  except ValueError as error:
    raise ValueError(f"{section}: {error}") from error


def _whole(params: Any, mesh: Mesh) -> Any:
  """Params as a driver takes them, whole on every device."""
  return jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
