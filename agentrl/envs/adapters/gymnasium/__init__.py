"""Gymnasium environments (https://gymnasium.farama.org) with discrete actions, played in text.

The policy writes the name of an action and reads what it sees next. How an environment is worded is a `View`: there
are views of FrozenLake, CliffWalking, Taxi and the levels of MiniGrid and BabyAI; the option `view` names another one,
and without any the actions are those of the option `actions`, or numbers, and what is seen is told as it comes.

The task's own seed decides the whole episode, its chances included, so that all samples of a task meet the same one.
Two tasks that start alike are in the same split.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from agentrl.envs import output
from agentrl.envs.adapters.gymnasium import views
from agentrl.envs.adapters.gymnasium.view import View
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tool import ToolSpec
from agentrl.named import by_name
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, TurnKind


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  env: str = "FrozenLake-v1",
  arguments: Mapping[str, Any] | None = None,
  actions: Sequence[str] = (),
  rules: str = "",
  view: str = "",
  turns: int = 50,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: size of a FrozenLake, from 4 squares a side at 1 to 12 at 9; other environments have 1 alone.
    seed: another sequence of tasks.
    env: id in Gymnasium's registry; "package:Id-v0" imports the package first, which registers it.
    arguments: of `gymnasium.make`.
    actions: names of the actions in their order, in place of the view's.
    rules: what the policy is told first, in place of the view's.
    view: "package.module:NAME" of a `View`; empty for the one that is known, if any.
    turns: after which the episode is over; an utterance that names no action takes one too.

  Raises:
    ValueError: an unknown environment, split or difficulty, or an environment whose actions are not discrete.
  """
  if turns < 1:
    raise ValueError(f"turns must be at least 1, got {turns!r}")
  shown = find_view(env, view)
  if not 1 <= difficulty <= shown.difficulties:
    raise ValueError(f"{env} has difficulties 1 to {shown.difficulties}, not {difficulty!r}")
  base = {"env": env, "view": view, "actions": list(actions), "rules": rules, "turns": turns}

  def candidate(rng: Any) -> tuple[dict[str, Any], str, str]:
    start = rng.randrange(2**31)
    data = base | {"seed": start, "arguments": {**shown.arguments(difficulty, start), **(arguments or {})}}
    world, observation = _started(data)
    try:
      return data, _opening(data, world, observation), shown.content(world, observation)
    finally:
      world.close()

  source = ("gymnasium", env, difficulty, index, seed)
  data, question, _ = splits.draw(candidate, lambda drawn: f"{env} {drawn[2]}", split=split, source=source)
  name = re.sub(r"[^\w-]+", "-", f"gymnasium-{env}")
  return Task(splits.task_id(name, split, difficulty, index, seed), "gymnasium", question, None, difficulty, data)


def environment(setting: Setting) -> GymnasiumGame:
  """A fresh one, for one trajectory."""
  return GymnasiumGame(setting)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """Actions that solve the task where its view can plan, else none.

  Raises:
    ValueError: there is a tool.
  """
  if tool:
    raise ValueError(f"gymnasium takes no tool, not even {tool!r}")
  view = find_view(task.data["env"], task.data["view"])
  if view.solve is None:
    return []
  world, observation = _started(task.data)
  names, choose, said = _names(task.data, world), view.solve(world), []
  try:
    for _ in range(task.data["turns"]):
      action = choose(observation)
      said.append(traces.answer(names[action]))
      observation, _, terminated, truncated, _ = world.step(action)
      if terminated or truncated:
        break
  finally:
    world.close()
  return said


class GymnasiumGame:
  """One episode; every turn of the policy is the name, or the number, of an action.

  An utterance that names none is told so, takes a turn, and is rewarded as a step that achieves nothing. Parts:
  "correct", 1 where the environment ended with a reward above the view's `success_reward`, and "return", the sum of
  rewards. Until the episode is over the turns that are left count as steps that achieve nothing.

  Args:
    setting: system message and examples; there is no tool to limit.
  """

  def __init__(self, setting: Setting | None = None):
    self._setting = Setting() if setting is None else setting
    self._world: gymnasium.Env | None = None
    self._open = False

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """None."""
    return ()

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the task's episode, which has a seed of its own.

    Raises:
      ValueError: the task is not one of this family's.
    """
    del seed
    if not {"env", "view", "seed", "turns"} <= set(task.data):
      raise ValueError(f"task {task.id} of family {task.family!r} names no Gymnasium environment and seed")
    self.close()
    self._view = find_view(task.data["env"], task.data["view"])
    self._world, _ = _started(task.data)
    self._names = _names(task.data, self._world)
    self._left, self._return, self._open = task.data["turns"], 0.0, True
    return [*self._setting.opening, Message("user", task.question)]

  def step(self, action: Action) -> Observation:
    """Plays one action.

    Raises:
      EnvironmentFailed: the environment broke.
      NoEpisode: none is open.
    """
    if not self._open:
      raise NoEpisode()
    chosen = _read(action.answer, self._names) if action.kind is TurnKind.ANSWER else None
    if chosen is None:
      return self._answer(f"Unknown action. Say one of: {', '.join(self._names)}.", self._view.idle_reward, ok=False)
    try:
      observation, reward, terminated, truncated, _ = self._world.step(chosen)
      text = self._view.describe(self._world, observation)
    except Exception as error:
      raise EnvironmentFailed(f"{self._world.spec.id} broke: {output.error_line(error)}") from error
    won = bool(terminated) and reward > self._view.success_reward
    return self._answer(text, float(reward), done=bool(terminated or truncated), won=won)

  def close(self) -> None:
    """Ends the episode."""
    self._open = False
    if self._world is not None:
      self._world.close()
      self._world = None

  def _answer(self, text: str, reward: float, *, done: bool = False, won: bool = False, ok: bool = True) -> Observation:
    self._left -= 1
    self._return += reward
    if done or self._left == 0:
      self._open = False
      return Observation("", done=True, parts=self._parts(won, self._return), ok=ok, reward=reward)
    lost = self._return + self._left * self._view.idle_reward
    return Observation(text, parts=self._parts(False, lost), ok=ok, reward=reward)

  def _parts(self, won: bool, total: float) -> dict[str, float]:
    return {"correct": float(won), "return": total}


@functools.cache
def find_view(env: str, view: str) -> View:
  """The view that an import path names, or the known one of an environment, or that of any environment.

  Raises:
    ValueError: the path names none.
    ModuleNotFoundError: there is no such module.
  """
  if not view:
    return views.known(env.rpartition(":")[2])
  found = by_name({}, view, kind="view") if ":" in view else None
  if not isinstance(found, View):
    raise ValueError(f"view={view!r} is no View; it is written package.module:NAME")
  return found


def _started(data: Mapping[str, Any]) -> tuple[gymnasium.Env, Any]:
  """The environment of a task after its reset, and its first observation."""
  arguments = dict(data["arguments"])
  try:
    world = gymnasium.make(data["env"], max_episode_steps=-1, disable_env_checker=True, **arguments)
  except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
    raise ValueError(f"env={data['env']!r} with {arguments}: {output.error_line(error)}") from error
  if not isinstance(world.action_space, gymnasium.spaces.Discrete):
    raise ValueError(f"{data['env']} has the actions {world.action_space}; only discrete ones can be said in words")
  observation, _ = world.reset(seed=data["seed"])
  return world, observation


def _names(data: Mapping[str, Any], world: gymnasium.Env) -> list[str]:
  count = int(world.action_space.n)
  names = list(data["actions"] or find_view(data["env"], data["view"]).actions or map(str, range(count)))
  if len(names) != count:
    raise ValueError(f"{data['env']} has {count} actions, and {len(names)} names are given: {names}")
  return names


def _opening(data: Mapping[str, Any], world: gymnasium.Env, observation: Any) -> str:
  """Rules, actions and the first observation."""
  view = find_view(data["env"], data["view"])
  rules = data["rules"] or view.rules or f"Play {data['env']}."
  return f"{rules}\nActions: {', '.join(_names(data, world))}.\n\n{view.describe(world, observation)}"


def _read(said: str | None, names: Sequence[str]) -> int | None:
  """The action that an utterance names, case, outer spaces, quotes and a full stop aside."""
  word = " ".join((said or "").split()).strip(" .!\"'`").casefold()
  numbers = {str(number): number for number in range(len(names))}
  numbers |= {name.casefold(): number for number, name in enumerate(names)}
  return numbers.get(word)
