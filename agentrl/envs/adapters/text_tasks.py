"""Tasks and demonstrations of text games, which `text_game.py` plays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrl.envs.tasks.shared import splits, traces
from agentrl.types import Action, Task


def how_to_play(tool: bool) -> str:
  """What a turn is, in words for the player."""
  return "Give one command in each turn, with the tool act." if tool else "Say one command in each turn, on one line."


def make_task(
  family: str,
  index: int,
  *,
  split: str,
  difficulty: int,
  seed: int,
  intro: str,
  data: dict[str, Any],
  steps: int,
  tool: bool = False,
  show_commands: bool = False,
  graded: bool = False,
) -> Task:
  """A task of a text game.

  Args:
    family: its name.
    index: which one.
    split: "train" or "held_out".
    difficulty: as the family counts it.
    seed: another sequence of tasks.
    intro: what kind of game it is, in words for the player.
    data: what the family's engine needs.
    steps: commands after which the game is over. `rollout.max_turns` should be as many.
    tool: commands are calls of the tool `act`, rather than utterances.
    show_commands: every observation lists the commands that would do something, as far as they fit into the limit
      of the output.
    graded: the part "correct" is the score, at least 0, rather than 1 for a game that is won.

  Raises:
    ValueError: fewer than one step.
  """
  if steps < 1:
    raise ValueError(f"steps must be at least 1, got {steps!r}")
  return Task(
    id=splits.task_id(family, split, difficulty, index, seed),
    family=family,
    question=f"{intro} {how_to_play(tool)} The game ends after {steps} commands.",
    difficulty=difficulty,
    data=data | {"steps": steps, "tool": tool, "show_commands": show_commands, "graded": graded},
  )


def pick_game(games: Sequence[str], name: str, index: int, *, family: str) -> tuple[str, int]:
  """Which of several games a task plays, and which task of that game it is.

  Args:
    games: of the family.
    name: one of them, or "all": then they take turns.
    index: of the task.
    family: for the error.

  Raises:
    ValueError: no such game.
  """
  if name == "all":
    return games[index % len(games)], index // len(games)
  if name not in games:
    raise ValueError(f"{family} has no game {name!r}; known: all, {', '.join(games)}")
  return name, index


def shuffled(count: int, place: int, split: str, source: tuple) -> int:
  """Entry `place` of `count` entries in an order of `source`'s own, anew in each round; as `splits.generator`."""
  turn, place = divmod(place, count)
  order = list(range(count))
  splits.generator(split, (*source, turn)).shuffle(order)
  return order[place]


def play(commands: Sequence[str], task: Task, tool: str) -> list[Action]:
  """Commands as the actions of an oracle, in the task's style.

  Raises:
    ValueError: a tool is asked for, or there are more commands than steps.
  """
  if tool:
    raise ValueError(f"{task.family} tasks cannot be solved with the tool {tool!r}: they are games with commands alone")
  if len(commands) > task.data["steps"]:
    raise ValueError(
      f"task {task.id} has {task.data['steps']} steps and its demonstration takes {len(commands)}; raise steps"
    )
  if task.data["tool"]:
    return [traces.call("act", command=command) for command in commands]
  return [traces.answer(command) for command in commands]
