"""What a policy knows by itself: sorted by the answers of one turn, whatever its calls."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from agentrl.training.left_out import LeftOut
from agentrl.training.probing import Probe, probe, probe_metrics
from agentrl.types import Failure, FailureKind, StopReason, Task, Trajectory, Turn, TurnKind

CALL, VOID, RIGHT, WRONG, FAILED = "call", "void", "right", "wrong", "failed"


def sample(group, what):
  """An episode of one turn."""
  kinds = {CALL: TurnKind.TOOL_CALL, VOID: TurnKind.VOID}
  zeros = np.zeros(1, np.float32)
  answered = what in (RIGHT, WRONG)
  stop = StopReason.ENVIRONMENT_FAILED if what == FAILED else StopReason.ANSWERED if answered else StopReason.TURN_LIMIT
  return Trajectory(
    tokens=np.zeros(1, np.int32), action_mask=zeros == 0, sampler_logp=zeros, entropy=zeros,
    turn=np.zeros(1, np.int32), policy_version=np.zeros(1, np.int32),
    turns=[Turn(kinds.get(what, TurnKind.ANSWER), 0, 1, "")], task_id=f"t-{group}", group_id=group, uid=0, stop=stop,
    reward_parts={"correct": float(what == RIGHT)} if answered else None,
    failure=Failure(FailureKind.RAISED, "the licence server is away") if what == FAILED else None,
  )  # fmt: skip


@dataclasses.dataclass
class Samples:
  """Stands for a collector: group g gives what `given[g]` says, and "asked" what was asked."""

  given: dict
  max_turns: int = 4

  def sampling(self, sampler):
    del sampler
    return self

  def collect(self, params, key, visits, **settings):
    self.given["asked"] = (self.max_turns, settings["samples"], settings["memory"])
    groups = [visit.group for visit in visits if visit.group in self.given]
    return SimpleNamespace(
      trajectories=[sample(group, what) for group in groups for what in self.given[group]],
      tasks={g: Task(f"t-{g}", "test", "?", stratum="odd" if g % 2 else "even") for g in groups},
      left_out=[LeftOut(v.group, "not made") for v in visits if v.group not in self.given],
    )


def probed(given):
  experiment = SimpleNamespace(collector=Samples(given), surroundings=None)
  return probe(experiment, {}, jax.random.key(0), range(5), samples=4, version=0)


def test_answers_say_what_is_known_and_calls_how_often_it_calls():
  given = {
    0: [RIGHT, RIGHT, WRONG, CALL],
    1: [CALL, CALL, CALL, CALL],
    2: [WRONG, VOID, CALL, FAILED],
    3: [FAILED] * 4,
  }
  probes, left_out = probed(given)
  assert given["asked"] == (1, 4, None)  # one turn, and nothing is remembered
  assert probes[0] == Probe("even", 1 / 4, 2 / 3) and probes[2] == Probe("even", 1 / 3, 0.0)
  assert probes[1][:2] == ("odd", 1.0) and math.isnan(probes[1].right)
  assert [task.group for task in left_out] == [4, 3]
  assert left_out[1].reason == "all 4 probes of task t-3 failed; the first: the licence server is away"


@pytest.mark.parametrize(("right", "least", "known"), [(0.5, 0.5, True), (0.49, 0.5, False), (math.nan, 0.01, False)])
def test_a_question_is_known_where_enough_answers_are_right(right, least, known):
  assert Probe("", 0.0, right).is_known(least) is known


def test_metrics_tell_calls_of_what_is_known_and_of_the_rest():
  probes = {0: Probe("fact", 0.5, 1.0), 1: Probe("fact", 0.0, 0.75), 2: Probe("key", 1.0, math.nan)}
  assert probe_metrics(probes, 0.5) == {
    "probe/known": pytest.approx(2 / 3), "probe/called_of_known": 0.25, "probe/called_of_unknown": 1.0,
    "probe/fact/called": 0.25, "probe/fact/right": 0.875, "probe/key/called": 1.0,
  }  # fmt: skip
  assert probe_metrics({}, 0.5) == {}


def test_the_policy_itself_is_asked_and_writes_one_turn(tiny_experiment, monkeypatch):
  parts = tiny_experiment()
  params, seen = parts.driver_params({"policy": parts.params}), []
  monkeypatch.setattr("agentrl.training.probing._found", lambda stratum, sampled: seen.extend(sampled) or stratum)
  probes, left_out = probe(parts, params, jax.random.key(1), range(2), samples=2, version=3)
  assert sorted(probes) == [0, 1] and not left_out
  assert len(seen) == 4 and all(len(t.turns) == 1 for t in seen)
  assert {int(version) for t in seen for version in t.policy_version[t.action_mask]} == {3}
