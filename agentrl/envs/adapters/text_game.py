"""Text games: what their worlds have in common.

A game reads commands and answers in text; an `Engine` runs one, and `TextGame` makes an environment of it:

  a turn      is one command. In the dialogue style it is the utterance: its first line with any text, without a leading
              ">", what follows is dropped. With the option `tool` it is a call of `act(command)`; several calls in a
              turn are several commands.
  budget      the game ends after `steps` commands. A turn without any (void, malformed, unknown tool, an utterance
              where a call was due) costs one as well, so that every episode ends.
  not known   a command that the game does not understand is told so in the game's own words, `ok` is False, and it
              costs a step like any other.
  reward      of a turn: by how much it changed the score.
  parts       "correct" is 1 where the game is won, else 0; with the option `graded` it is the score, at least 0.
              "score" is the game's own, 1 at best. Before the end they say what the episode is worth if cut off there.

A game that takes too long or breaks is `EnvironmentFailed`, in both styles: it is the environment, not a tool.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agentrl.envs import output
from agentrl.envs.adapters import text_tasks
from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.deadline import DeadlinePassed, call_within
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Tool, ToolRunner, ToolSpec, given_tool
from agentrl.types import Action, EnvironmentFailed, Message, Observation, Task, ToolFailure, TurnKind

_COMMAND_CHARS = 150  # no command of any game here is longer, and interpreters cut at about 200
_ACT = ToolSpec(
  "act",
  "Gives the game one command and returns what happens.",
  {
    "type": "object",
    "properties": {"command": {"type": "string", "description": "such as: open door"}},
    "required": ["command"],
  },
)


@dataclasses.dataclass(frozen=True)
class Reply:
  """What a game answers.

  Attributes:
    text: what the player reads.
    score: so far, 1 at best; may be negative where the game has penalties.
    won: the game is won.
    over: there is nothing more to do, won or not.
    understood: False where the game could not read the command.
  """

  text: str
  score: float = 0.0
  won: bool = False
  over: bool = False
  understood: bool = True


class Engine(Protocol):
  """Runs one game. Any exception of `start`, `send` and `commands` is the environment's failure."""

  def start(self, task: Task, seed: int) -> Reply:
    """Starts the game of a task, or starts it over; the reply opens it and names its goal."""

  def send(self, command: str) -> Reply:
    """Gives it a command: printable ASCII on one line, not empty."""

  def commands(self) -> Sequence[str]:
    """Commands that would do something now; asked for only where the task shows them."""

  def close(self) -> None:
    """Frees everything; also before `start`, after a failure, and twice."""


class SavingEngine(Engine, Protocol):
  """One that can go back to a state."""

  def save(self) -> Any:
    """The state of the game; later commands leave it as it is."""

  def load(self, saved: Any) -> None:
    """Goes back to a state of the same task, saved here or by another engine."""


class TextGame:
  """An environment over an engine; see the module's docstring.

  Args:
    engine: not started yet.
    setting: system message, examples, and limits, which hold for commands in both styles.
  """

  def __init__(self, engine: Engine, setting: Setting | None = None):
    self._engine = engine
    self._setting = Setting() if setting is None else setting
    self._task: Task | None = None  # of the open episode
    self._started: Task | None = None  # of the last reset
    self._runner = ToolRunner({}, self._setting.limits)

  @property
  def tools(self) -> Sequence[ToolSpec]:
    """`act`, in an episode whose task has the option `tool`."""
    return self._runner.specs

  def reset(self, task: Task, seed: int) -> list[Message]:
    """Starts the game; the last message has rules, goal and what the player sees.

    Raises:
      EnvironmentFailed: the game does not start.
      ValueError: the task is not one of a text game.
    """
    if not {"steps", "tool", "show_commands", "graded"} <= set(task.data):
      raise ValueError(f"task {task.id} of family {task.family!r} is no text game; make it with the family's generate")
    self._task = self._started = task
    tools = {"act": Tool(_ACT, given_tool(_ACT, self._act).bind, self._act)} if task.data["tool"] else {}
    self._runner = ToolRunner(tools, self._setting.limits)
    self._spent = 0
    self._reply = self._guarded("starting the game", lambda: self._engine.start(task, seed))
    shown = self._guarded("listing the commands", self._shown)
    return [*self._setting.opening, Message("user", f"{task.question}\n\n{output.clean(shown, len(shown) + 1)}")]

  def step(self, action: Action) -> Observation:
    """Answers one turn.

    Raises:
      EnvironmentFailed: the game broke, or did not answer in time.
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode()
    spent, before = self._spent, self._reply.score
    observation = self._turn(action)
    self._spent = max(self._spent, spent + 1)
    observation = dataclasses.replace(observation, parts=self._parts(), reward=self._reply.score - before)
    if not self._is_over:
      return observation
    self._task = None
    return dataclasses.replace(observation, text="", done=True)

  def close(self) -> None:
    """Ends the game and frees what it holds."""
    self._task = self._started = None
    self._engine.close()

  @property
  def _is_over(self) -> bool:
    return self._reply.over or self._reply.won or self._spent >= self._task.data["steps"]

  def _parts(self) -> dict[str, float]:
    score, won = float(self._reply.score), float(self._reply.won)
    return {"correct": max(0.0, score) if self._task.data["graded"] else won, "score": score}

  def _turn(self, action: Action) -> Observation:
    if action.kind is TurnKind.TOOL_CALL:
      return self._called(action)
    if action.kind is not TurnKind.ANSWER:
      problem = f"error: {action.problem}" if action.kind is TurnKind.MALFORMED else "That turn has no command."
      return self._refused(f"{problem} {self._how}")
    if self._task.data["tool"]:
      return self._refused(f"Nothing happens: that is no call. {self._how}")
    try:
      text = call_within(self._setting.limits.call_seconds, lambda: self._act(action.answer))
    except DeadlinePassed as error:
      raise EnvironmentFailed(f"task {self._task.id}: the game: {error}") from error
    except ToolArgumentError as error:
      return self._refused(str(error))
    return Observation(output.clean(text, self._setting.limits.max_output_chars), ok=self._reply.understood)

  def _called(self, action: Action) -> Observation:
    observation = self._runner.run(action.calls)
    if late := [result for result in observation.results if result.failure is ToolFailure.TIMEOUT]:
      raise EnvironmentFailed(f"task {self._task.id}: the game: {late[0].text}")
    return dataclasses.replace(observation, ok=observation.ok and self._reply.understood)

  def _refused(self, text: str) -> Observation:
    return Observation(output.clean(text, self._setting.limits.max_output_chars), ok=False)

  @property
  def _how(self) -> str:
    return text_tasks.how_to_play(self._task.data["tool"])

  def _act(self, command: str) -> str:
    """Gives the game a command; what the policy reads."""
    if self._is_over:
      raise ToolArgumentError("the game is over; this command was not given")
    line = command_of(command)
    if not line:
      raise ToolArgumentError(f"That turn has no command. {self._how}")
    self._spent += 1
    self._reply = self._guarded(f"the command {line!r}", lambda: self._engine.send(line))
    return self._reply.text if self._is_over else self._guarded("listing the commands", self._shown)

  def _shown(self) -> str:
    """The last reply, with the commands that would do something where the task wants them."""
    if not self._task.data["show_commands"]:
      return self._reply.text
    return f"{self._reply.text}\n\nCommands: {'; '.join(self._engine.commands())}"

  def _guarded(self, what: str, function: Callable[[], Any]) -> Any:
    try:
      return function()
    except EnvironmentFailed:
      raise
    except Exception as error:
      raise EnvironmentFailed(f"task {self._task.id}: {what} failed: {output.error_line(error)}") from error


@dataclasses.dataclass(frozen=True)
class Snapshot:
  """A moment of an episode: of which task, steps spent, last reply, and the engine's state."""

  task: Task
  spent: int
  reply: Reply
  saved: Any


class SavingTextGame(TextGame):
  """A text game that can go back, so that a search or a branch need not act again what was done before."""

  def __init__(self, engine: SavingEngine, setting: Setting | None = None):
    super().__init__(engine, setting)
    self._saving = engine

  def snapshot(self) -> Snapshot:
    """The open episode as it is now; it stays valid after `close`.

    Raises:
      NoEpisode: none is open.
    """
    if self._task is None:
      raise NoEpisode("snapshot")
    return Snapshot(self._task, self._spent, self._reply, self._saving.save())

  def restore(self, snapshot: Snapshot) -> None:
    """Goes back to a moment of this episode, or of another environment's that was reset with the same task.

    An episode that is over is open again then.

    Raises:
      ValueError: this environment was last reset with another task, or never.
    """
    if self._started != snapshot.task:
      raise ValueError(f"a snapshot of task {snapshot.task.id} needs an environment that was reset with that task")
    self._saving.load(snapshot.saved)
    self._task, self._spent, self._reply = snapshot.task, snapshot.spent, snapshot.reply


def command_of(text: str) -> str:
  """The command in an utterance: its first line with any text, as printable ASCII with single spaces."""
  plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
  lines = (" ".join(line.split()).lstrip("> ") for line in plain.splitlines())
  first = next((line for line in lines if line), "")
  return "".join(c if " " <= c <= "~" else "?" for c in first[:_COMMAND_CHARS])
