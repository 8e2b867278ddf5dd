"""Several families as one source: whose turn it is, and that every task meets the environment of its entry."""

import collections
import contextlib
import dataclasses
import itertools

import pytest

from agentrl import envs
from agentrl.envs import mixture
from agentrl.envs.base import NoEpisode
from agentrl.envs.hosting import Hosting
from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.episode import Episode, Request
from agentrl.types import Action, ToolCall, TurnKind

WEIGHTS = [
  {"a": 1.0},
  {"a": 1.0, "b": 1.0},
  {"a": 2.0, "b": 1.0, "c": 1.0},
  {"a": 0.7, "b": 0.2, "c": 0.1},
  {"a": 5.0, "b": 1.5, "c": 1.25, "d": 0.25},
  {"a": 1 / 3, "b": 2 / 3},
]
MIXTURE = {
  "sums": {"weight": 2.0, "family": "arithmetic", "tool": "calculator"},
  "hard sums": {"weight": 1.0, "family": "arithmetic", "tool": "calculator", "difficulty": 3},
  "keys": {"weight": 1.0, "family": "key_lookup", "tool": "lookup", "difficulty": 2, "system": "Look it up."},
}


# ---- whose turn it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("start", [0, 7, 1000])
@pytest.mark.parametrize("size", [1, 5, 8, 64, 300])
def test_any_stretch_of_numbers_holds_the_entries_by_their_weights(weights, start, size):
  turns = mixture.Turns(weights)
  found = collections.Counter(turns.at(index)[0] for index in range(start, start + size))
  for name, weight in weights.items():
    assert abs(found[name] - size * weight / sum(weights.values())) < 2


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_entry_sees_all_its_tasks_in_their_order(weights):
  turns = mixture.Turns(weights)
  seen = collections.defaultdict(list)
  for index in range(500):
    entry, number = turns.at(index)
    seen[entry].append(number)
  assert all(numbers == list(range(len(numbers))) for numbers in seen.values()) and seen.keys() == weights.keys()
  assert turns.at(10**9 + 7) == mixture.Turns(weights).at(10**9 + 7)


def test_a_round_by_hand():
  assert mixture.Turns({"a": 2.0, "b": 1.0, "c": 1.0}).round == ("a", "b", "c", "a")
  assert mixture.Turns({"a": 3, "b": 1}).round == ("a", "a", "b", "a")
  assert mixture.Turns({"b": 1, "a": 1}).round == ("a", "b")  # a config does not keep the order of its keys


def test_weights_that_ask_for_a_long_round_are_rounded():
  turns = mixture.Turns({"a": 0.123457, "b": 1.0, "rare": 1e-9})
  assert len(turns.round) <= mixture.LONGEST_ROUND + 1 and turns.round.count("rare") == 1
  assert turns.round.count("a") == pytest.approx(0.123457 / 1.123457 * 1000, abs=1)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_positive(weight):
  with pytest.raises(ValueError, match=r"entry 'b' of the mixture: its weight is .*, and must be positive"):
    mixture.Turns({"a": 1.0, "b": weight})


# ---- tasks and environments ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source():
  with contextlib.closing(mixture.make(MIXTURE)) as made:
    yield made


def test_tasks_are_those_of_the_entries_under_ids_of_their_own(source):
  hard = envs.make("arithmetic", "calculator", difficulty=3)
  made = [source.task(index, split) for split in ("train", "held_out") for index in range(40)]
  assert len({task.id for task in made}) == 80
  assert collections.Counter(task.entry for task in made[:40]) == {"sums": 20, "hard sums": 10, "keys": 10}
  mine = [task for task in made[40:] if task.entry == "hard sums"]
  assert [task.id for task in mine] == [f"hard sums/{hard.task(n, 'held_out').id}" for n in range(10)]
  assert [task.question for task in mine] == [hard.task(n, "held_out").question for n in range(10)]
  assert {task.family for task in mine} == {"arithmetic"}
  assert source.task(3, "train") == source.task(3, "train")


def solve(source, task):
  """What the environment gives for the oracle's actions, and its tools."""
  with contextlib.closing(source.environment()) as environment:
    environment.reset(task, 0)
    tools = [spec.name for spec in environment.tools]
    return [environment.step(action) for action in source.oracle(task)][-1].parts, tools


def check_that_every_entry_is_solved_with_its_own_tool(source):
  tools = {"sums": ["calculate"], "hard sums": ["calculate"], "keys": ["lookup"]}
  for index, split in itertools.product(range(4), ("train", "held_out")):
    task = source.task(index, split)
    assert solve(source, task) == ({"correct": 1.0}, tools[task.entry])


def test_every_task_meets_the_environment_of_its_entry(source):
  check_that_every_entry_is_solved_with_its_own_tool(source)
  assert source.tools == [] and [spec.name for spec in source.more_tools] == ["calculate", "lookup"]


def test_worker_processes_host_every_entry():
  with contextlib.closing(mixture.make(MIXTURE, hosting=Hosting(1))) as source:
    check_that_every_entry_is_solved_with_its_own_tool(source)
    assert len(source.pools) == 3 and source.worker_counts()["opened"] >= 8
    assert source.worker_counts().keys() == source.pools[0].counts().keys() and source.last_loss == ""


def test_the_prompt_shows_the_tools_and_the_system_message_of_the_entry(source):
  chat = ChatFormat.chatml_json(Tokenizer.byte_level(["<|im_start|>", "<|im_end|>"]))
  shown = {}
  for index in range(4):
    task = source.task(index, "train")
    episode = Episode(Request(task, index, index, index, 1.0, 4000, 4), source.environment, chat, 0)
    with contextlib.closing(episode):
      shown[task.entry] = chat.tokenizer.decode(episode.open())
  assert "calculate" in shown["sums"] and "lookup" not in shown["sums"]
  assert "lookup" in shown["keys"] and "calculate" not in shown["keys"]
  assert "Look it up." in shown["keys"] and "Look it up." not in shown["hard sums"]


def test_an_environment_serves_one_entry_after_another_and_closes_each(source):
  closed = []

  class Noted:
    def __init__(self, entry, inner):
      self.reset, self.step, self.tools, self._entry = inner.reset, inner.step, inner.tools, entry

    def close(self):
      closed.append(self._entry)

  def noted(entry, tool):
    made = envs.make("arithmetic", tool)
    return dataclasses.replace(made, environment=lambda: Noted(entry, made.environment()))

  mixed = mixture.mix({"a": noted("a", "calculator"), "b": noted("b", "none")}, {"a": 1.0, "b": 1.0})
  environment = mixed.environment()
  with pytest.raises(NoEpisode, match=r"step\(\) outside an episode"):
    environment.step(Action(TurnKind.ANSWER, "", answer="1"))
  assert environment.tools == []
  for index in (0, 1):
    environment.reset(mixed.task(index, "train"), 0)
  assert closed == ["a"]
  environment.close()
  environment.close()
  assert closed == ["a", "b"]


def test_tools_of_every_entry_are_those_of_the_source():
  mixed = mixture.make({name: MIXTURE[name] for name in ("sums", "hard sums")})
  assert [spec.name for spec in mixed.tools] == ["calculate"] and mixed.more_tools == []
  call = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("calculate", {"expression": "6 * 7"}),))
  with contextlib.closing(mixed.environment()) as environment:
    environment.reset(mixed.task(0, "train"), 0)
    assert environment.step(call).text == "42"


def test_without_entries_it_is_one_family():
  source = mixture.make({}, family="arithmetic", tool="calculator", difficulty=2)
  task = source.task(5, "train")
  assert (task, task.entry) == (envs.make("arithmetic", "calculator", difficulty=2).task(5, "train"), "")


def test_what_is_wrong_with_an_entry_names_it():
  wrong = {**MIXTURE, "keys": {**MIXTURE["keys"], "tool": "lockup"}}
  with pytest.raises(
    ValueError, match="entry 'keys' of the mixture: no tool is called 'lockup': did you mean 'lookup'"
  ):
    mixture.make(wrong)
  nowhere = {**MIXTURE, "keys": {**MIXTURE["keys"], "family": "nobody.has_this"}}
  with pytest.raises(ModuleNotFoundError, match=r"there is no module 'nobody'") as missing:
    mixture.make(nowhere)
  assert missing.value.__notes__ == ["This is about entry 'keys' of the mixture."]
  with pytest.raises(ValueError, match=r"entry 'keys' of the mixture: its weight is -1\.0"):
    mixture.make({**MIXTURE, "keys": {**MIXTURE["keys"], "weight": -1.0}})
