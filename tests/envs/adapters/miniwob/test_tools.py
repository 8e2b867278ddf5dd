"""The tools of a page, in a real browser."""

import re
import shutil

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")
from agentrl.envs.adapters import miniwob
from agentrl.envs.tasks.shared.traces import call
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


@needs_browser
@pytest.mark.parametrize(
  ("name", "action", "words"),
  [
    ("enter-text", call("click", ref=77), "no element has the number 77"),
    ("enter-text", call("type", ref=2, text="a"), r"\[2\] takes no text"),
    ("enter-text", call("select", ref=1, option="a"), r"\[1\] is no list of options"),
    ("enter-text", call("scroll", ref=1, pixels=10), r"nothing around \[1\] scrolls"),
    ("enter-text", call("click_at", x=160, y=10), "160,10 is outside the page, which is 160 x 210 pixels"),
    ("enter-text", call("press", key="Entr"), "no key is called 'Entr'; known: backspace"),
    ("enter-text", call("press", key="Super+a"), "no modifier is called 'Super'"),
    ("enter-text", call("wait", seconds=61), "above 0 and at most 60"),
    ("enter-text", call("look", skip=-1), "must not be negative"),
    ("enter-text", call("type", ref=1, text="a" * 1001), "has 1001 characters; at most 1000"),
    ("choose-list", call("click", ref=1), r"\[1\] is a list of options: call select"),
    ("choose-list", call("select", ref=1, option="Atlantis"), r"\[1\] has no option 'Atlantis'; it has: "),
    ("choose-date", call("type", ref=1, text="a"), r"\[1\] is read-only"),
    ("enter-date", call("type", ref=1, text="tomorrow"), "takes a date such as 2016-12-31, not 'tomorrow'"),
  ],
)
def test_what_cannot_be_done_is_put_into_words(world, name, action, words):
  opened(world, name)
  observation = world.step(action)
  assert not observation.ok
  assert not observation.done
  assert [result.failure for result in observation.results] == [ToolFailure.ARGUMENTS]
  with pytest.raises(AssertionError, match=words):
    raise AssertionError(observation.text)


@needs_browser
def test_numbers_that_are_gone_hidden_covered_or_disabled_are_told(world):
  opened(world, "ascending-numbers")
  world.step(call("click", ref=1))  # hides the numbers
  assert "error: [2] is no longer in the page" in world.step(call("click", ref=2)).text
  opened(world, "find-greatest")
  world.step(call("click", ref=1))
  shown = world.step(call("click", ref=2)).text  # turns the first card over again
  number = next(line for line in shown.splitlines() if "text" in line).split("]")[0][1:]
  world.step(call("click", ref=1))
  assert f"error: [{number}] is not visible now" in world.step(call("click", ref=int(number))).text
  opened(world, "choose-date")
  world.step(call("click", ref=1))
  assert "error: [2] cannot be reached: " in world.step(call("click", ref=2)).text  # the calendar lies over it
  opened(world, "sign-agreement")
  assert "error: [5] is disabled" in world.step(call("click", ref=5)).text


@needs_browser
def test_after_the_end_the_other_calls_of_a_turn_are_told_so(world):
  opened(world, "click-test")
  both = Action(TurnKind.TOOL_CALL, "", calls=(ToolCall("click", {"ref": 1}), ToolCall("click", {"ref": 1})))
  last = world.step(both)
  assert (last.done, last.parts["correct"]) == (True, 1.0)
  assert [result.ok for result in last.results] == [True, False]
  assert "the episode is over" in last.results[1].text


@needs_browser
def test_a_drag_ends_in_the_middle_of_its_target_even_where_something_lies_over_it(world):
  places = re.findall(r"@(\d+),(\d+)", opened(world, "drag-box", 11))
  (x, y), (large_x, large_y) = [tuple(map(int, place)) for place in places[:2]]
  assert abs(x - large_x) < 15 and abs(y - large_y) < 15  # the small box begins over the middle of the large one
  moved = re.findall(r"@(\d+),(\d+)", world.step(call("drag", ref=1, to=2)).text)
  assert all(abs(int(a) - int(b)) <= 1 for a, b in zip(moved[0], (large_x, large_y), strict=True))


@needs_browser
def test_text_is_marked_by_dragging_over_it(world):
  text = next(line for line in opened(world, "highlight-text").splitlines() if "] text" in line)
  name, place = text.split('"')[1], text.split("@")[1].split(",")
  height = int(text.split("size=")[1].split()[0].split("x")[1])
  top, bottom = int(place[1]) - height / 2 + 3, int(place[1]) + height / 2 - 3
  marked = world.step(call("drag_at", x=1, y=top, to_x=159, to_y=bottom)).text
  assert f'Marked text: "{name}' in marked
  submit = next(line for line in marked.splitlines() if "Submit" in line)
  assert world.step(call("click", ref=int(submit[1]))).parts["correct"] == 1.0
