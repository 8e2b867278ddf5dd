"""An environment in a worker: what it does when the worker is lost, with workers that live in this process."""

import pathlib
import pickle
import sys

import pytest

from agentrl.envs.base import Setting
from agentrl.envs.hosting.host import Host, Request
from agentrl.envs.hosting.remote import HostedEnvironment
from agentrl.envs.hosting.worker import Hosting, WorkerLost
from agentrl.envs.recipe import Recipe
from agentrl.envs.tool import ToolLimits
from agentrl.types import EnvironmentFailed, FailureKind

sys.path.append(str(pathlib.Path(__file__).parent / "site"))
from testworlds import faulty

RECIPE = Recipe("testworlds.faulty", "", Setting(limits=ToolLimits(max_output_chars=100, max_calls=2)))


class Workers:
  """A pool whose workers are hosts in this process; the calls whose numbers are in `lost` lose theirs."""

  def __init__(self, *lost, **settings):
    self.hosting = Hosting(**{"processes": 1} | settings)
    self.lost, self.calls, self.taken, self.returned, self.retries = set(lost), [], 0, 0, 0

  def take(self):
    self.taken += 1
    return Host("testworlds.faulty"), self.taken

  def give_back(self, worker):
    self.returned += 1

  def call(self, worker: Host, request: Request, seconds: float):
    self.calls.append(request.method)
    if len(self.calls) in self.lost:
      raise WorkerLost("a worker process was lost: it was killed")
    return pickle.loads(worker.handle(request))

  def retried(self):
    self.retries += 1


def play(workers, task, seed=0):
  environment = HostedEnvironment(workers, RECIPE)
  try:
    texts = [environment.reset(task, seed)[-1].content]
    return texts + [environment.step(action).text for action in faulty.oracle(task)]
  finally:
    environment.close()


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_the_actions_are_played_again_in_another_worker(lost):
  workers = Workers(lost)
  assert play(workers, faulty.generate(0, split="train"), seed=7) == [
    "Count to 3. Seed 7.", "heard 1", "heard 2", "heard 3"
  ]  # fmt: skip
  assert (workers.taken, workers.retries) == (2, 1)
  before = ["reset", "step", "step", "step"][:lost]
  assert workers.calls == [*before, "reset", *["step"] * (len(before) - 1), *["step"] * (4 - lost), "close"][:10]


def test_a_second_loss_is_the_environments_failure_where_one_retry_is_allowed():
  workers = Workers(2, 4)
  with pytest.raises(EnvironmentFailed, match="it was killed") as failed:
    play(workers, faulty.generate(0, split="train"))
  assert failed.value.kind is FailureKind.LOST
  assert workers.retries == 1


def test_an_answer_that_differs_the_second_time_is_a_failure():
  workers = Workers(3)
  with pytest.raises(EnvironmentFailed, match=r"in another one an answer was .* where it had been") as failed:
    play(workers, faulty.generate(0, split="train", faults={"1": "other"}))
  assert failed.value.kind is FailureKind.CHANGED


def test_an_episode_beyond_its_seconds_fails_at_the_next_call():
  with pytest.raises(EnvironmentFailed, match="used up its 1e-09 s") as failed:
    play(Workers(episode_seconds=1e-9), faulty.generate(0, split="train"))
  assert failed.value.kind is FailureKind.DEADLINE


def test_the_room_is_given_back_and_no_step_comes_behind_the_end():
  workers = Workers()
  environment = HostedEnvironment(workers, RECIPE)
  environment.reset(faulty.generate(0, split="train"), 0)
  environment.close()
  assert workers.returned == 1
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(faulty.oracle(faulty.generate(0, split="train"))[0])
