"""Search in a run: what the config's names become, what a collection gives, and what is refused before it samples."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.report import write_report
from agentrl.training import config as config_lib
from agentrl.training import config_values, evaluation, loop, metrics, summary
from agentrl.training.build.experiment import build_experiment
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.run_folder import RunFolder
from agentrl.training.saved import restore_params
from agentrl.types import first_visits

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "tree_countdown.py"
SETTINGS = {
  "model": {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "ffn": 48},
  "rollout": {"group_size": 2, "workers": 2},
  "engine": {"slots": 6, "decode_tokens": 4},
  "mesh": {"data": 1},
  "search": {"step_tokens": 5, "prior": "uniform", "c_puct": 2.0},
  "algo": {"value_hidden": 0},
}


def settings(**changes):
  base = config_values.resolve(config_lib.load(CONFIG, smoke=True), SETTINGS, where="test")
  if "algorithm" in changes:
    base = base.copy_and_resolve_references()
    base.unlock()
    base.algo = {}
    base.algorithm = changes.pop("algorithm")
    base.lock()
  return config_values.resolve(base, changes, where="test")


@pytest.fixture(scope="module")
def parts():
  """Those of a run whose evaluations search too."""
  return build_experiment(settings(eval={"search": 2}))


@pytest.fixture(scope="module")
def learner(parts):
  return parts.algorithm.init(jax.random.key(0), parts.params).params


@pytest.fixture(scope="module")
def collected(parts, learner):
  return parts.collector.collect(
    parts.driver_params(learner), parts.keys["rollout"], first_visits([0, 1]), split="train", samples=2,
    temperature=1.0, version=3, memory={},
  )  # fmt: skip


def test_names_of_the_config_reach_the_search(parts):
  search = parts.surroundings.search
  assert (search.puct.c, search.simulations, search.width, search.depth, search.step_end) == (2.0, 6, 3, 4, "\n")


def test_siblings_are_given_where_the_algorithm_learns_from_them(parts):
  assert parts.collector.siblings
  assert not build_experiment(settings(algo={"credit": "value_baseline"})).collector.siblings


def test_every_sample_is_a_tree_with_a_reward(collected):
  paths = [t for t in collected.trajectories if t.parent is None]
  assert [t.uid for t in paths] == [0, 1, 2, 3] == list(collected.trees)
  assert all(t.reward in (0.0, 1.0) and "correct" in t.reward_parts for t in paths)
  assert all(np.all(t.policy_version[t.action_mask] == 3) for t in paths)


def test_siblings_come_along_and_count_in_no_metric(collected):
  branches = [t for t in collected.trajectories if t.parent is not None]
  assert branches and all(t.visits is not None for t in branches)
  paths = [t for t in collected.trajectories if t.parent is None]
  both = summary.rollout_metrics(collected.trajectories, collected.stats)
  assert both == summary.rollout_metrics(paths, collected.stats)


def test_there_is_room_for_all_siblings_in_the_update(parts, learner, collected):
  algorithm = build_experiment(settings(algo={"credit": "visits", "reduction": "token_mean"})).algorithm
  batch, _ = algorithm.prepare(algorithm.init(jax.random.key(0), parts.params), collected.trajectories)
  assert int(np.sum(batch.sequence_length > 0)) == len(collected.trajectories)


def test_evaluations_do_not_search(parts, learner):
  got = parts.collector.evaluating.collect(
    parts.driver_params(learner), parts.keys["evaluation"], first_visits([0]), split="held_out", samples=2,
    temperature=1.0, version=0, memory={},
  )  # fmt: skip
  assert len(got.trajectories) == 2 and not got.trees


def test_drivers_get_the_value_head_where_a_search_reads_it(parts, learner, tiny_experiment):
  assert set(parts.driver_params(learner)) == {"policy", "value"}
  assert set(parts.driver_params({"policy": learner["policy"]})) == {"policy"}
  assert set(tiny_experiment().driver_params(learner)) == {"policy"}


def test_an_algorithm_without_a_value_head_is_refused():
  lacks = r"search.evaluate='value' needs the head search.head='value', and algorithm='grpo' has none"
  with pytest.raises(ValueError, match=lacks):
    build_experiment(settings(algorithm="grpo"))
  rolled = build_experiment(settings(algorithm="grpo", search={"evaluate": "rollout"}))
  assert rolled.acts_by == ()


def constant(**options):
  """Settings of GRPO with a term whose head, `constant`, says a number of every state."""
  term = {"term": "constant_head:constant", "weight": 1.0, **options}
  return {"algorithm": "grpo", "algo": {"terms": {"steady": term}}, "search": {"head": "constant"}}


def test_any_head_that_acting_may_read_says_what_leaves_are_worth():
  config = settings(eval={"search": 1, "tasks": 1}, **constant(says=0.25))
  parts = build_experiment(config)
  assert parts.acts_by == ("constant",)
  found = evaluation.search_held_out(config, parts, {"policy": parts.params}, step=0)
  assert set(values_inside(found)) - {None} == {0.25}  # what was not visited has no value


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    (constant(acting=False), "search.head='constant', and algorithm='grpo' keeps it from acting"),
    (constant() | {"search": {"head": "constnat"}}, "search.head='constnat', and algorithm='grpo' has 'constant'"),
  ],
)
def test_another_head_is_refused(changes, told):
  with pytest.raises(ValueError, match=told):
    build_experiment(settings(**changes))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"search": {"width": 7}}, r"search.width=7.*engine.slots=6"),
    ({"train": {"saved_trees": -1}}, r"train.saved_trees=-1 must be at least 0"),
    ({"eval": {"search": -1}}, r"eval.search=-1 must be at least 0"),
    ({"search": {"depth": 0}}, r"search.depth=0 must be at least 1"),
    ({"search": {"prior": "max"}}, r"no search.prior is called 'max': .*known: mean, sum, uniform"),
    ({"search": {"commit": "steps"}}, r"no search.commit is called 'steps': did you mean 'step'\? known: path, step"),
    ({"search": {"evaluate": "head"}}, r"no search.evaluate is called 'head': known: rollout, value"),
    ({"rollout": {"strategy": "independent"}}, r"is fitted to the visits of a search, .* not 'independent'"),
    ({"search": {"step_end": "\\n"}}, r"search.step_end='.*' has a backslash and an n, not a line end"),
    ({"rollout": {"strategy": "tree"}}, r"rollout.strategy is called 'tree': .*tree_search"),
  ],
)
def test_bad_settings(changes, message):
  with pytest.raises(ValueError, match=message):
    build_experiment(settings(**changes))


@pytest.fixture(scope="module")
def finished(parts, tmp_path_factory):
  """(config, folder) of a run that also searches in its evaluations."""
  config = settings(
    train={"steps": 2, "trajectories_every": 2, "saved_trees": 3}, cold_start={"steps": 0},
    eval={"tasks": 2, "search": 2},
  )  # fmt: skip
  path = tmp_path_factory.mktemp("searched") / "run"
  with pytest.MonkeyPatch.context() as patch, RunFolder.open(path, config) as folder:
    patch.setattr(
      loop, "build_experiment", lambda _: dataclasses.replace(parts, params=jax.tree.map(jnp.copy, parts.params))
    )
    loop.run(config, folder)
  return config, path


def test_a_run_saves_trees_with_its_trajectories_and_the_report_links_them(finished):
  _, run = finished
  steps = {"eval_000000": 3, "eval_000002": 3, "train_000000": 3}
  assert {file.name for file in (run / "trees").iterdir()} == {
    f"{step}_{uid}.json" for step, count in steps.items() for uid in range(count)
  }
  record = json.loads((run / "trees" / "train_000000_0.json").read_text())
  assert record["nodes"][0]["visits"] == 7 and any(node["chosen"] for node in record["nodes"])
  report = write_report(run).read_text()
  assert 'href="trees/train_000000_0.html"' in report and 'href="trees/eval_000002_2.html"' in report


def test_evaluations_search_too_where_the_config_says_so(finished, parts, monkeypatch):
  config, run = finished
  lines = [line for line in metrics.read(run / "metrics.jsonl") if "eval/success" in line]
  assert [line["step"] for line in lines] == [0, 2]
  for line in lines:
    assert line["eval_search/success_low"] <= line["eval_search/success"] <= line["eval_search/success_high"]
    # 6 simulations of 3 steps each, of up to 5 tokens, against one answer: how much more is told.
    assert line["eval_search/generated_tokens"] > 2 * line["eval/generated_tokens"] > 0
  monkeypatch.setattr(evaluation, "build_experiment", lambda _: parts)
  again = evaluation.evaluate_policy(config, run=run, step=None)
  assert {n: v for n, v in again.items() if "eval" in n and not metrics.is_timing(n)} == {
    n: v for n, v in lines[-1].items() if "eval" in n and not metrics.is_timing(n)
  }


def test_a_searched_evaluation_reads_the_value_head_of_the_checkpoint(finished, learner, parts, tmp_path):
  config, _ = finished
  head = {"weight": jnp.linspace(-1.0, 1.0, parts.model.width), "bias": jnp.float32(0.0)}
  Checkpointer(tmp_path / "checkpoints" / "train").save(2, {"params": {**learner, "value": head}}, {})
  params, step = restore_params(config, parts, tmp_path, None)
  assert step == 2
  np.testing.assert_array_equal(params["value"]["weight"], head["weight"])
  found = evaluation.search_held_out(config, parts, params, step=step)
  assert any(values_inside(found))
  fresh = evaluation.search_held_out(config, parts, {"policy": params["policy"]}, step=step)
  assert not any(values_inside(fresh))
  assert all(t.parent is None for t in found.trajectories)  # no siblings, though this run learns from them


def values_inside(found):
  """What the value head said of every node of the trees that is no end."""
  return [node["value"] for tell in found.trees.values() for node in tell()["nodes"] if not node["terminal"]]


def test_rollouts_without_search_can_be_evaluated_with_it():
  path = {"rollout": {"strategy": "independent"}, "algo": {"credit": "value_baseline"}}
  plain = build_experiment(settings(**path, eval={"search": 1}))
  assert plain.collector.sampler.needs.params == () and plain.acts_by == ("value",)
  assert build_experiment(settings(**path)).searching is None
