"""One environment for tasks of several kinds: each is served by what its kind makes."""

import pytest

from agentrl.envs.adapters.by_kind import ByKind
from agentrl.envs.base import Setting
from agentrl.types import Action, Message, Observation, Task, TurnKind


class Echo:
  """Says what it hears, and ends at the word of its task."""

  tools = ("the tools of echo",)

  def __init__(self, task, setting):
    self.opening = [*setting.opening, Message("user", task.question)]
    self._last = task.answer

  def step(self, action):
    return Observation(action.text, done=action.text == self._last)


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def test_an_episode_is_that_of_its_task():
  environment = ByKind(Setting(system="Listen."), Echo)
  assert environment.tools == ()
  opening = environment.reset(Task("t", "echo", "Speak.", "stop"), 0)
  assert [message.content for message in opening] == ["Listen.", "Speak."]
  assert environment.tools == Echo.tools
  assert environment.step(say("go")).text == "go"
  assert environment.step(say("stop")).done


@pytest.mark.parametrize("end", ["done", "close", "never opened"])
def test_nothing_is_served_outside_an_episode(end):
  environment = ByKind(Setting(), Echo)
  if end != "never opened":
    environment.reset(Task("t", "echo", "Speak.", "stop"), 0)
  if end == "done":
    environment.step(say("stop"))
  if end == "close":
    environment.close()
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(say("go"))
