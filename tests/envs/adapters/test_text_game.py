"""The rules that all text games share, on a game of five lines; and going back in it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.adapters import text_tasks
from agentrl.envs.adapters.text_game import Reply, SavingTextGame, TextGame, command_of
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, EnvironmentFailed, Message, Task, ToolCall, TurnKind


class Stairs:
  """Three steps up win, one down from the ground loses; "break" and "hang" do what they say."""

  def __init__(self):
    self.closed = 0

  def start(self, task, seed):
    self.floor = 0
    return Reply(f"Climb! Seed {seed}.")

  def send(self, command):
    if command == "break":
      raise OSError("the stairs broke")
    if command == "hang":
      time.sleep(1)
    if command not in ("up", "down"):
      return Reply("What?", self.floor / 3, understood=False)
    self.floor += 1 if command == "up" else -1
    return Reply(f"Floor {self.floor}.", self.floor / 3, won=self.floor == 3, over=self.floor < 0)

  def commands(self):
    return ["down", "up"]

  def save(self):
    return self.floor

  def load(self, saved):
    self.floor = saved

  def close(self):
    self.closed += 1


def make_task(**options):
  given = {"split": "train", "difficulty": 1, "seed": 0, "intro": "Stairs.", "data": {}, "steps": 10} | options
  return text_tasks.make_task("stairs", 7, **given)


def opened(setting=None, kind=TextGame, **options):
  environment = kind(Stairs(), setting)
  environment.opening = environment.reset(make_task(**options), 5)
  return environment


def say(environment, *commands):
  return [environment.step(traces.answer(command)) for command in commands][-1]


def call(environment, *commands):
  calls = tuple(ToolCall("act", {"command": command}) for command in commands)
  return environment.step(Action(TurnKind.TOOL_CALL, "", calls=calls))


# ---- opening ----------------------------------------------------------------------------------------------------


def test_the_first_message_has_rules_goal_and_what_is_seen():
  rules = "Stairs. Say one command in each turn, on one line. The game ends after 10 commands."
  assert opened().opening == [Message("user", f"{rules}\n\nClimb! Seed 5.")]


def test_system_message_and_commands_are_shown_where_they_are_asked_for():
  system, first = opened(Setting("Be brief."), show_commands=True, tool=True).opening
  assert system == Message("system", "Be brief.")
  assert "with the tool act." in first.content
  assert first.content.endswith("Climb! Seed 5.\n\nCommands: down; up")


def test_a_task_of_another_kind_is_refused():
  with pytest.raises(ValueError, match="task t of family 'x' is no text game"):
    TextGame(Stairs()).reset(Task("t", "x", "?"), 0)
  with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
    make_task(steps=0)


# ---- score, reward, parts ---------------------------------------------------------------------------------------


def test_each_turn_is_rewarded_by_the_change_of_the_score_and_winning_ends_the_game():
  game = opened()
  observations = [say(game, command) for command in ("up", "down", "up", "up", "up")]
  assert [round(3 * o.reward) for o in observations] == [1, -1, 1, 1, 1]
  assert [o.text for o in observations] == ["Floor 1.", "Floor 0.", "Floor 1.", "Floor 2.", ""]
  assert [o.done for o in observations] == [False] * 4 + [True]
  assert observations[2].parts == {"correct": 0.0, "score": 1 / 3}
  assert observations[-1].parts == {"correct": 1.0, "score": 1.0}
  with pytest.raises(RuntimeError, match=r"nothing after done"):
    say(game, "up")


def test_a_lost_game_ends_with_its_score():
  assert say(opened(), "down").parts == {"correct": 0.0, "score": -1 / 3}
  assert say(opened(graded=True), "down").parts == {"correct": 0.0, "score": -1 / 3}
  assert say(opened(graded=True), "up").parts == {"correct": 1 / 3, "score": 1 / 3}


# ---- budget and what is not understood --------------------------------------------------------------------------


def test_what_is_not_understood_is_told_and_costs_a_step():
  game = opened(steps=2)
  observation = say(game, "jump")
  assert (observation.text, observation.ok, observation.done) == ("What?", False, False)
  assert say(game, "up").done


@pytest.mark.parametrize(
  ("action", "text"),
  [
    (Action(TurnKind.VOID, ""), "That turn has no command. Say one command in each turn, on one line."),
    (
      Action(TurnKind.MALFORMED, "<", problem="a call never ends."),
      "error: a call never ends. Say one command in each turn, on one line.",
    ),
    (traces.answer(" \n> \n"), "That turn has no command. Say one command in each turn, on one line."),
    (traces.call("act", command="up"), "error: unknown tool 'act'; available: none"),
  ],
)
def test_turns_without_a_command_cost_a_step_each(action, text):
  game = opened(steps=2)
  observation = game.step(action)
  assert (observation.text, observation.ok, observation.done) == (text, False, False)
  assert game.step(action).done


# ---- the tool ---------------------------------------------------------------------------------------------------


def test_the_tool_is_there_for_the_tasks_that_ask_for_it():
  assert TextGame(Stairs()).tools == ()
  assert opened().tools == ()
  (spec,) = opened(tool=True).tools
  assert (spec.name, spec.text_parameter) == ("act", "command")


def test_calls_are_commands_and_each_costs_a_step():
  game = opened(tool=True, steps=4, show_commands=True)
  observation = call(game, "up", "jump")
  assert observation.text == "Floor 1.\n\nCommands: down; up\nWhat?\n\nCommands: down; up"
  assert (observation.ok, round(3 * observation.reward)) == (False, 1)
  assert [result.ok for result in observation.results] == [True, True]
  observation = call(game, "up", "up", "up")
  assert observation.parts == {"correct": 1.0, "score": 1.0}
  assert [result.text for result in observation.results] == [
    "Floor 2.\n\nCommands: down; up",
    "Floor 3.",
    "error: the game is over; this command was not given",
  ]


def test_an_utterance_is_no_command_where_there_is_a_tool():
  game = opened(tool=True, steps=2)
  observation = say(game, "up")
  assert observation.text == "Nothing happens: that is no call. Give one command in each turn, with the tool act."
  assert (observation.ok, observation.parts["score"]) == (False, 0.0)
  assert game.step(traces.call("act")).done


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "act"), [(False, say), (True, call)])
def test_a_game_that_breaks_or_hangs_is_the_environments_failure(tool, act):
  with pytest.raises(EnvironmentFailed, match="stairs-train-1-7: the command 'break' failed: OSError: the stairs"):
    act(opened(tool=tool), "break")
  with pytest.raises(EnvironmentFailed, match=r"the game: .*no answer within 0.1 s"):
    act(opened(Setting(limits=ToolLimits(call_seconds=0.1)), tool=tool), "hang")


def test_closing_frees_the_engine_and_ends_the_episode():
  game = opened()
  game.close()
  assert game._engine.closed == 1
  with pytest.raises(RuntimeError):
    say(game, "up")


def test_long_observations_are_cut_but_the_opening_is_not():
  game = opened(Setting(limits=ToolLimits(max_output_chars=10)), show_commands=True)
  assert game.opening[-1].content.endswith("Commands: down; up")
  assert say(game, "up").text == "Floor 1.\n\n\n[output cut: 28 characters, first 10 shown]"


# ---- commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("text", "command"),
  [
    ("go east", "go east"),
    ("\n\n >  go\teast \nor west", "go east"),
    ("> > look", "look"),
    ("prends le café", "prends le cafe"),
    ("a\x00b\ud800c", "a?b?c"),
    ("x" * 1000, "x" * 150),
    ("", ""),
    (">", ""),
  ],
)
def test_the_command_of_an_utterance(text, command):
  assert command_of(text) == command


@given(st.text())
def test_any_text_is_a_line_of_printable_ascii(text):
  command = command_of(text)
  assert len(command) <= 150
  assert all(" " <= c <= "~" for c in command)
  assert command == command.lstrip()


# ---- going back -------------------------------------------------------------------------------------------------


def test_a_snapshot_brings_back_game_steps_and_score():
  game = opened(kind=SavingTextGame, steps=3)
  say(game, "up")
  snapshot = game.snapshot()
  assert say(game, "up", "up").parts == {"correct": 1.0, "score": 1.0}
  game.restore(snapshot)
  observation = say(game, "down")
  assert (observation.text, round(3 * observation.reward), observation.done) == ("Floor 0.", -1, False)
  other = opened(kind=SavingTextGame, steps=3)
  other.restore(snapshot)
  assert say(other, "up").text == "Floor 2."
  assert say(other, "down").done


def test_a_snapshot_needs_an_open_episode_and_the_same_task():
  game = opened(kind=SavingTextGame)
  snapshot = game.snapshot()
  with pytest.raises(ValueError, match="a snapshot of task stairs-train-1-7 needs an environment that was reset"):
    opened(kind=SavingTextGame, steps=3).restore(snapshot)
  game.close()
  with pytest.raises(RuntimeError, match="outside an episode"):
    game.snapshot()
