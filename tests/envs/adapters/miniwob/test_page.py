"""What is read of a page, in a real browser."""

import shutil

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")
from agentrl.envs.adapters import miniwob
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared.traces import call
from agentrl.envs.tool import ToolLimits

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


@needs_browser
def test_a_long_page_can_be_looked_at_in_pieces():
  world = miniwob.environment(Setting(limits=ToolLimits(max_output_chars=600)))
  text = opened(world, "email-inbox")
  note = text.splitlines()[-1]
  skip = int(note.split("skip=")[1].split(")")[0])
  more = world.step(call("look", skip=skip)).text
  assert f"[{skip} elements before these]" in more
  assert world.step(call("wait", seconds=0.1)).text.splitlines()[1] == text.splitlines()[2]  # from the start again
  world.close()


@needs_browser
def test_a_page_that_was_left_is_worth_nothing(world):
  opened(world, "click-test")
  world._page._window._browser.ask(world._page._window._handle, lambda driver: driver.get("about:blank"))
  last = world.step(call("press", key="a"))
  assert (last.done, last.parts) == (True, {"correct": 0.0, "raw": 0.0})
