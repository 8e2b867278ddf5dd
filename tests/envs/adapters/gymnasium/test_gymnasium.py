"""Gymnasium environments as text worlds: oracles solve what they are, and what is wrong is said."""

import contextlib
import json

import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs agentrl[gymnasium]")
pytest.importorskip("minigrid", reason="needs agentrl[gymnasium]")

from agentrl import envs
from agentrl.envs.adapters.gymnasium import generate, minigrid_view, oracle
from agentrl.envs.adapters.gymnasium.view import View
from agentrl.types import Action, EnvironmentFailed, TurnKind

WORDY = View(("stay", "go"), "Balance it.", lambda world, seen: f"at {float(np.sign(seen[0])):g}")
SOLVED = [
  ("FrozenLake-v1", 1, {}, 20),
  ("FrozenLake-v1", 9, {}, 5),
  ("Taxi-v4", 1, {}, 20),
  ("CliffWalking-v1", 1, {}, 2),
  ("BabyAI-GoToLocal-v0", 1, {}, 10),
  ("BabyAI-PutNextLocal-v0", 1, {"turns": 200}, 5),
  ("minigrid:BabyAI-OpenDoor-v0", 1, {}, 5),
]


def say(text):
  return Action(TurnKind.ANSWER, text, answer=text)


def play(source, task, actions):
  with contextlib.closing(source.environment()) as environment:
    environment.reset(task, 0)
    return [environment.step(action) for action in actions]


@pytest.mark.parametrize(("env", "difficulty", "options", "tasks"), SOLVED, ids=[f"{r[0]}-{r[1]}" for r in SOLVED])
def test_oracles_solve_held_out_tasks(env, difficulty, options, tasks):
  source = envs.make("gymnasium", "", difficulty=difficulty, options={"env": env, **options})
  for index in range(tasks):
    task = source.task(index, "held_out")
    seen = play(source, task, source.oracle(task))
    assert [observation.done for observation in seen] == [False] * (len(seen) - 1) + [True]
    assert all(observation.ok for observation in seen)
    assert seen[-1].parts["correct"] == 1.0
    assert seen[-1].parts["return"] == pytest.approx(sum(observation.reward for observation in seen))


@pytest.mark.parametrize("env", ["FrozenLake-v1", "Taxi-v4", "BabyAI-GoToObj-v0"])
def test_tasks_are_pure_json_and_start_apart_in_the_splits(env):
  tasks = {split: [generate(index, split=split, env=env) for index in range(40)] for split in ("train", "held_out")}
  for split, some in tasks.items():
    assert some[5] == generate(5, split=split, env=env)
    assert json.loads(json.dumps(dict(some[5].data))) == some[5].data
    assert len({task.id for task in some}) == 40
  assert not {task.data["seed"] for task in tasks["train"]} & {task.data["seed"] for task in tasks["held_out"]}
  if env != "BabyAI-GoToObj-v0":  # whose first views may be alike in different levels
    assert not {task.question for task in tasks["train"]} & {task.question for task in tasks["held_out"]}
  assert generate(2**31 - 1, split="train", env=env).id.endswith("-train-1-2147483647")
  assert generate(0, split="train", env=env) != generate(0, split="train", env=env, seed=1)


def test_what_is_said_is_read_with_some_latitude_and_nothing_else():
  source = envs.make("gymnasium", "", options={"turns": 5})
  task = generate(0, split="train", arguments={"desc": None, "map_name": "4x4"}, turns=5)
  right, number, wrong, void, last = play(
    source, task, [say(' "Right." '), say("0"), say("fly"), Action(TurnKind.VOID, ""), say("down")]
  )
  assert right.text == "SPFF\nFHFH\nFFFH\nHFFG"
  assert number.text == "PFFF\nFHFH\nFFFH\nHFFG"
  assert (wrong.ok, wrong.text) == (False, "Unknown action. Say one of: left, down, right, up.")
  assert not void.ok
  assert (last.done, last.parts) == (True, {"correct": 0.0, "return": 0.0})


def test_being_cut_off_is_no_better_than_playing_on():
  source = envs.make("gymnasium", "", options={"env": "Taxi-v4", "turns": 3})
  task = source.task(0, "train")
  seen = play(source, task, [say("drop off"), say("nonsense"), say("nonsense")])
  assert [observation.parts["return"] for observation in seen] == [-12.0, -12.0, -12.0]
  assert [observation.reward for observation in seen] == [-10.0, -1.0, -1.0]


def test_an_environment_without_a_view():
  source = envs.make("gymnasium", "", options={"env": "Blackjack-v1", "actions": ["stick", "hit"], "rules": "Play."})
  task = source.task(0, "train")
  assert task.question.startswith("Play.\nActions: stick, hit.\n\n[")
  assert source.oracle(task) == []
  assert play(source, task, [say("stick")])[-1].done
  with pytest.raises(ValueError, match="the family gymnasium has no demonstration of gymnasium-Blackjack-v1-train"):
    envs.make("gymnasium", "", options={"env": "Blackjack-v1"}, examples=1)


def test_a_view_of_one_s_own(monkeypatch):
  monkeypatch.setitem(vars(minigrid_view), "WORDY", WORDY)
  options = {"env": "CartPole-v1", "view": "agentrl.envs.adapters.gymnasium.minigrid_view:WORDY"}
  task = envs.make("gymnasium", "", options=options).task(0, "train")
  assert task.question in (f"Balance it.\nActions: stay, go.\n\nat {sign}" for sign in (1, -1))


def test_a_broken_environment_is_the_environment_s_failure(monkeypatch):
  source = envs.make("gymnasium", "")
  with contextlib.closing(source.environment()) as environment:
    environment.reset(source.task(0, "train"), 0)
    monkeypatch.setattr(type(environment._world.unwrapped), "step", lambda self, action: 1 / 0)
    with pytest.raises(EnvironmentFailed, match="FrozenLake-v1 broke: ZeroDivisionError"):
      environment.step(say("left"))
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(say("left"))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"env": "FrozenLak-v1"}, "env='FrozenLak-v1'.*FrozenLake"),
    ({"env": "nowhere:Lake-v1"}, "nowhere"),
    ({"env": "Pendulum-v1"}, "only discrete ones can be said in words"),
    ({"arguments": {"size": 4}}, "unexpected keyword argument 'size'"),
    ({"actions": ["a", "b"]}, "FrozenLake-v1 has 4 actions, and 2 names are given"),
    ({"view": "grid"}, "^view='grid' is no View; it is written package.module:NAME$"),
    ({"view": "agentrl.envs:make"}, "view='agentrl.envs:make' is no View; it is written package.module:NAME"),
    (
      {"view": "agentrl.envs:VIEW"},
      "the module 'agentrl.envs' has no 'VIEW', which the view",
    ),
    ({"turns": 0}, "turns must be at least 1"),
    ({"difficulty": 10}, "FrozenLake-v1 has difficulties 1 to 9, not 10"),
    ({"env": "Taxi-v4", "difficulty": 2}, "Taxi-v4 has difficulties 1 to 1, not 2"),
    ({"split": "test"}, "no split is called 'test'"),
  ],
)
def test_wrong_options_are_errors(options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **{"split": "train", **options})


def test_there_is_no_tool():
  with pytest.raises(ValueError, match="gymnasium takes no tool"):
    oracle(generate(0, split="train"), "calculator")


def test_a_view_of_a_module_that_is_not_there():
  with pytest.raises(ModuleNotFoundError, match=r"there is no module 'agentrl\.envz' for the view"):
    generate(0, split="train", view="agentrl.envz:VIEW")
