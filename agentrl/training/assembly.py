"""From a config to the parts of a run: the one place where names in a config become objects."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from agentrl import algorithms, envs
from agentrl.algorithms.contract import Algorithm, Policy
from agentrl.batching.filters import Filter, make_filters
from agentrl.batching.pack import PackConfig
from agentrl.models import chat, heads, transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.named import check_name
from agentrl.rewards.combine import make_reward
from agentrl.rollout.driver import Driver
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.search.planner import SearchConfig
from agentrl.rollout.search.steps import StepEnd
from agentrl.rollout.strategies.branching import BranchingConfig
from agentrl.rollout.strategies.tree_search import check_search
from agentrl.rollout.utterances import UtteranceSampler
from agentrl.training import jax_flags, sharding
from agentrl.training.build.chat import ChatSettings
from agentrl.training.build.model import ModelSettings, load_policy
from agentrl.training.build.optimizer import OptimizerSettings, make_optimizer
from agentrl.training.build.tasks import open_tasks
from agentrl.training.collect import Collector, Reranker, Searcher
from agentrl.training.config import by_path, resolve
from agentrl.training.defaults import check_numbers


@dataclasses.dataclass(frozen=True)
class Assembly:
  """The parts of a run.

  Attributes:
    keys: base keys by use; each is only ever folded, never consumed.
    params: the policy's initial params, on the mesh.
    searcher: what searches, in rollouts or beside evaluations; None: nothing does.
    filter: what chooses the trajectories that are trained on.
    cold_start: the supervised algorithm that precedes `algorithm`; read only where the config asks for steps of it.
  """

  model: transformer.ModelConfig
  params: Any
  tokenizer: Tokenizer
  chat: chat.ChatFormat
  tasks: envs.TaskSource
  collector: Collector
  searcher: Searcher | None
  filter: Filter
  algorithm: Algorithm
  cold_start: Algorithm
  mesh: Mesh
  keys: Mapping[str, jax.Array]

  def place(self, state: Any) -> Any:
    """Puts a learner state on the mesh by the sharding rules."""
    specs = transformer.weight_specs(self.model)
    return jax.tree.map(jax.device_put, state, sharding.state_shardings(state, specs, self.mesh))

  @property
  def acts_by(self) -> tuple[str, ...]:
    """What acting reads of a learner's params beside the policy: the value head of a search, the critic of a judge."""
    searched = ("value",) if searches_by_value(self.searcher) else ()
    return searched if self.collector.reranker is None else (*searched, "critic")

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
  batch = PackConfig(**config.pack, sequences=config.rollout.groups * config.rollout.group_size * _per_sample(config))
  collector = _collector(config, model, chat_format, tasks, mesh)
  searcher = _searcher(config, model, collector, mesh)
  sampler = _sampler(config, collector, mesh)
  policy = Policy(
    model=model,
    pack=batch,
    max_turns=config.rollout.max_turns,
    sampler=sampler,
    place_batch=functools.partial(sharding.place_batch, mesh=mesh),
    place_hidden=sharding.place_hidden_on(mesh),
    linear_logprob=sharding.linear_logprob_on(mesh, model),
  )
  algorithm = _algorithm(config, policy)
  if config.rollout.strategy == "tree_search":
    collector = dataclasses.replace(collector, searcher=dataclasses.replace(searcher, siblings=algorithm.siblings))
  if config.rollout.strategy == "reranked":
    collector = dataclasses.replace(collector, reranker=_reranker(config, sampler, algorithm))
  _check_samples(config, algorithm)
  if searches_by_value(searcher):
    _require_value(config, algorithm, keys["init"], params)
  return Assembly(
    model=model,
    params=params,
    tokenizer=chat_format.tokenizer,
    chat=chat_format,
    tasks=tasks,
    collector=collector,
    searcher=searcher,
    filter=make_filters(config.filters, by_path(config.filter_options.to_dict())),
    algorithm=algorithm,
    cold_start=_cold_start(config, policy),
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


def _cold_start(config, policy: Policy) -> Algorithm:
  """Supervised learning with the run's optimiser settings at a rate of its own."""
  section = "cold_start" if config.cold_start.schedule else "optimizer"
  settings = dataclasses.replace(
    OptimizerSettings(**config.optimizer),
    learning_rate=config.cold_start.learning_rate,
    value_warmup=0,
    schedule=config[section].schedule,
  )
  policy = policy._replace(pack=dataclasses.replace(policy.pack, sequences=config.cold_start.batch))
  module = algorithms.load("sft")
  algo = module.default_config()
  optimizer = make_optimizer(settings, config.cold_start.steps, module.heads(algo), section=section)
  return module.make(policy, optimizer, algo)


def _collector(config, model, chat_format, tasks, mesh) -> Collector:
  engine = EngineConfig(positions=config.rollout.max_tokens, **config.engine)
  return Collector(
    driver=Driver(
      model, engine, chat_format.pause_table(model.vocab_size), mesh=mesh, compiled=config.rollout.compiled
    ),
    engine=engine,
    chat=chat_format,
    workers=config.rollout.workers,
    tasks=tasks,
    reward=_named("reward", make_reward, by_path(config.reward), by_path(config.reward_options.to_dict())),
    max_tokens=config.rollout.max_tokens,
    max_turns=config.rollout.max_turns,
    turn_tokens=config.rollout.turn_tokens,
    # The pool ends every call that its workers do not: a call that waits there for its turn is not late.
    environment_seconds=config.rollout.environment_seconds if not tasks.pools else math.inf,
    branching=_branching(config, engine),
  )


_STRATEGIES = ("independent", "branching", "tree_search", "reranked")


def _branching(config, engine: EngineConfig) -> BranchingConfig | None:
  """How the samples of a prompt branch; None where they are independent."""
  check_name(_STRATEGIES, config.rollout.strategy, kind="rollout.strategy")
  settings = BranchingConfig(**config.rollout.branching)
  if config.rollout.strategy != "branching":
    return None
  settings.check(config.rollout.group_size, engine)
  return settings


def _searcher(config, model, collector: Collector, mesh) -> Searcher | None:
  """What searches need; None where the config asks for none. Wrong settings are errors either way."""
  search = SearchConfig(**config.search)
  if config.rollout.strategy != "tree_search" and not config.eval.search:
    return None
  check_search(search, collector.engine, collector.chat)
  driver = Driver(
    model,
    collector.engine,
    StepEnd(collector.chat, search.step_end).pause_table(model.vocab_size),
    mesh=mesh,
    compiled=config.rollout.compiled,
    value_of=_value_of if search.evaluate == "value" else None,
  )
  return Searcher(search, driver)


def _reranker(config, sampler: UtteranceSampler, algorithm: Algorithm) -> Reranker:
  """Raises ValueError where the algorithm has nobody to judge."""
  if algorithm.judge is None:
    raise ValueError(
      f"rollout.strategy='reranked' needs critics of utterances, and algorithm={config.algorithm!r} has none: choose "
      "algorithm='archer', or rollout.strategy='independent'"
    )
  return Reranker(sampler, algorithm.judge, config.rollout.reranked.candidates)


def _value_of(params: Any, hidden: jax.Array) -> jax.Array:
  return heads.apply_value_head(params["value"], hidden)


def searches_by_value(searcher: Searcher | None) -> bool:
  """Whether anything searches, and reads the value head."""
  return searcher is not None and searcher.config.evaluate == "value"


def _check_samples(config, algorithm: Algorithm) -> None:
  """Raises ValueError where the algorithm would learn nothing, or something else, from what the rollouts give it."""
  if algorithm.compares and config.rollout.group_size == 1:
    raise ValueError(
      f"algorithm={config.algorithm!r} compares the samples of a prompt, and with rollout.group_size=1 there is "
      "nothing to compare: raise it"
    )
  if algorithm.siblings and config.rollout.strategy != "tree_search":
    raise ValueError(
      "algo.target='visits' is fitted to the visits of a search: it needs rollout.strategy='tree_search', not "
      f"{config.rollout.strategy!r}"
    )


def _require_value(config, algorithm: Algorithm, key: jax.Array, params: Any) -> None:
  """Raises ValueError where a search needs a value head and the algorithm trains none."""
  if "value" not in jax.eval_shape(algorithm.init, key, params).params:
    raise ValueError(
      f"search.evaluate='value' needs a value head, and algorithm={config.algorithm!r} trains none: choose "
      "algorithm='tree_distill' or 'ppo', or search.evaluate='rollout'"
    )


def _per_sample(config) -> int:
  """The most trajectories that one sample gives: its own, and of a search the siblings of every step."""
  if config.rollout.strategy != "tree_search":
    return 1
  return 1 + config.search.depth * (config.search.width - 1)


def _named(section: str, make: Callable[..., Any], *args: Any, **settings: Any) -> Any:
  """Calls `make`; a ValueError names the section of the config that the arguments are from."""
  try:
    return make(*args, **settings)
  except ValueError as error:
    raise ValueError(f"{section}: {error}") from error


def _sampler(config, collector: Collector, mesh: Mesh) -> UtteranceSampler:
  """Single turns for algorithms that ask for them, sampled as the rollouts are."""
  return UtteranceSampler(
    driver=collector.driver,
    engine=collector.engine,
    chat=collector.chat,
    temperature=config.rollout.temperature,
    max_tokens=config.rollout.max_tokens,
    turn_tokens=config.rollout.turn_tokens,
    place=lambda policy: _whole({"policy": policy}, mesh),
  )


def _whole(params: Any, mesh: Mesh) -> Any:
  """Params as a driver takes them, whole on every device."""
  return jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
