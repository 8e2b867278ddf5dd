"""Web pages in a real browser: needs the extra and apt's chromium and chromium-driver."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters import miniwob
from agentrl.envs.adapters.miniwob import browser, tasks
from agentrl.envs.adapters.miniwob.solvers import SOLVERS
from agentrl.envs.base import NoDemonstration, Setting
from agentrl.envs.tasks.shared.traces import answer, call
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, EnvironmentFailed, ToolCall, ToolFailure, TurnKind

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)
# Of these the text shows nothing in which one page differs from another.
ALIKE = ("count-sides", "find-greatest", "guess-number", "hot-cold", "use-colorwheel-2")
FEW = ["click-menu", "copy-paste", "drag-box", "email-inbox", "enter-time", "find-greatest", "stock-market", "terminal"]


@pytest.fixture(scope="module", autouse=True)
def one_browser():
  yield
  browser.close_shared()


@pytest.fixture
def world():
  opened = miniwob.environment(Setting(limits=ToolLimits(max_output_chars=20_000)))
  yield opened
  opened.close()


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


def instruction(text):
  return text.partition("\n")[0].removeprefix("Instruction: ")


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_there_are_128_kinds_in_subsets():
  subsets = tasks.SUBSETS
  assert len(set(tasks.NAMES)) == 128
  levels = [*subsets["easy"], *subsets["medium"], *subsets["hard"]]
  assert sorted(levels) == sorted(subsets["all"])
  assert set(subsets["easy"]) < set(subsets["solved"]) == set(SOLVERS)
  assert {*tasks.EASY, *tasks.HARD} <= set(tasks.NAMES)


def test_tasks_are_pure_json_and_named_up_to_the_last_index():
  for index in (0, 1, 500, 2**31 - 1):
    task = miniwob.generate(index, split="train", difficulty=2)
    assert task == miniwob.generate(index, split="train", difficulty=2)
    assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
  generated = [miniwob.generate(index, split="train") for index in range(100)]
  assert len({task.id for task in generated}) == 100
  assert {task.data["name"] for task in generated} == set(tasks.EASY)


def test_the_splits_have_other_pages():
  seeds = {
    split: {miniwob.generate(i, split=split).data["page_seed"] for i in range(200)} for split in ("train", "held_out")
  }
  assert not seeds["train"] & seeds["held_out"]
  names = {
    split: {miniwob.generate(i, split=split, tasks="all", held_out_tasks=True).data["name"] for i in range(200)}
    for split in ("train", "held_out")
  }
  assert not names["train"] & names["held_out"]
  assert names["train"] | names["held_out"] == set(tasks.NAMES)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"split": "test"}, "no split is called 'test'"),
    ({"difficulty": 4}, "miniwob has difficulties 1 to 3, not 4"),
    ({"tasks": "click-tst"}, "no MiniWoB task or subset is called 'click-tst': did you mean 'click-test'"),
    ({"tasks": ["click-test", "flight"]}, "no MiniWoB task or subset is called 'flight'"),
    ({"tasks": "click-test", "held_out_tasks": True, "split": "held_out"}, "leaves no held_out task of 'click-test'"),
  ],
)
def test_wrong_options_are_errors(options, words):
  with pytest.raises(ValueError, match=words):
    miniwob.generate(0, **{"split": "train"} | options)


def test_a_list_may_name_tasks_and_subsets():
  given = [miniwob.generate(i, split="train", tasks=("click-test", "easy")).data["name"] for i in range(39)]
  assert given[0] == "click-test"
  assert sorted(given) == sorted(tasks.EASY)


def test_kinds_without_a_solver_have_no_demonstration(make_hosted):
  with pytest.raises(NoDemonstration, match="no solver is written for the MiniWoB task 'drag-cube'"):
    miniwob.oracle(task_of("drag-cube"))
  assert make_hosted("miniwob", "", options={"tasks": "drag-cube"}).tools
  with pytest.raises(NoDemonstration):
    make_hosted("miniwob", "", options={"tasks": "drag-cube"}, examples=1)
  with pytest.raises(ValueError, match="takes none, not even 'hammer'"):
    miniwob.oracle(task_of("click-test"), "hammer")


def test_a_missing_browser_is_named_with_its_packages(monkeypatch):
  monkeypatch.setattr(shutil, "which", lambda name: None)
  with pytest.raises(FileNotFoundError, match="apt-get install chromium chromium-driver"):
    browser.Browser()


# ---- pages ----------------------------------------------------------------------------------------------------------


@needs_browser
def test_an_episode_from_the_config(make_hosted):
  source = make_hosted("miniwob", "", options={"tasks": ["enter-text", "click-test"]}, examples=1)
  assert [spec.name for spec in source.tools] == [
    "click", "type", "select", "press", "drag", "drag_at", "click_at", "hover", "scroll", "wait", "look",
  ]  # fmt: skip
  environment = source.environment()
  messages = environment.reset(source.task(0, "held_out"), 3)
  assert [message.role for message in messages[:2]] == ["system", "user"]
  wanted = instruction(messages[-1].content).split('"')[1]
  typed = environment.step(call("type", ref=1, text=wanted))
  assert (typed.ok, typed.done, typed.parts) == (True, False, {"correct": 0.0, "raw": 0.0})
  assert (
    typed.text == f'typed into [1]\n[1] textbox #tt value="{wanted}" focused @' + typed.text.partition("focused @")[2]
  )
  last = environment.step(call("click", ref=2))
  assert (last.done, last.parts, last.reward, last.text) == (True, {"correct": 1.0, "raw": 1.0}, 1.0, "")
  with pytest.raises(EnvironmentFailed, match="outside an episode"):
    environment.step(call("click", ref=2))
  environment.close()


@needs_browser
@pytest.mark.parametrize("name", FEW)
def test_scripted_solvers_solve_a_page_and_a_replay_solves_it_again(world, name):
  task = task_of(name, 11)
  actions = miniwob.oracle(task)
  world.reset(task, 5)
  *before, last = [world.step(action) for action in actions]
  assert not any(observation.done for observation in before)
  assert (last.done, last.parts["correct"]) == (True, 1.0)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_every_scripted_solver_solves_five_pages(name):
  for index in range(5):
    assert miniwob.oracle(task_of(name, index, "held_out" if name.endswith("transfer") else "train"))


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", tasks.NAMES)
def test_every_page_loads_and_is_a_function_of_its_seed(world, name):
  first = opened(world, name)
  second = miniwob.environment(Setting(limits=ToolLimits(max_output_chars=20_000)))
  assert opened(second, name) == first
  second.close()
  assert "[1]" in first
  assert instruction(first)
  if name not in ALIKE:
    assert any(opened(world, name, other) != first for other in range(1, 6))


@needs_browser
def test_a_wrong_click_ends_the_episode_without_success(world):
  text = opened(world, "click-test-2")
  assert '[2] button "TWO"' in text
  last = world.step(call("click", ref=2))
  assert (last.done, last.parts) == (True, {"correct": 0.0, "raw": -1.0})


@needs_browser
def test_an_answer_gives_up_and_malformed_turns_are_told(world):
  opened(world, "click-test")
  told = world.step(Action(TurnKind.MALFORMED, "<", problem="a call never ends"))
  assert told.text.startswith("error: a call never ends\n[1] button")
  assert not told.ok
  assert "neither a tool call nor an answer" in world.step(Action(TurnKind.VOID, "")).text
  last = world.step(answer("done"))
  assert (last.done, last.parts, last.reward) == (True, {"correct": 0.0, "raw": 0.0}, 0.0)


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
def test_a_page_stands_still_until_there_is_an_action(world):
  opened(world, "stock-market")
  before = world.step(call("wait", seconds=0.1)).text.partition("\n")[2]
  time.sleep(0.5)
  assert world.step(call("look")).text.partition("\n")[2] == before
  after = world.step(call("wait", seconds=1)).text.partition("\n")[2]
  assert after.count("circle") == before.count("circle") + 10  # a price each tenth of a second


@needs_browser
def test_the_time_limit_counts_actions_and_is_off_unless_asked_for(world):
  opened(world, "enter-text")
  for _ in range(3):
    observation = world.step(call("wait", seconds=60))
  assert not observation.done
  task = task_of("click-test-2", time_limit=True)
  world.reset(task, 0)
  assert world.step(call("wait", seconds=4.5)).parts == {"correct": 0.0, "raw": 0.0}
  last = world.step(call("click", ref=1))
  assert last.parts == {"correct": 1.0, "raw": pytest.approx(0.5)}  # half a second at the start, 4.5 of 10 waited
  world.reset(task, 0)
  assert world.step(call("wait", seconds=10)).parts == {"correct": 0.0, "raw": -1.0}


@needs_browser
def test_episodes_side_by_side_do_not_meet(world):
  other = miniwob.environment(Setting(limits=ToolLimits(max_output_chars=20_000)))
  names = ("login-user", "copy-paste")
  played = {name: miniwob.oracle(task_of(name, 3)) for name in names}
  alone = {}
  for name in names:
    world.reset(task_of(name, 3), 0)
    alone[name] = [world.step(action).text for action in played[name]]
  world.reset(task_of(names[0], 3), 0)
  other.reset(task_of(names[1], 3), 0)
  together = {name: [] for name in names}
  for turn in range(max(map(len, played.values()))):
    for name, environment in zip(names, (world, other), strict=True):
      if turn < len(played[name]):
        together[name].append(environment.step(played[name][turn]).text)
  assert together == alone
  other.close()


@needs_browser
def test_what_was_copied_in_another_episode_cannot_be_pasted(world):
  world.reset(task_of("copy-paste"), 0)
  for action in miniwob.oracle(task_of("copy-paste"))[:3]:
    world.step(action)
  opened(world, "enter-text")
  world.step(call("click", ref=1))
  assert 'value=""' in world.step(call("press", key="Control+v")).text


@needs_browser
def test_a_page_that_was_left_is_worth_nothing(world):
  opened(world, "click-test")
  world._page._window._browser.ask(world._page._window._handle, lambda driver: driver.get("about:blank"))
  last = world.step(call("press", key="a"))
  assert (last.done, last.parts) == (True, {"correct": 0.0, "raw": 0.0})


@needs_browser
def test_screenshots_are_kept_where_asked_for(world, tmp_path):
  task = task_of("enter-text", screenshots=str(tmp_path / "shots"))
  world.reset(task, 7)
  world.step(call("type", ref=1, text="abc"))
  files = sorted((tmp_path / "shots").iterdir())
  assert [file.name for file in files] == [f"{task.id}-7-000.png", f"{task.id}-7-001.png"]
  first, second = (file.read_bytes() for file in files)
  assert first[:8] == second[:8] == b"\x89PNG\r\n\x1a\n"
  assert first != second
  assert (int.from_bytes(first[16:20]), int.from_bytes(first[20:24])) == (160, 210)


# ---- the browser ----------------------------------------------------------------------------------------------------


def processes_of(folder):
  """Command lines that name the browser's folder."""
  found = []
  for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(OSError):
      if folder.encode() in entry.read_bytes():
        found.append(int(entry.parent.name))
  return found


def gone(folder):
  """Whether, within a minute, nothing is left of a browser."""
  deadline = time.monotonic() + 60
  while (processes_of(folder) or pathlib.Path(folder).exists()) and time.monotonic() < deadline:
    time.sleep(0.05)
  return not processes_of(folder) and not pathlib.Path(folder).exists()


@needs_browser
@pytest.mark.parametrize(
  "victim", ["chromium", *(pytest.param(one, marks=pytest.mark.slow) for one in ("driver", "tab"))]
)
def test_a_browser_that_dies_fails_its_episodes_and_the_next_gets_a_fresh_one(world, victim):
  opened(world, "click-test")
  folder = browser.shared()._folder
  kinds = {"chromium": b"--remote-debugging-pipe", "tab": b"--type=renderer"}
  if victim == "driver":
    doomed = [int(p.parent.name) for p in pathlib.Path("/proc").glob("[0-9]*/environ") if is_driver(p, folder)]
  else:
    doomed = [p for p in processes_of(folder) if is_kind(p, kinds[victim])] or renderers(folder)
  assert doomed
  for process in doomed:
    with contextlib.suppress(ProcessLookupError):
      os.kill(process, signal.SIGKILL)
  with pytest.raises(EnvironmentFailed):
    world.step(call("click", ref=1))
  world.close()
  assert gone(folder)
  assert "button" in opened(world, "click-test")
  assert world.step(call("click", ref=1)).parts["correct"] == 1.0


def is_driver(environ, folder):
  with contextlib.suppress(OSError):
    return f"HOME={folder}".encode() in environ.read_bytes() and is_kind(int(environ.parent.name), b"chromedriver\0")
  return False


def is_kind(process, kind):
  with contextlib.suppress(OSError):
    line = pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    is_ours = any(script in line for script in (b"miniwob/guard.py", b"supervisor.py"))
    return kind in line and not is_ours and (kind == b"--type=renderer" or b"--type=" not in line)
  return False


def renderers(folder):
  environs = pathlib.Path("/proc").glob("[0-9]*/environ")
  found = []
  for path in environs:
    with contextlib.suppress(OSError):
      if f"HOME={folder}".encode() in path.read_bytes() and is_kind(int(path.parent.name), b"--type=renderer"):
        found.append(int(path.parent.name))
  return found


ENDS = ("world.close()", "os._exit(1)")
SCRIPT = """
import os, sys, time
from agentrl.envs.adapters import miniwob
from agentrl.envs.adapters.miniwob import browser
from agentrl.envs.base import Setting
world = miniwob.environment(Setting())
world.reset(miniwob.generate(0, split="train"), 0)
print(browser.shared()._folder, flush=True)
{end}
"""


@needs_browser
@pytest.mark.parametrize(
  "end", ["os.kill(os.getpid(), 9)", *(pytest.param(one, marks=pytest.mark.slow) for one in ENDS)]
)
def test_nothing_outlives_the_process(end):
  ended = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], capture_output=True, text=True, timeout=120)
  folder = ended.stdout.strip()
  assert folder, ended.stderr
  assert gone(folder)
