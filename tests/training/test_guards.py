"""What is not finite is named: in samples, metrics and learner states, with the step and what is left of the run."""

import dataclasses
import gzip
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.algorithms.contract import LearnerState
from agentrl.batching.pack import Column, PackConfig, pack
from agentrl.ops.finite import NonFinite
from agentrl.training import guards, loop, sources
from agentrl.training.checkpoint import Checkpointer
from agentrl.training.run_folder import RunFolder
from agentrl.types import StopReason, Trajectory, Turn, TurnKind
from tests.training.conftest import numbers

MASK = np.asarray([False, True, True])
SAMPLE = Trajectory(
  tokens=np.zeros(3, np.int32), action_mask=MASK, sampler_logp=np.asarray([np.nan, -1.0, -2.0], np.float32),
  entropy=np.asarray([np.nan, 0.5, 0.1], np.float32), turn=np.asarray([-1, 0, 0], np.int32),
  policy_version=np.zeros(3, np.int32), turns=(Turn(TurnKind.ANSWER, 1, 3, ""),), task_id="sum", group_id=0, uid=7,
  stop=StopReason.ANSWERED, reward_parts={"correct": 1.0}, reward=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
  ("change", "named"),
  [
    ({"reward": np.nan}, "reward of"),
    ({"reward_parts": {"correct": 1.0, "length": np.inf}}, "reward part length of"),
    ({"turns": (SAMPLE.turns[0], dataclasses.replace(SAMPLE.turns[0], reward=-np.inf))}, "reward of turn 1 of"),
    ({"sampler_logp": np.asarray([0.0, -1.0, -np.inf])}, "sampler_logp of"),
    ({"entropy": np.asarray([0.0, np.nan, 0.0])}, "entropy of"),
  ],
)
def test_samples_are_named_with_what_is_wrong(change, named):
  with pytest.raises(NonFinite, match=rf"^{named} trajectory 7 \(task sum\) is not finite$"):
    guards.require_finite_samples([SAMPLE, dataclasses.replace(SAMPLE, **change)])


def test_only_what_was_sampled_is_looked_at_and_a_failed_environment_has_no_reward():
  guards.require_finite_samples([SAMPLE, dataclasses.replace(SAMPLE, reward=None, reward_parts=None)])


def test_metrics_are_named_with_their_values():
  guards.require_finite_metrics({"policy/loss": 0.0})
  with pytest.raises(NonFinite, match=r"policy/loss is nan, value/error is inf$"):
    guards.require_finite_metrics({"policy/loss": float("nan"), "a/b": 1.0, "value/error": float("inf")})


def test_states_are_named_by_path():
  params = {"policy": {"embed": jnp.ones(2)}, "value": jnp.ones(())}
  state = LearnerState(params, {"mu": params}, None, jnp.int32(3))
  guards.require_finite_state(state)
  spoiled = {**params, "value": jnp.float32(np.nan)}
  with pytest.raises(NonFinite, match=r"^of the learner's state params/value is not finite \(and 1 more after it\)$"):
    guards.require_finite_state(state._replace(params=spoiled, opt_state={"mu": spoiled}))


def test_records_are_named_by_path():
  record = {"nodes": [{"text": "", "q": 0.5, "value": None}, {"text": "nan", "q": 1, "value": 2.0}]}
  guards.require_finite_record(record, "the search 3")
  record["nodes"][1] |= {"q": float("nan"), "value": float("inf")}
  message = r"^of the search 3 nodes/1/q is not finite \(and 1 more after it\)$"
  with pytest.raises(NonFinite, match=message):
    guards.require_finite_record(record, "the search 3")


@pytest.mark.parametrize(("saved", "left"), [([2, 4], "of step 4, is as it was"), ([], "There is no checkpoint yet")])
def test_the_error_tells_step_samples_and_what_is_left(saved, left):
  with pytest.raises(NonFinite) as ended:
    with guards.ending_the_run(5, lambda: saved), guards.keeping_samples(lambda: pathlib.Path("train_000004.jsonl.gz")):
      raise NonFinite("gradient/policy/embed is not finite")
  message = str(ended.value)
  assert message.startswith("step 5: gradient/policy/embed is not finite\nIts samples are in train_000004.jsonl.gz\n")
  assert left in message


def test_other_errors_pass_as_they_are():
  with pytest.raises(ValueError, match=r"^mine$"):
    with guards.ending_the_run(5, list), guards.keeping_samples(pathlib.Path):
      raise ValueError("mine")


# ---- in a run --------------------------------------------------------------------------------------------------------


def spoil_batch(update, state, key, batch):
  return update(
    state, key, batch._replace(columns={**batch.columns, "advantages": jnp.where(batch.action_mask, jnp.nan, 0.0)})
  )


def spoil_params(update, state, key, batch):
  """As an algorithm does that checks nothing itself."""
  state, metrics = update(state, key, batch)
  norm = state.params["policy"]["final_norm"]
  return state._replace(params={"policy": {**state.params["policy"], "final_norm": norm * jnp.nan}}), metrics


def spoil_metrics(update, state, key, batch):
  state, metrics = update(state, key, batch)
  return state, {**metrics, "value/error": jnp.inf}


@pytest.mark.parametrize(
  ("spoil", "named"),
  [
    (spoil_batch, "step 4: optimiser step 2, micro-batches 0 to .: batch/advantages is not finite"),
    (spoil_params, "step 4: of the learner's state params/policy/final_norm is not finite"),
    (spoil_metrics, "step 4: of the metrics value/error is inf"),
  ],
)
def test_a_step_that_is_not_finite_ends_the_run_before_it_is_saved(run, tiny_experiment, tmp_path, spoil, named):
  parts, calls = tiny_experiment(), []

  def update(*arguments):
    calls.append(None)
    return spoil(parts.algorithm.update, *arguments) if len(calls) == 2 else parts.algorithm.update(*arguments)

  spoiled = dataclasses.replace(parts, algorithm=parts.algorithm._replace(update=update))
  with pytest.raises(NonFinite, match=named) as ended:
    run(tmp_path / "run", spoiled, trajectories_every=9)
  assert "The last checkpoint, of step 3, is as it was" in str(ended.value)
  checkpoints = Checkpointer(tmp_path / "run" / "checkpoints" / "train")
  assert checkpoints.steps == [1]
  guards.require_finite_state(checkpoints.restore_latest(parts.algorithm.init(jax.random.key(0), parts.params)).state)
  assert [line["step"] for line in numbers(tmp_path / "run")] == [0, 1, 2, 3]


def test_a_reward_that_is_not_finite_is_named_and_its_samples_are_kept(run, unbroken, tiny_experiment, tmp_path):
  parts, calls = tiny_experiment(), []

  def spoiled(trajectories):
    calls.append(None)
    kept = parts.filter(trajectories)
    return [dataclasses.replace(kept[0], reward=float("nan")), *kept[1:]] if len(calls) == 2 else kept

  with pytest.raises(NonFinite, match=r"step 4: reward of trajectory \d+ .*\nIts samples are in .*train_000003"):
    run(tmp_path / "run", dataclasses.replace(parts, filter=spoiled), trajectories_every=9)
  written = {file.name for file in (tmp_path / "run" / "trajectories").glob("train*")}
  assert written == {"train_000000.jsonl.gz", "train_000003.jsonl.gz"}
  assert run(tmp_path / "run", trajectories_every=9) == numbers(unbroken[0])


def test_the_file_that_the_error_names_holds_the_sample_that_it_names(run, tiny_experiment, tmp_path, monkeypatch):
  """However many there are: the file of a step without an error holds only the first of them."""
  parts = tiny_experiment()
  monkeypatch.setitem(RunFolder.save_trajectories.__kwdefaults__, "limit", 1)

  def spoil_the_last(trajectories):
    *kept, last = sorted(parts.filter(trajectories), key=lambda t: t.uid)
    return [*kept, dataclasses.replace(last, reward=float("inf"))]

  with pytest.raises(NonFinite) as ended:
    run(tmp_path / "run", dataclasses.replace(parts, filter=spoil_the_last))
  lines = gzip.decompress((tmp_path / "run" / "trajectories" / "train_000002.jsonl.gz").read_bytes()).splitlines()
  uids = [json.loads(line)["uid"] for line in lines]
  assert len(uids) == 4 and f"reward of trajectory {uids[-1]} " in str(ended.value)


def test_the_checkpoint_that_is_left_may_be_the_one_of_the_stage_before(run, tiny_experiment, tmp_path):
  parts = tiny_experiment()
  update = lambda *arguments: spoil_metrics(parts.algorithm.update, *arguments)
  spoiled = dataclasses.replace(parts, algorithm=parts.algorithm._replace(update=update))
  with pytest.raises(NonFinite, match=r"^step 3: .*\n.*\nThe last checkpoint, of step 2, is as it was"):
    run(tmp_path / "run", spoiled)


def test_an_evaluation_before_the_first_step_tells_the_step_too(run, tmp_path, monkeypatch):
  monkeypatch.setattr(loop, "evaluate", lambda *_, **__: {"eval/success": float("nan")})
  with pytest.raises(NonFinite, match=r"^step 0: of the metrics eval/success is nan\nThere is no checkpoint yet"):
    run(tmp_path / "run")


def test_credit_that_is_not_finite_tells_the_step_and_keeps_the_samples(run, tiny_experiment, tmp_path):
  def prepare(state, kept):
    nothing = Column([np.full(len(t.tokens), np.nan) for t in kept])
    return pack(kept, {"advantages": nothing}, PackConfig(128, 96, 1, sequences=4)), {}

  parts = tiny_experiment()
  spoiled = dataclasses.replace(parts, algorithm=parts.algorithm._replace(prepare=prepare))
  with pytest.raises(NonFinite, match=r"^step 3: .* its advantages are not all finite.*\nIts samples .*train_000002"):
    run(tmp_path / "run", spoiled)


def test_a_search_that_is_not_finite_tells_the_step_and_keeps_the_samples(run, tmp_path, monkeypatch):
  kind = sources.SOURCES["rollouts"]

  def with_a_tree(*arguments):
    source = kind.make(*arguments)
    return source._replace(draw=lambda *given: source.draw(*given)._replace(trees={7: lambda: record}))

  monkeypatch.setitem(sources.SOURCES, "rollouts", kind._replace(make=with_a_tree))
  record = {"task": "sum", "uid": 7, "nodes": [{"q": float("nan")}]}
  message = r"^step 3: of the search 7 \(task sum\) nodes/0/q is not finite\nIts samples are in .*train_000002"
  with pytest.raises(NonFinite, match=message):
    run(tmp_path / "run")
  assert not list((tmp_path / "run").glob("trees/*"))
