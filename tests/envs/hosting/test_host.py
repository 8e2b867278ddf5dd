"""What a worker answers: values, failures in words, and never an exception."""

import pathlib
import pickle
import sys

import pytest

from agentrl.envs.base import NoDemonstration, Setting
from agentrl.envs.hosting.host import Host, Request
from agentrl.envs.recipe import Recipe
from agentrl.envs.tool import ToolLimits
from agentrl.types import FailureKind

sys.path.append(str(pathlib.Path(__file__).parent / "site"))
from testworlds import faulty

RECIPE = Recipe("testworlds.faulty", "", Setting(limits=ToolLimits(max_output_chars=100, max_calls=2)))


@pytest.fixture
def ask():
  host = Host("testworlds.faulty")
  yield lambda method, *arguments, episode=0: pickle.loads(host.handle(Request(method, episode, arguments)))
  host.close()


def test_episodes_go_by_their_numbers(ask):
  task = faulty.generate(0, split="train")
  for episode in (0, 1):
    messages, tools = ask("reset", RECIPE, task, episode, episode=episode).value
    assert (messages[-1].content, len(tools)) == (f"Count to 3. Seed {episode}.", 0)
  texts = [ask("step", action, episode=0).value.text for action in faulty.oracle(task)]
  assert texts == ["heard 1", "heard 2", "heard 3"]
  assert ask("step", faulty.oracle(task)[0], episode=1).value.text == "heard 1"
  assert ask("close", episode=0).value is None
  assert ask("close", episode=0).failure is None  # again is harmless


@pytest.mark.parametrize(
  ("fault", "kind", "words"),
  [
    ("raise", FailureKind.RAISED, "ValueError: it broke"),
    ("exit", FailureKind.RAISED, "SystemExit: 3"),
    ("nothing", FailureKind.ANSWER, "step() gave None where an Observation was due"),
  ],
)
def test_a_failure_is_an_answer_with_its_kind_and_its_time(ask, fault, kind, words):
  task = faulty.generate(0, split="train", faults={"1": fault})
  ask("reset", RECIPE, task, 0)
  reply = ask("step", faulty.oracle(task)[0])
  assert (reply.value, reply.kind) == (None, kind)
  assert words in reply.failure
  assert reply.seconds >= 0


def test_an_episode_that_nobody_opened_has_failed(ask):
  assert "KeyError" in ask("step", faulty.oracle(faulty.generate(0, split="train"))[0]).failure


def test_that_there_is_no_demonstration_is_a_value(ask):
  assert ask("oracle", faulty.generate(0, split="train"), "").value == faulty.oracle(faulty.generate(0, split="train"))
  reply = ask("oracle", faulty.generate(0, split="train", turns=10), "")
  assert reply.failure is None and isinstance(reply.value, NoDemonstration)
