"""Sources of trajectories: found by name; rollouts go on until the filters keep enough."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.batching.filters import make_filters
from agentrl.rollout.driver import RolloutStats
from agentrl.training import config_values, sources
from agentrl.training.curriculum import CURRICULA, Curriculum
from agentrl.training.defaults import run_config
from agentrl.training.left_out import LeftOut
from agentrl.training.probing import Probe
from agentrl.training.stages import stages_of
from agentrl.types import StopReason, Task, Trajectory, Turn, TurnKind


def trajectory(group, sample, reward):
  zeros, second = np.zeros(2, np.float32), np.asarray([-1, 0], np.int32)
  return Trajectory(
    tokens=np.zeros(2, np.int32), action_mask=second == 0, sampler_logp=zeros, entropy=zeros, turn=second,
    policy_version=second, turns=(Turn(TurnKind.VOID, 1, 2, ""),), task_id=f"t{group}", group_id=group,
    uid=2 * group + sample, stop=StopReason.ANSWERED, reward_parts={"correct": reward}, reward=reward,
  )  # fmt: skip


class Groups:
  """Stands for a collector: group g has the rewards that `rewards[g]` says."""

  def __init__(self, rewards):
    self.rewards, self.asked = rewards, []

  def collect(self, params, key, visits, *, starts, **_):
    self.starts = starts
    groups = [visit.group for visit in visits]
    self.asked.append(groups)
    sampled = [trajectory(g, n, reward) for g in groups for n, reward in enumerate(self.rewards[g])]
    stats = RolloutStats(1, 1, 0, 0, 1, 0.1)
    tasks = {g: Task(f"t{g}", "test", "?") for g in groups}
    given = {"trajectories": sampled, "stats": stats, "tasks": tasks, "memory": {}}
    return SimpleNamespace(**given, failures=[], trees={}, left_out=[])


def parts_around(config, collector):
  """What `rollouts` needs of an experiment."""
  return SimpleNamespace(
    collector=collector,
    driver_params=lambda p: p,
    keys={"rollout": jax.random.key(0)},
    tasks=SimpleNamespace(worker_counts=dict, task=lambda index, split: Task(f"t{index}", "test", "?")),
    filter=make_filters(config.filters, {}),
  )


@pytest.mark.parametrize(
  ("rounds", "asked", "kept"),
  [(1, [[7, 8]], [7]), (2, [[7, 8], [9]], [7]), (3, [[7, 8], [9], [10]], [7, 10]), (9, [[7, 8], [9], [10]], [7, 10])],
)
def test_flat_groups_are_sampled_anew_until_there_are_enough(tiny_config, rounds, asked, kept):
  settings = {"filters": ("flat_groups",), "rollout": {"rounds": rounds}}
  config = config_values.resolve(tiny_config, settings, where="test")
  collector = Groups({7: (0.0, 1.0), 8: (1.0, 1.0), 9: (0.0, 0.0), 10: (1.0, 0.0)})
  parts = parts_around(config, collector)
  state = SimpleNamespace(params={}, updates=jnp.int32(0))
  source = sources.rollouts(config, parts, stages_of(config)[-1], 7)
  assert source.counters.keys() == {"visits", "tool_calls", "memory", "next_task"}
  samples = source.draw(state, source.counters)
  assert collector.asked == asked
  assert sorted({t.group_id for t in samples.kept}) == kept
  drawn = sum(map(len, asked))
  assert len(samples.trajectories) == 2 * drawn
  visits = samples.counters.pop("visits")
  assert samples.counters == {"tool_calls": 0, "memory": {}, "next_task": 7 + drawn}
  assert (visits["next_group"], visits["state"]) == (7 + drawn, {"next": 7 + drawn})
  assert [outcome["group"] for outcome in visits["outcomes"]] == asked[-1]
  assert samples.metrics["rollout/kept_share"] == len(kept) / drawn


@pytest.mark.parametrize(
  ("oversample", "asked"), [(1.0, [[7, 8], [9], [10]]), (1.5, [[7, 8, 9], [10, 11]]), (3.0, [[7, 8, 9, 10, 11, 12]])]
)
def test_more_groups_are_sampled_than_are_wanted_and_the_first_that_are_kept_are_trained_on(
  tiny_config, oversample, asked
):
  settings = {"filters": ("success_band",), "rollout": {"rounds": 4, "oversample": oversample}}
  config = config_values.resolve(tiny_config, settings, where="test")
  collector = Groups({n: (float(n % 2 == 0), 0.0) for n in range(7, 13)})
  source = sources.rollouts(config, parts_around(config, collector), stages_of(config)[-1], 7)
  samples = source.draw(SimpleNamespace(params={}, updates=jnp.int32(0)), source.counters)
  assert collector.asked == asked and sorted({t.group_id for t in samples.kept}) == [8, 10]
  assert samples.counters["next_task"] == 1 + asked[-1][-1]


def test_a_band_that_nothing_satisfies_ends_after_its_rounds_with_nothing_to_train_on(tiny_config):
  settings = {"filters": ("success_band",), "rollout": {"rounds": 3, "oversample": 2.0}}
  config = config_values.resolve(tiny_config, settings, where="test")
  collector = Groups(dict.fromkeys(range(7, 40), (0.0, 0.0)))
  source = sources.rollouts(config, parts_around(config, collector), stages_of(config)[-1], 7)
  samples = source.draw(SimpleNamespace(params={}, updates=jnp.int32(0)), source.counters)
  assert not samples.kept and [len(groups) for groups in collector.asked] == [4, 4, 4]


def leaps():
  """A curriculum that asks far ahead."""

  def ask(state, outcomes, count):
    return state, [state["first"] + 100 + n for n in range(count)]

  return Curriculum(lambda first, seed, look: {"first": first}, ask)


@pytest.mark.parametrize(("name", "next_task"), [("fresh", 9), ("leaps", 109)])
def test_the_next_stage_begins_behind_all_groups_and_tasks(tiny_config, monkeypatch, name, next_task):
  monkeypatch.setitem(CURRICULA, "leaps", leaps)
  config = config_values.resolve(tiny_config, {"curriculum": {"name": name}}, where="test")
  parts = parts_around(config, Groups({7: (0.0, 1.0), 8: (1.0, 1.0)}))
  source = sources.rollouts(config, parts, stages_of(config)[-1], 7)
  samples = source.draw(SimpleNamespace(params={}, updates=jnp.int32(0)), source.counters)
  assert samples.counters["next_task"] == next_task


def known_by_number(index):
  """Questions of odd numbers are known; number 3 cannot be asked."""
  return Probe("", 0.5, float(index % 2))


def test_what_is_demonstrated_depends_on_what_the_policy_knows(tiny_config, tiny_experiment, monkeypatch):
  versions = []

  def asks(experiment, params, key, indices, *, samples, version):
    versions.append((version, samples, sorted(params)))
    return {n: known_by_number(n) for n in indices if n != 3}, [LeftOut(3, "not made")]

  monkeypatch.setattr(sources, "probe", asks)
  settings = {"steps": 2, "batch": 6, "source": "probed", "probe": {"samples": 5}}
  config = config_values.resolve(tiny_config, {"tuning": settings}, where="test")
  (_, tuning, _), experiment = stages_of(config), tiny_experiment()
  source = sources.kind_of(config, tuning).make(config, experiment, tuning, 1)
  state = SimpleNamespace(params={"policy": experiment.params}, updates=jnp.int32(4))
  samples = source.draw(state, source.counters)
  calls = {t.group_id: sum(len(turn.results) for turn in t.turns) for t in samples.kept}
  assert calls == {1: 0, 2: 1, 4: 1, 5: 0, 6: 1} and all(t.reward_parts["correct"] == 1.0 for t in samples.kept)
  assert samples.counters == {"next_task": 7} and [task.group for task in samples.left_out] == [3]
  assert samples.metrics["probe/known"] == 2 / 5 and samples.metrics["tuning/left_out"] == 1
  source.draw(state, samples.counters)
  assert versions == [(4, 5, ["policy"])] * 2


def test_a_habit_that_the_family_does_not_have_is_named(tiny_config, tiny_experiment):
  settings = {"steps": 2, "source": "probed", "probe": {"unknown": "always"}}
  config = config_values.resolve(tiny_config, {"tuning": settings}, where="test")
  with pytest.raises(ValueError, match=r"tuning\.probe: no habit is called 'always'"):
    sources.probed(config, tiny_experiment(), stages_of(config)[1], 0)


@pytest.mark.parametrize(
  ("source", "told"),
  [
    ("rollout", "no train.source is called 'rollout': did you mean 'rollouts'"),
    ("probed", "train.source='probed' reads batch, probe, which the section 'train' does not have"),
    ("authored", "train.source='authored' reads batch, mix, which the section 'train' does not have"),
    ("stored_prefixes", "train.source_options lacks run, which stored_prefixes needs"),
  ],
)
def test_a_source_that_does_not_fit_is_named(source, told):
  config = run_config({"train": {"source": source}}, where="test")
  with pytest.raises(ValueError, match=told):
    sources.kind_of(config, stages_of(config)[0])


def test_a_source_of_yours_is_named_by_its_import_path(monkeypatch):
  kind = sources.SOURCES["rollouts"]
  monkeypatch.setattr(sources, "mine", kind, raising=False)
  config = run_config({"train": {"source": "agentrl.training.sources:mine"}}, where="test")
  found = sources.kind_of(config, stages_of(config)[0])
  assert found._replace(make=None) == kind._replace(make=None) and found.make.func is kind.make


def test_a_setting_that_the_source_does_not_take_is_named():
  config = run_config({"train": {"source_options": {"turns": 1}}}, where="test")
  with pytest.raises(ValueError, match=r"train\.source_options\.turns: rollouts takes no settings"):
    sources.kind_of(config, stages_of(config)[0])
  config = run_config({"train": {"source": "authored_prefixes", "source_options": {"turn": 1}}}, where="test")
  with pytest.raises(ValueError, match=r"train.source_options.turn: did you mean 'turns'\?"):
    sources.kind_of(config, stages_of(config)[0])
