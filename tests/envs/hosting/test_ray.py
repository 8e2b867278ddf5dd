"""The same pool over a Ray cluster on this machine."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

import pytest

pytest.importorskip("ray", reason="needs agentrl[ray]")
import ray

from agentrl import envs
from agentrl.envs import Recipe
from agentrl.envs.base import Setting
from agentrl.envs.hosting import WORKERS, EnvironmentPool, Hosting
from agentrl.envs.hosting.ray import ENDS_DESCENDANTS
from agentrl.types import EnvironmentFailed

ROOT = pathlib.Path(__file__).parents[3]
SITE = pathlib.Path(__file__).parent / "site"
sys.path.append(str(SITE))
from testworlds import faulty  # noqa: E402

MARK = f"ray {os.getpid()}"
RECIPE = Recipe("testworlds.faulty", "", Setting())


@pytest.fixture(scope="module", autouse=True)
def cluster():
  """Two cores; its processes find agentrl and the worlds of the tests, and carry a mark."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(ENDS_DESCENDANTS, "true")
    patch.setenv("MARK_OF_A_TEST", MARK)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(SITE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def pool():
  hosting = Hosting(processes=2, episodes=2, call_seconds=5.0)
  with contextlib.closing(EnvironmentPool("testworlds.faulty", hosting, WORKERS["ray"]())) as pool:
    yield pool


def play(pool, task):
  environment = pool.environment(RECIPE)
  try:
    environment.reset(task, 0)
    return [environment.step(action).text for action in faulty.oracle(task)]
  finally:
    environment.close()


def test_an_episode_in_an_actor_is_the_episode(pool):
  task = faulty.generate(0, split="train")
  assert play(pool, task) == ["heard 1", "heard 2", "heard 3"]
  assert pool.oracle(task, "") == faulty.oracle(task)


@pytest.mark.parametrize("fault", ["die", "hang"])
def test_an_episode_goes_on_in_another_actor(pool, tmp_path, fault):
  task = faulty.generate(0, split="train", faults={"2": f"{fault} once"}, marks=str(tmp_path))
  assert play(pool, task) == ["heard 1", "heard 2", "heard 3"]
  assert (pool.counts()["lost"], pool.counts()["retries"]) == (1, 1)


@pytest.mark.parametrize(("fault", "words"), [("die", "a worker actor was lost"), ("raise", "ValueError: it broke")])
def test_a_fault_that_stays_is_the_environments_failure(pool, fault, words):
  with pytest.raises(EnvironmentFailed, match=words):
    play(pool, faulty.generate(0, split="train", faults={"2": fault}))
  assert play(pool, faulty.generate(1, split="train"))[-1] == "heard 3"


def test_a_config_names_the_backend():
  with contextlib.closing(envs.make("arithmetic", "calculator", hosting=Hosting(1, backend="ray"))) as source:
    task, environment = source.task(0, "train"), source.environment()
    environment.reset(task, 0)
    observations = [environment.step(action) for action in source.oracle(task)]
    environment.close()
  assert observations[-1].parts == {"correct": 1.0}
  with pytest.raises(ValueError, match=r"no hosting\.backend is called 'rat': did you mean 'ray'"):
    envs.make("arithmetic", "calculator", hosting=Hosting(1, backend="rat"))


def test_what_an_environment_leaves_behind_ends_with_its_actor_also_in_a_session_of_its_own(pool):
  environment = pool.environment(RECIPE)
  environment.reset(faulty.generate(0, split="train", faults={"reset": "child"}), 0)
  assert sleepers_become(2)
  pool.close()
  assert sleepers_become(0)  # it takes Ray about ten seconds


def test_exit_codes_are_learned_here_and_in_an_actor(pool):
  assert play(pool, faulty.generate(0, split="train", faults={"1": "status"}))[0] == "exit code 3"
  assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3


def sleepers_become(number):
  deadline = time.monotonic() + 60
  while len(sleepers()) != number and time.monotonic() < deadline:
    time.sleep(0.1)
  return len(sleepers()) == number


def sleepers():
  """Processes of environments of this cluster that sleep."""
  found = []
  for process in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
      marked = f"MARK_OF_A_TEST={MARK}".encode() in (process / "environ").read_bytes()
      found += [process.name] if marked and (process / "cmdline").read_bytes().startswith(b"sleep\0") else []
  return found
