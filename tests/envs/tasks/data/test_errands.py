"""Each errand, and what it leaves behind."""

import random

import pytest

from agentrl.envs.tasks.data.errands import CALLS, ERRANDS, World
from agentrl.envs.tools.apps import Apps

CHANGES = {  # entries that are added, and that go; a balance that changes does both
  "pay": (2, 1),
  "bill": (1, 0),
  "settle": (2, 1),
  "jot": (1, 0),
  "move": (1, 1),
  "drop": (0, 1),
  "save": (1, 0),
  "forget": (0, 1),
  "rename": (1, 1),
  "count": (1, 0),
  "who": (0, 0),
  "what": (0, 0),
}


def test_every_errand_is_listed():
  assert CHANGES.keys() == ERRANDS.keys() == CALLS.keys()


@pytest.mark.parametrize("name", ERRANDS)
def test_an_errand_can_be_run_and_changes_what_it_says(name):
  for seed in range(20):
    world = World(random.Random(seed))
    start = dict(world.state)
    errand = ERRANDS[name](world)
    apps = Apps(start)
    said = [getattr(apps, call.name)(**call.arguments) for call in errand.calls]
    assert len(said) == CALLS[name] and world.state == start
    before, after = set(start.items()), set(apps.state.items())
    assert (len(after - before), len(before - after)) == CHANGES[name]
    assert errand.tells == (said[-1] if name in ("who", "what") else "")
    assert world.balance == apps.state["balance"]
    given = [str(value) for call in errand.calls for value in call.arguments.values()]
    assert all(value in errand.says.split() or value in said for value in given)  # nothing has to be guessed


def test_what_is_moved_renamed_and_settled_is_what_was_there():
  world = World(random.Random(3))
  move, rename, settle = (ERRANDS[name](world) for name in ("move", "rename", "settle"))
  old, new = move.says.split()[1::2]
  apps = Apps(world.state)
  for call in (*move.calls, *rename.calls, *settle.calls):
    getattr(apps, call.name)(**call.arguments)
  assert apps.state[f"note {new}"] == world.state[f"note {old}"] and f"note {old}" not in apps.state
  title, name = settle.says.split()[1::2]
  account = apps.state[f"account {name}"]
  assert apps.state[f"sent {account}"] == int(world.state[f"note {title}"])
  assert apps.state["balance"] == world.state["balance"] - apps.state[f"sent {account}"]


def test_no_two_errands_of_a_world_need_the_same():
  for seed in range(50):
    world = World(random.Random(seed))
    rng = random.Random(-seed)
    words = [word for _ in range(3) for word in ERRANDS[rng.choice(list(ERRANDS))](world).says.split()[1:]]
    named = [word for word in words if not word.isdigit() and word not in ("in", "to", "as", "with")]
    assert len(named) == len(set(named))
