"""Web pages in a real browser: needs the extra and apt's chromium and chromium-driver."""

import json
import shutil

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters import miniwob
from agentrl.envs.adapters.miniwob import tasks
from agentrl.envs.adapters.miniwob.solvers import SOLVERS
from agentrl.envs.base import NoDemonstration, Setting
from agentrl.envs.tasks.shared.traces import answer, call
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, EnvironmentFailed, TurnKind

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)
# Of these the text shows nothing in which one page differs from another.
ALIKE = ("count-sides", "find-greatest", "guess-number", "hot-cold", "use-colorwheel-2")
FEW = ["click-menu", "copy-paste", "drag-box", "email-inbox", "enter-time", "find-greatest", "stock-market", "terminal"]


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


def instruction(text):
  return text.partition("\n")[0].removeprefix("Instruction: ")


# ---- tasks ----------------------------------------------------------------------------------------------------------


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
