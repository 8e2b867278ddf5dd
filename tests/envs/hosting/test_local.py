"""A worker process: it answers, and a call without an answer in time ends it with its last words."""

import pytest

from agentrl.envs.base import Setting
from agentrl.envs.hosting.host import Request
from agentrl.envs.hosting.local import LocalWorker
from agentrl.envs.hosting.worker import Deadlines, WorkerLost
from agentrl.envs.recipe import Recipe
from agentrl.envs.tasks import arithmetic

RECIPE = Recipe("arithmetic", "calculator", Setting())


def test_it_answers_until_it_is_killed():
  worker, task = LocalWorker("arithmetic", Deadlines(start=60.0, call=60.0)), arithmetic.generate(0, split="train")
  try:
    messages, tools = worker.call(Request("reset", 1, (RECIPE, task, 0)), 60.0).value
    assert (messages[-1].content, [tool.name for tool in tools]) == (task.question, ["calculate"])
    assert worker.alive
  finally:
    worker.kill()
  assert not worker.alive
  with pytest.raises(WorkerLost, match="had been lost before"):
    worker.call(Request("close", 1), 1.0)


def test_a_family_that_is_not_there_is_told_in_its_last_words():
  worker = LocalWorker("no_such_family", Deadlines(start=60.0, call=60.0))
  with pytest.raises(WorkerLost, match="no_such_family"):
    worker.call(Request("close", 1), 60.0)
