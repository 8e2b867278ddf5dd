"""The clock of a page, in a real browser."""

import shutil
import time

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")
from agentrl.envs.adapters import miniwob
from agentrl.envs.tasks.shared.traces import call

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


@needs_browser
def test_a_page_stands_still_until_there_is_an_action(world):
  opened(world, "stock-market")
  before = world.step(call("wait", seconds=0.1)).text.partition("\n")[2]
  time.sleep(0.5)
  assert world.step(call("look")).text.partition("\n")[2] == before
  after = world.step(call("wait", seconds=1)).text.partition("\n")[2]
  assert after.count("circle") == before.count("circle") + 10  # a price each tenth of a second


@needs_browser
def test_what_was_copied_in_another_episode_cannot_be_pasted(world):
  world.reset(task_of("copy-paste"), 0)
  for action in miniwob.oracle(task_of("copy-paste"))[:3]:
    world.step(action)
  opened(world, "enter-text")
  world.step(call("click", ref=1))
  assert 'value=""' in world.step(call("press", key="Control+v")).text
