import dataclasses
import subprocess
import sys

import pytest

from agentrl import envs
from agentrl.envs.base import Setting
from agentrl.envs.hosting import Hosting
from agentrl.types import Action, Message, ToolCall, TurnKind


def test_a_source_serves_tasks_and_fresh_environments():
  source = envs.make("arithmetic", "calculator", difficulty=2, options={"seed": 3}, system="Be brief.")
  task = source.task(5, "held_out")
  assert task.id == "arithmetic-held_out-2-5-3"
  environment = source.environment()
  assert environment is not source.environment()
  assert environment.reset(task, 0) == [Message("system", "Be brief."), Message("user", task.question)]
  assert list(source.tools) == list(environment.tools)
  assert [tool.name for tool in source.tools] == ["calculate"]
  with pytest.raises(dataclasses.FrozenInstanceError):
    source.tools = ()


def test_an_empty_system_message_is_none():
  source = envs.make("arithmetic", "none")
  task = source.task(0, "train")
  assert source.environment().reset(task, 0) == [Message("user", task.question)]
  assert list(source.tools) == []


def test_examples_are_solved_tasks_that_training_does_not_reach():
  source = envs.make("arithmetic", "calculator", examples=2)
  task = source.task(0, "train")
  opening = source.environment().reset(task, 0)
  assert [message.role for message in opening] == ["user", "assistant", "tool", "assistant"] * 2 + ["user"]
  question, call, output, answer = opening[:4]
  example = source.task(2**31 - 1, "train")
  assert question.content == example.question
  calls = (ToolCall("calculate", {"expression": example.data["expression"]}),)
  assert call == Message("assistant", action=Action(TurnKind.TOOL_CALL, "", calls=calls))
  assert output == Message("tool", example.answer, name="calculate")
  assert answer == Message("assistant", action=Action(TurnKind.ANSWER, "", answer=example.answer))
  assert opening[4].content == source.task(2**31 - 2, "train").question
  assert opening[-1] == Message("user", task.question)


def test_examples_show_every_lookup():
  opening = envs.make("key_lookup", "lookup", difficulty=3, options={"unknown": 1.0}, examples=1)
  messages = opening.environment().reset(opening.task(0, "train"), 0)
  assert [message.role for message in messages] == ["user", *["assistant", "tool"] * 2, "assistant", "user"]
  assert messages[4] == Message("tool", "no such key", name="lookup")


def test_a_world_brings_its_own_environment():
  source = envs.make("twenty_questions", "", options={"table": "sixteen"}, system="Be brief.")
  task, environment = source.task(0, "train"), source.environment()
  assert environment is not source.environment()
  assert environment.reset(task, 0) == [Message("system", "Be brief."), Message("user", "What is it?")]
  assert list(source.tools) == list(environment.tools) == []
  seen = [environment.step(action) for action in source.oracle(task)]
  assert seen[-1].parts == {"correct": 1.0, "return": -float(len(seen) - 1)}


def test_example_games_show_every_reply():
  source = envs.make("twenty_questions", "", options={"table": "sixteen"}, examples=1)
  opening = source.environment().reset(source.task(0, "train"), 0)
  example = source.task(2**31 - 1, "train")
  turns = source.oracle(example)
  assert [m.role for m in opening] == ["user", *["assistant", "user"] * len(turns)]
  assert [m.action for m in opening if m.role == "assistant"] == turns
  assert {m.content for m in opening[2:-2:2]} <= {"Yes.", "No."}
  with pytest.raises(ValueError, match="was not solved by its oracle"):
    envs.make("twenty_questions", "", options={"table": "sixteen", "turns": 1, "demonstrator": "careless"}, examples=1)


def test_limits_reach_the_environment():
  source = envs.make("arithmetic", "calculator", max_output_chars=3)
  environment = source.environment()
  environment.reset(source.task(0, "train"), 0)
  call = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("calculate", {"expression": "10**9"}),))
  assert environment.step(call).text == "100\n[output cut: 10 characters, first 3 shown]"
  with pytest.raises(ValueError, match="call_seconds must be positive, got -1"):
    envs.make("arithmetic", "calculator", call_seconds=-1)


@pytest.mark.parametrize(
  ("arguments", "error", "words"),
  [
    (("aritmetic", "calculator"), ValueError, "no task family is called 'aritmetic': did you mean 'arithmetic'"),
    (("arithmetic", "calc"), ValueError, "no tool is called 'calc': did you mean 'calculator'"),
    (("arithmetic", ""), ValueError, "arithmetic tasks need a tool: none, calculator, .*'' is for guess_city, "),
    (("twenty_questions", "none"), ValueError, "twenty_questions brings its own tools or has none, and takes no tool"),
    (("arithmetic", "lookup"), ValueError, "arithmetic tasks cannot be solved with the tool 'lookup'"),
    (("key_lookup", "calculator"), ValueError, "key_lookup with 0 hops cannot be solved with the tool 'calculator'"),
  ],
)
def test_wrong_names_are_errors_when_the_source_is_made(arguments, error, words):
  with pytest.raises(error, match=words):
    envs.make(*arguments)


def test_wrong_options_are_errors_when_the_source_is_made():
  with pytest.raises(ValueError, match="no option of the family 'word_problems' is called 'kind': did you mean 'ki"):
    envs.make("word_problems", "calculator", options={"kind": ["sum"]})
  with pytest.raises(ValueError, match="arithmetic has difficulties 1 to 3, not 9"):
    envs.make("arithmetic", "calculator", difficulty=9)


@pytest.mark.parametrize(
  "arguments",
  [
    {"family": "word_problems", "options": {"json:dumps": 1}},
    {"family": "arithmetic", "tool_options": {"json:dumps": 1}},
    {"family": "twenty_questions", "tool": "", "options": {"demonstrator": "json:dumps"}},
  ],
)
def test_what_cannot_be_yours_has_no_import_path(arguments):
  with pytest.raises(ValueError, match=r"is called 'json:dumps': .*known: [a-z, _]*$"):
    envs.make(**{"tool": "calculator", **arguments})


@pytest.mark.parametrize("family", ["aritmetic", "json:dumps", ""])
def test_a_family_of_yours_is_a_module(family):
  with pytest.raises(ValueError, match=r"no task family is .* yours is written as its import path, module$"):
    envs.make(family, "calculator")


def own_module(folder, **names):
  """A module called `mine` that has these functions."""
  (folder / "mine.py").write_text("\n".join(f"{name} = {value}" for name, value in names.items()) + "\n")


@pytest.fixture
def import_folder(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  yield tmp_path
  sys.modules.pop("mine", None)


def test_a_module_that_is_no_family_says_what_it_lacks(import_folder):
  own_module(import_folder, generate="print")
  with pytest.raises(ValueError, match="the module 'mine' is no task family: it lacks oracle, either environment or"):
    envs.make("mine", "")


def test_a_tool_of_yours_is_named_by_its_import_path(import_folder):
  (import_folder / "mine.py").write_text("""
from agentrl.envs.tool import Toolset

class Twice(Toolset):
  def __init__(self, most):
    self.most = most

  def double(self, number: int) -> str:
    \"""Doubles a number.\"""
    return str(min(2 * number, self.most))

def twice(limits, *, most=100):
  return Twice(most)
""")
  with pytest.raises(ValueError, match="no option of the tool 'mine:twice' is called 'least': did you mean 'most'"):
    envs.make("arithmetic", "mine:twice", tool_options={"least": 1}, oracle_tool="none")
  source = envs.make("arithmetic", "mine:twice", tool_options={"most": 50}, oracle_tool="none")
  environment = source.environment()
  environment.reset(source.task(0, "train"), 0)
  calls = [Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("double", {"number": n}),)) for n in (21, 30)]
  assert [environment.step(call).text for call in calls] == ["42", "50"]


def test_options_that_a_family_hands_on_are_checked_too(import_folder):
  hands_on = "lambda index, *, split, difficulty=1, **options: (lambda game: game)(**options)"
  own_module(import_folder, generate=hands_on, oracle="print", environment="print")
  with pytest.raises(ValueError, match=r"the family 'mine' does not take all of these options: .*'steps'"):
    envs.make("mine", "", options={"steps": 3})


@pytest.mark.parametrize("family", ["nowhere.hidden", "os.hidden"])
def test_a_module_that_is_not_there_is_told_with_where_to_put_it(family):
  with pytest.raises(ModuleNotFoundError, match=f"for the task family '{family}'.*PYTHONPATH=."):
    envs.make(family, "")


def test_what_a_module_itself_lacks_is_another_error(import_folder):
  own_module(import_folder, generate="__import__('not_installed')")
  with pytest.raises(ModuleNotFoundError, match=r"^No module named 'not_installed'"):
    envs.make("mine", "")


def test_a_tool_that_solves_nothing_is_a_wrong_setting_in_a_worker_too():
  with pytest.raises(ValueError, match="key_lookup with 0 hops cannot be solved with the tool 'calculator'"):
    envs.make("key_lookup", "calculator", hosting=Hosting(1))


def test_an_example_whose_oracle_fails_is_an_error():
  with pytest.raises(ValueError, match="example arithmetic-train-1-2147483647 was not solved by its oracle"):
    envs._solved(
      envs.make("arithmetic", "none").environment(),
      envs.make("arithmetic", "none").task(2**31 - 1, "train"),
      [Action(TurnKind.ANSWER, "", answer="wrong")],
      Setting(),
    )


def test_environments_and_rewards_load_neither_jax_nor_the_python_tool():
  code = (
    "import sys; from agentrl import envs; from agentrl.rewards import combine;"
    "envs.make('arithmetic', 'calculator'); print({'jax', 'agentrl.envs.sandbox'} & set(sys.modules))"
  )
  run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert run.stdout == "set()\n"
