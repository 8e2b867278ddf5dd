"""Environments in worker processes: every fault costs a retry or that one trajectory, and nothing else."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

import pytest

from agentrl import envs
from agentrl.envs import Recipe
from agentrl.envs.base import Isolation, NoDemonstration, Setting
from agentrl.envs.hosting import WORKERS, EnvironmentPool, Hosting
from agentrl.envs.tool import ToolLimits
from agentrl.rollout.workers import WorkerPool, wait_for_one
from agentrl.types import EnvironmentFailed, FailureKind, NoRoom

SITE = pathlib.Path(__file__).parent / "site"
sys.path.append(str(SITE))
from testworlds import faulty  # noqa: E402

RECIPE = Recipe("testworlds.faulty", "", Setting(limits=ToolLimits(max_output_chars=100, max_calls=2)))
HOSTING = Hosting(processes=2, episodes=2, call_seconds=3.0)


@pytest.fixture(autouse=True)
def known(monkeypatch):
  """The workers find the family."""
  monkeypatch.setenv("PYTHONPATH", str(SITE))


@pytest.fixture
def make_pool():
  with contextlib.ExitStack() as stack:
    yield lambda **changes: stack.enter_context(contextlib.closing(new_pool(**changes)))


def new_pool(**changes):
  settings = vars(HOSTING) | changes
  return EnvironmentPool("testworlds.faulty", Hosting(**settings), WORKERS["local"]())


def play(pool, task, seed=0):
  """The texts of an episode, its opening first."""
  environment = pool.environment(RECIPE)
  try:
    texts = [environment.reset(task, seed)[-1].content]
    texts += [environment.step(action).text for action in faulty.oracle(task)]
  finally:
    environment.close()
  return texts


def test_an_episode_in_a_worker_is_the_episode(make_pool):
  pool, task = make_pool(), faulty.generate(0, split="train")
  assert play(pool, task, seed=7) == ["Count to 3. Seed 7.", "heard 1", "heard 2", "heard 3"]
  assert pool.oracle(task, "") == faulty.oracle(task)
  assert {name: pool.counts()[name] for name in ("lost", "retries", "opened")} == {"lost": 0, "retries": 0, "opened": 2}


# `test_remote.py` loses a worker at every call; here it is lost in every way.
@pytest.mark.parametrize(
  ("fault", "where"), [("die", "reset"), ("die", "3"), ("hang", "2"), ("late", "2"), ("garbage", "2")]
)
def test_an_episode_goes_on_in_another_worker(make_pool, tmp_path, fault, where):
  pool = make_pool()
  task = faulty.generate(0, split="train", faults={where: f"{fault} once"}, marks=str(tmp_path))
  assert play(pool, task) == ["Count to 3. Seed 0.", "heard 1", "heard 2", "heard 3"]
  assert (pool.counts()["lost"], pool.counts()["retries"]) == (1, 1)


@pytest.mark.parametrize(
  ("fault", "words"),
  [
    ("die", "a worker process was lost: the stream was closed"),
    ("hang", r"a worker process was lost: no answer in 3 s"),
    ("garbage", "a worker process was lost: garbage instead of a message"),
  ],
)
def test_a_fault_that_loses_both_workers_is_the_environments_failure(make_pool, fault, words):
  pool = make_pool()
  with pytest.raises(EnvironmentFailed, match=words):
    play(pool, faulty.generate(0, split="train", faults={"2": fault}))
  assert pool.counts()["lost"] == 2
  assert play(pool, faulty.generate(1, split="train"))[-1] == "heard 3"  # the pool is as it was


def test_a_failure_that_the_worker_tells_costs_no_worker(make_pool):
  pool = make_pool(processes=1)
  for fault, words in {
    "raise": "ValueError: it broke",
    "fail": "^it said so$",
    "exit": "SystemExit: 3",
    "unsendable": "the text of the observation is a function, and must be a str",
    "torrent": "the text of the observation has 10000000 characters",
    "silence": "^Silent$",
    "nothing": r"step\(\) gave None where an Observation was due",
  }.items():
    with pytest.raises(EnvironmentFailed, match=words):
      play(pool, faulty.generate(0, split="train", faults={"2": fault}))
  assert pool.counts()["lost"] == 0
  assert play(pool, faulty.generate(1, split="train"))[-1] == "heard 3"


def test_what_a_worker_floods_is_drained_and_what_it_answers_is_cut(make_pool):
  texts = play(make_pool(call_seconds=20.0), faulty.generate(0, split="train", faults={"2": "flood"}))
  assert texts[2] == "z" * 200 + "\n[output cut: 900000 characters, first 200 shown]"
  assert texts[3] == "heard 3"


def test_the_kind_of_a_failure_comes_along_from_the_worker(make_pool):
  pool, kinds = make_pool(), {}
  for fault in ("raise", "torrent", "die"):
    with pytest.raises(EnvironmentFailed) as failed:
      play(pool, faulty.generate(0, split="train", faults={"2": fault}))
    kinds[fault] = failed.value.kind
  assert kinds == {"raise": FailureKind.RAISED, "torrent": FailureKind.ANSWER, "die": FailureKind.LOST}


def test_an_opening_that_no_message_holds_costs_no_worker(make_pool):
  pool = make_pool(call_seconds=60.0)
  with pytest.raises(EnvironmentFailed, match="and cannot be sent: a message holds 67108864") as failed:
    play(pool, faulty.generate(0, split="train", faults={"reset": "opening"}))
  assert failed.value.kind is FailureKind.ANSWER and pool.counts()["lost"] == 0


def test_others_in_a_lost_worker_play_again_and_notice_nothing(make_pool, tmp_path):
  pool = make_pool(processes=1, episodes=4)
  quiet = [faulty.generate(n, split="train") for n in range(2)]
  environments = [pool.environment(RECIPE) for _ in quiet]
  for environment, task in zip(environments, quiet, strict=True):
    environment.reset(task, 0)
    assert environment.step(faulty.oracle(task)[0]).text == "heard 1"
  play(pool, faulty.generate(9, split="train", faults={"1": "die once"}, marks=str(tmp_path)))
  for environment, task in zip(environments, quiet, strict=True):
    assert [environment.step(action).text for action in faulty.oracle(task)[1:]] == ["heard 2", "heard 3"]
    environment.close()
  assert (pool.counts()["lost"], pool.counts()["retries"]) == (1, 3)


def test_an_environment_that_answers_otherwise_the_second_time_has_failed(make_pool, tmp_path):
  task = faulty.generate(0, split="train", faults={"1": "other", "2": "die once"}, marks=str(tmp_path))
  with pytest.raises(EnvironmentFailed, match=r"task faulty-train-0: .* in another one .* from its seed"):
    play(make_pool(), task)


def test_that_there_is_no_demonstration_is_told_as_it_is(make_pool):
  pool = make_pool(processes=1)
  with pytest.raises(NoDemonstration, match="nobody counts that far"):
    pool.oracle(faulty.generate(0, split="train", turns=10), "")
  assert pool.oracle(faulty.generate(0, split="train"), "")


def test_retries_may_be_none(make_pool, tmp_path):
  task = faulty.generate(0, split="train", faults={"1": "die once"}, marks=str(tmp_path))
  with pytest.raises(EnvironmentFailed, match="a worker process was lost"):
    play(make_pool(retries=0), task)


def test_an_episode_has_its_time(make_pool):
  with pytest.raises(EnvironmentFailed, match=r"the episode used up its 0\.3 s"):
    play(make_pool(episode_seconds=0.3), faulty.generate(0, split="train", faults={"1": "slow", "2": "slow"}))


def test_an_episode_beyond_the_room_is_refused_until_one_closes(make_pool):
  pool, task = make_pool(processes=1, episodes=1), faulty.generate(0, split="train")
  first, second = pool.environment(RECIPE), pool.environment(RECIPE)
  first.reset(task, 0)
  with pytest.raises(NoRoom, match="1 episodes are open"):
    second.reset(task, 0)
  first.close()
  assert second.reset(task, 0)[-1].content == "Count to 3. Seed 0."
  second.close()
  assert pool.counts()["refused"] == 1


def test_more_episodes_than_room_and_fewer_threads_than_episodes_all_end(make_pool):
  """Every episode's calls go through two threads, one after the other; openings that wait must not keep both."""
  pool, task = make_pool(processes=1, episodes=2), faulty.generate(0, split="train")
  threads = WorkerPool(2)
  environments = [pool.environment(RECIPE) for _ in range(8)]
  opening = {threads.submit(e.reset, task, n, seconds=20.0): e for n, e in enumerate(environments)}
  played = 0
  while opening:
    wait_for_one(opening)
    for call in [call for call in opening if call.done()]:
      environment = opening.pop(call)
      assert call.result()[-1].content.startswith("Count to 3.")
      calls = [threads.submit(environment.step, action, seconds=20.0) for action in faulty.oracle(task)]
      played += calls[-1].result(timeout=20.0).text == "heard 3"
      threads.submit(environment.close).result(timeout=20.0)
  assert played == 8
  assert pool.counts()["refused"] > 0
  threads.close()


def test_a_failing_close_is_told_and_gives_the_room_back(make_pool):
  pool = make_pool(processes=1, episodes=1)
  with pytest.raises(EnvironmentFailed, match="it broke"):
    play(pool, faulty.generate(0, split="train", faults={"close": "raise"}))
  assert play(pool, faulty.generate(0, split="train"))[-1] == "heard 3"


def test_a_worker_that_dies_without_a_word_is_replaced(make_pool):
  pool = make_pool(processes=1)
  play(pool, faulty.generate(0, split="train"))
  os.killpg(pool.workers[0].process_id, 9)
  while pool.workers[0].alive:
    time.sleep(0.01)
  assert play(pool, faulty.generate(0, split="train"))[-1] == "heard 3"
  assert (pool.counts()["lost"], pool.counts()["retries"]) == (1, 0)


def test_workers_that_never_start_are_an_error_with_their_last_words(monkeypatch):
  monkeypatch.setenv("PYTHONPATH", "")
  with contextlib.closing(new_pool(processes=1)) as pool:
    reasons = []
    for _ in range(4):
      with pytest.raises(EnvironmentFailed) as failure:
        play(pool, faulty.generate(0, split="train"))
      reasons.append(str(failure.value))
  assert "3 workers in a row did not start" in reasons[-1]
  assert "'testworlds.faulty': is the folder that holds it on PYTHONPATH?" in reasons[-1]


def test_nothing_is_left_of_a_closed_pool_or_of_a_killed_trainer():
  code = """
import time
from testworlds import faulty
from agentrl.envs import Recipe
from agentrl.envs.base import Setting
from agentrl.envs.hosting import WORKERS, EnvironmentPool, Hosting
pool = EnvironmentPool("testworlds.faulty", Hosting(1), WORKERS["local"]())
environment = pool.environment(Recipe("testworlds.faulty", "", Setting()))
environment.reset(faulty.generate(0, split="train", faults={"reset": "child"}), 0)
print("ready", flush=True)
if input() == "close":
  pool.close()
  print("closed", flush=True)
time.sleep(60)
"""
  path = {"PYTHONPATH": os.pathsep.join([str(SITE), str(pathlib.Path(__file__).parents[3])])}
  for how in ("close", "kill"):
    mark = {"MARK_OF_A_TEST": f"{os.getpid()} {how}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | path | mark, **pipes) as trainer:
      assert trainer.stdout.readline() == "ready\n"
      assert len(marked(mark)) == 5  # the trainer, the worker under its supervisor, and two children, one in a session
      trainer.stdin.write(how + "\n")
      trainer.stdin.flush()
      if how == "close":
        assert trainer.stdout.readline() == "closed\n"
      trainer.kill()
    deadline = time.monotonic() + 20
    while marked(mark) and time.monotonic() < deadline:
      time.sleep(0.02)
    assert marked(mark) == []


def marked(mark):
  """Living processes that inherited a variable of the environment."""
  found = []
  ((name, value),) = mark.items()
  for process in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
      variables = (process / "environ").read_bytes().split(b"\0")  # a dead one has none
      found += [process.name] if f"{name}={value}".encode() in variables else []
  return found


def test_a_family_that_asks_for_workers_gets_them_or_an_error(monkeypatch):
  monkeypatch.setattr(faulty, "ISOLATION", Isolation.EXCLUSIVE, raising=False)
  with pytest.raises(ValueError, match=r"testworlds\.faulty need worker processes .*: set hosting\.processes"):
    envs.make("testworlds.faulty", "")
  with contextlib.closing(envs.make("testworlds.faulty", "", hosting=Hosting(2))) as source:
    assert source.pools[0].hosting.episodes == 1
    task = source.task(0, "train")
    environment = source.environment()
    assert environment.reset(task, 3)[-1].content == "Count to 3. Seed 3."
    assert [environment.step(action).done for action in source.oracle(task)] == [False, False, True]
    environment.close()
