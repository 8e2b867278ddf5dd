"""Re-ranking in a run: what the config's names become, who judges when, and what is refused before it samples."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from agentrl.rollout.strategies.independent import independent
from agentrl.training import config as config_lib
from agentrl.training import config_values, evaluation, loop
from agentrl.training.build.experiment import build_experiment
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.run_folder import RunFolder
from agentrl.training.saved import restore_params
from agentrl.training.stages import stages_of
from agentrl.types import first_visits

CONFIG = f"{pathlib.Path(__file__).parents[2]}/configs/archer_sixteen.py:chai"
SETTINGS = {
  "model": {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48, "vocabulary": 0},
  "rollout": {"max_turns": 3, "max_tokens": 72, "workers": 2},
  "strategy": {"candidates": 3},
  "engine": {"slots": 6, "decode_tokens": 6, "feed_tokens": 32, "prefill_tokens": 16},
  "cold_start": {"steps": 0},
  "train": {"steps": 1},
  "mesh": {"data": 1},
}


def settings(base=None, **changes):
  base = config_values.resolve(config_lib.load(CONFIG, smoke=True), SETTINGS, where="test") if base is None else base
  return config_values.resolve(base, changes, where="test")


@pytest.fixture(scope="module")
def parts():
  return build_experiment(settings())


@pytest.fixture(scope="module")
def learner(parts):
  return parts.algorithm.init(jax.random.key(0), parts.params).params


def collect(parts, params, groups=(3, 5), **changes):
  arguments = {"split": "train", "samples": 2, "temperature": 1.0, "version": 4, "memory": {}, **changes}
  return parts.collector.collect(parts.driver_params(params), parts.keys["rollout"], first_visits(groups), **arguments)


def judged_by(parts, judge):
  return dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, judge=judge))


def longest(params, trajectories):
  """A judge who likes to hear many tokens."""
  assert set(params) == {"policy", "critic"}
  return np.asarray([len(t.tokens) - t.prompt_length for t in trajectories])


def said(trajectories):
  """Tokens of every turn: what `longest` looks at. The text of a special token alone is ten characters."""
  return [turn.end - turn.start for t in trajectories for turn in t.turns]


def test_names_of_the_config_reach_the_collector(parts):
  assert parts.collector.judge is parts.algorithm.judge and parts.acts_by == ("critic",)


def test_in_a_stage_the_critics_are_those_that_learn_in_it():
  config = settings(cold_start={"steps": 1, "source": "rollouts", "algorithm": "archer"})
  parts = build_experiment(config)
  cold, last = (parts.in_stage(stage).collector for stage in stages_of(config))
  assert cold.judge is parts.earlier["cold_start"].judge and last.judge is parts.algorithm.judge
  assert cold.judge is not last.judge and cold.sampler is last.sampler


@pytest.mark.parametrize("evaluating", [False, True])
def test_samples_and_evaluations_say_what_the_critics_choose(parts, learner, evaluating):
  if evaluating:
    parts = dataclasses.replace(parts, collector=parts.collector.evaluating)
  by_length = judged_by(parts, longest)
  got = collect(by_length, learner, temperature=2.0)
  assert [(t.uid, t.group_id) for t in got.trajectories] == [(6, 3), (7, 3), (10, 5), (11, 5)]
  assert all(t.reward is not None and t.temperature == 2.0 for t in got.trajectories) and not got.failures
  assert all(set(t.policy_version[t.action_mask]) == {4} for t in got.trajectories)
  assert got.stats.sampled > 2 * sum(t.action_mask.sum() for t in got.trajectories) and got.stats.seconds > 0
  shortest = judged_by(parts, lambda params, trajectories: -longest(params, trajectories))
  other = collect(shortest, learner, temperature=2.0)
  assert np.mean(said(other.trajectories)) < np.mean(said(got.trajectories))


def test_the_critics_choose_alike_whoever_else_is_asked_for(parts, learner):
  alone = {t.uid: t.tokens.tolist() for t in collect(parts, learner, [5]).trajectories}
  together = {t.uid: t.tokens.tolist() for t in collect(parts, learner).trajectories}
  assert alone == {uid: together[uid] for uid in alone}


def test_without_critics_the_samples_are_the_clone_s(parts, learner):
  policy = {"policy": learner["policy"]}
  plain = dataclasses.replace(parts, collector=parts.collector.sampling(independent(parts.surroundings)))
  wanted = [t.tokens.tolist() for t in collect(plain, policy).trajectories]
  assert [t.tokens.tolist() for t in collect(parts, policy).trajectories] == wanted
  assert [t.tokens.tolist() for t in collect(parts, learner).trajectories] != wanted


def test_the_temperature_is_that_of_the_collection(parts, learner):
  """At 0 all candidates are one."""
  got, again = (collect(judged_by(parts, j), learner, temperature=0.0) for j in (longest, lambda p, t: -longest(p, t)))
  assert [t.tokens.tolist() for t in got.trajectories] == [t.tokens.tolist() for t in again.trajectories]


def test_a_checkpoint_is_evaluated_with_its_critics(parts, learner, tmp_path, monkeypatch):
  config = settings(cold_start={"steps": 2})
  Checkpointer(tmp_path / "checkpoints" / "cold_start").save(2, {"params": {"policy": learner["policy"]}}, {})
  Checkpointer(tmp_path / "checkpoints" / "train").save(1, {"params": learner}, {})
  params, step = restore_params(config, parts, tmp_path, None)
  assert step == 3
  jax.tree.map(np.testing.assert_array_equal, params, learner)
  assert set(restore_params(config, parts, tmp_path, 2)[0]) == {"policy"}
  monkeypatch.setattr(evaluation, "build_experiment", lambda _: judged_by(parts, longest))
  talkative = evaluation.evaluate_policy(config, run=tmp_path, step=3)
  clone = evaluation.evaluate_policy(config, run=tmp_path, step=2)
  assert talkative["eval/generated_tokens"] > clone["eval/generated_tokens"]


def test_the_evaluation_before_rl_is_the_clone_s(parts, tmp_path, monkeypatch):
  seen = []
  monkeypatch.setattr(loop, "build_experiment", lambda _: parts)
  monkeypatch.setattr(loop, "evaluate", lambda c, p, params, folder, step, pool: seen.append((step, set(params))) or {})

  def count(trainer, stage, algorithm, source, at, key):
    return loop.Position(at.state._replace(updates=at.state.updates + 1), at.step + 1, at.host), {}, []

  monkeypatch.setattr(loop.Trainer, "_update", count)
  with RunFolder.open(tmp_path / "run", settings()) as folder:
    loop.run(settings(), folder)
  assert seen == [(0, {"policy"}), (1, {"policy", "critic"})]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"strategy": {"candidates": 0}}, r"strategy.candidates=0 must be at least 1"),
    ({"rollout": {"strategy": "rerank"}}, r"no rollout.strategy is called 'rerank': did you mean 'reranked'"),
  ],
)
def test_bad_settings(changes, message):
  with pytest.raises(ValueError, match=message):
    build_experiment(settings(**changes))


def test_an_algorithm_without_critics_of_utterances_is_refused(tiny_config):
  message = r"rollout.strategy='reranked' needs critics of utterances, and algorithm='grpo' has none: choose .*'archer'"
  with pytest.raises(ValueError, match=message):
    build_experiment(settings(tiny_config, rollout={"strategy": "reranked"}))


def test_so_is_one_of_an_earlier_stage_that_samples(parts):
  cold = {"steps": 1, "source": "rollouts", "algorithm": "sft"}
  with pytest.raises(ValueError, match=r"critics of utterances, and cold_start.algorithm='sft' has none"):
    build_experiment(settings(cold_start=cold))
  build_experiment(settings(cold_start=cold | {"source": "authored"}))
