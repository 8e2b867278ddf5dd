"""Where the policy goes on from: prefixes that are acted again, and of which nothing is trained."""

import dataclasses
import gzip
import json
import shutil

import pytest

from agentrl.rollout.episode import Episode, Request, Start
from agentrl.training import config_values, prefixes
from agentrl.training.cold_start import authored_traces
from agentrl.training.collect import SeededStart
from agentrl.training.sources import kind_of
from agentrl.training.stages import stages_of
from agentrl.training.trajectory_rows import trajectory_row
from agentrl.types import EnvironmentFailed, FailureKind, Visit

VISITS = [Visit(group, 3 + group % 2) for group in range(20, 40)]


@pytest.fixture(scope="module")
def parts(tiny_experiment):
  return tiny_experiment()


@pytest.fixture(scope="module")
def begun(parts):
  return prefixes.after_authored(parts.tasks, parts.chat, mix={}, seed=0)(VISITS)


def demonstration(parts, index):
  return authored_traces(parts.tasks, parts.chat, [index], mix={}, seed=0).traces[0]


def told(turns):
  """Turns without what the clock says of them."""
  return [(turn.kind, turn.start, turn.end, turn.text, turn.observation, turn.ok) for turn in turns]


def begins(starts):
  return {group: (start.tokens, told(start.turns), seed) for group, (start, seed) in starts.items()}


def test_a_start_is_a_demonstration_up_to_one_of_its_turns(parts, begun):
  assert begun.visits == VISITS and not begun.left_out
  for visit in VISITS:
    (start, seed), trace = begun.starts[visit.group], demonstration(parts, visit.index)
    assert seed == trace.seed == visit.index
    assert list(start.tokens) == trace.tokens[: len(start.tokens)].tolist()
    assert told(start.turns) == told(trace.turns[: len(start.turns)])
    assert len(start.tokens) == trace.turns[len(start.turns)].start
  assert {len(start.turns) for start, _ in begun.starts.values()} == {0, 1}  # a call and the answer: the answer never


def test_the_same_groups_begin_alike_whatever_else_is_asked(parts, begun):
  again = prefixes.after_authored(parts.tasks, parts.chat, mix={}, seed=0)(VISITS[7:9])
  assert begins(again.starts) == {v.group: begins(begun.starts)[v.group] for v in VISITS[7:9]}
  other = prefixes.after_authored(parts.tasks, parts.chat, mix={}, seed=1)(VISITS)
  assert begins(other.starts) != begins(begun.starts)


def test_a_task_without_a_demonstration_is_left_out(parts):
  def oracle(task, habit="needed"):
    if task.id == parts.tasks.task(4, "train").id:
      raise RuntimeError("nobody knows")
    return parts.tasks.oracle(task, habit)

  tasks = dataclasses.replace(parts.tasks, oracle=oracle)
  begun = prefixes.after_authored(tasks, parts.chat, mix={}, seed=0)(VISITS)
  assert {visit.index for visit in begun.visits} == {3}
  assert {task.group for task in begun.left_out} == {visit.group for visit in VISITS if visit.index == 4}
  assert all("nobody knows" in task.reason for task in begun.left_out)


# ---- in an episode ---------------------------------------------------------------------------------------------------


def request(parts, trace, **changes):
  start = Start(tuple(trace.tokens[: trace.turns[1].start].tolist()), trace.turns[:1], "the demonstration")
  task = parts.tasks.task(trace.index, "train")
  values = {"task": task, "uid": 5, "group_id": 2, "seed": trace.seed, "start": start, **changes}
  return Request(**values, temperature=1.0, max_tokens=200, max_turns=2)


def test_the_environment_stands_where_the_prefix_ends_and_the_prefix_is_prompt(parts):
  trace = demonstration(parts, 3)
  episode = Episode(request(parts, trace), parts.tasks.environment, parts.chat, policy_version=4)
  assert episode.replayed == 1
  prompt = episode.open()
  assert prompt == trace.tokens[: trace.turns[1].start].tolist()
  episode.begin(prompt)
  last = trace.turns[1]
  tokens = trace.tokens[last.start : last.end].tolist()
  assert episode.write(tokens, [-1.0] * len(tokens), [0.5] * len(tokens))
  episode.observe(episode.action(), episode.act(episode.action()))
  done = episode.trajectory()
  assert done.reward_parts == {"correct": 1.0}  # the answer to the question, behind the call that another made
  assert done.tokens.tolist() == trace.tokens.tolist()
  assert not done.action_mask[: last.start].any() and done.action_mask[last.start : last.end].all()
  assert done.prompt_length == last.start and len(done.turns) == 1 and list(done.prefix) == list(trace.turns[:1])
  assert (done.turn[: last.start] == -1).all() and (done.turn[last.start :] == 0).all()
  assert (done.index, done.seed) == (0, 3)


def test_an_environment_that_answers_otherwise_than_it_was_stored_has_failed(parts):
  trace = demonstration(parts, 3)
  (call,) = trace.turns[:1]
  odd = dataclasses.replace(call, observation="-1")
  start = Start(tuple(trace.tokens[: trace.turns[1].start].tolist()), (odd,), "trajectory 8 (task t)")
  episode = Episode(request(parts, trace, start=start), parts.tasks.environment, parts.chat, 0)
  told = r"repeating the actions of trajectory 8 \(task t\) gave .* '-1'"
  with pytest.raises(EnvironmentFailed, match=told) as failed:
    episode.open()
  assert failed.value.kind is FailureKind.CHANGED
  other = request(parts, trace, task=parts.tasks.task(4, "train"))
  with pytest.raises(EnvironmentFailed, match="gave another prompt than to the demonstration"):
    Episode(other, parts.tasks.environment, parts.chat, 0).open()


def test_a_prefix_that_does_not_fit_is_told(parts):
  trace = demonstration(parts, 3)
  short = dataclasses.replace(request(parts, trace), max_tokens=trace.turns[1].start)
  with pytest.raises(EnvironmentFailed, match=r"its prompt has .* tokens, and must have fewer") as failed:
    Episode(short, parts.tasks.environment, parts.chat, 0).open()
  assert failed.value.kind is FailureKind.PROMPT


# ---- of a run --------------------------------------------------------------------------------------------------------


def stored(parts, folder, *, step=10, **changes):
  """Writes demonstrations as trajectories of a run."""
  (folder / "trajectories").mkdir(parents=True, exist_ok=True)
  rows = []
  for index in (3, 5, 8):
    trace = dataclasses.replace(demonstration(parts, index), reward=float(index != 5), uid=index)
    rows.append({**trajectory_row(trace, parts.tasks.task(index, "train"), parts.tokenizer), **changes})
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "trajectories" / f"train_{step:06d}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
  return folder


def test_stored_trajectories_are_gone_on_from_round_and_round(parts, tmp_path):
  found = prefixes.read_stored(stored(parts, tmp_path), least_reward=0.5)
  assert [row["index"] for row in found.rows] == [3, 8]
  begun = prefixes.after_stored(found, parts.tasks, seed=0)([Visit(60 + n, n) for n in range(5)])
  assert begun.visits == [Visit(60, 3), Visit(61, 8), Visit(62, 3), Visit(63, 8), Visit(64, 3)]
  for visit in begun.visits:
    (start, seed), trace = begun.starts[visit.group], demonstration(parts, visit.index)
    assert seed == trace.seed
    assert list(start.tokens) == trace.tokens[: len(start.tokens)].tolist()
    assert told(start.turns) == told(trace.turns[: len(start.turns)])


def test_what_cannot_be_gone_on_from_is_left_out_or_told(parts, tmp_path):
  with pytest.raises(FileNotFoundError, match=r"of 0 trajectories in .* none has a reward of at least 0 and a turn"):
    prefixes.read_stored(tmp_path, least_reward=0.0)
  for changes in ({"parent": 7}, {"turns": []}, {"stop": "environment_failed"}):
    with pytest.raises(FileNotFoundError, match=r"of 3 trajectories in .* none has a reward of at least 0"):
      prefixes.read_stored(stored(parts, tmp_path, **changes), least_reward=0.0)
  begun = prefixes.read_stored(stored(parts, tmp_path, task_id="other"), least_reward=0.0)
  with pytest.raises(ValueError, match=r"trajectory 3 \(task other\) is of task number 3, which here is"):
    prefixes.after_stored(begun, parts.tasks, seed=0)([Visit(1, 0)])
  row = json.loads(gzip.decompress((tmp_path / "trajectories" / "train_000010.jsonl.gz").read_bytes()).split(b"\n")[0])
  del row["seed"]
  (tmp_path / "trajectories" / "train_000020.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
  with pytest.raises(ValueError, match="do not say what their environments were reset with; an older version wrote"):
    prefixes.read_stored(tmp_path, least_reward=0.0)


def test_groups_go_on_behind_their_starts(parts, begun):
  settings = {"split": "train", "samples": 2, "temperature": 1.0, "version": 0, "memory": {}, "starts": begun.starts}
  collector = dataclasses.replace(parts.collector, max_turns=1)
  params = parts.driver_params({"policy": parts.params})
  got = collector.collect(params, parts.keys["rollout"], begun.visits[:4], **settings)
  assert not got.failures and len(got.trajectories) == 8
  for t in got.trajectories:
    start = begun.starts[t.group_id].start
    assert t.tokens[: len(start.tokens)].tolist() == list(start.tokens) and t.prompt_length == len(start.tokens)
    assert not t.action_mask[: len(start.tokens)].any() and len(t.turns) == 1 and list(t.prefix) == list(start.turns)
  assert isinstance(begun.starts[20], SeededStart)


@pytest.mark.slow
def test_a_run_on_prefixes_is_killed_and_goes_on_to_the_same_numbers(run, tmp_path):
  settings = {"rollout": {"max_tokens": 40}}
  source = {"source": "authored_prefixes", "source_options": {"turns": 1, "mix": {"needed": 0.5, "never": 0.5}}}
  whole = run(tmp_path / "whole", settings=settings, **source)
  assert whole[-1]["rollout/turns"] == 1 and whole[-1]["rollout/environment_failures"] == 0
  run(tmp_path / "half", settings=settings, steps=3, **source)
  shutil.rmtree(tmp_path / "half" / "checkpoints" / "train" / "3")
  shutil.rmtree(tmp_path / "half" / "checkpoints" / "train" / "2")
  assert run(tmp_path / "half", settings=settings, steps=3, **source) == whole


def test_a_stage_refuses_to_go_on_from_other_trajectories(parts, tiny_config, tmp_path):
  options = {"source": "stored_prefixes", "source_options": {"run": str(stored(parts, tmp_path))}}
  config = config_values.resolve(tiny_config, {"train": options}, where="test")
  stage = stages_of(config)[-1]
  began = kind_of(config, stage).make(config, parts, stage, 0)
  assert {"stored", "visits"} <= began.counters.keys()
  stored(parts, tmp_path, step=20)
  with pytest.raises(ValueError, match="are others than when this stage began"):
    kind_of(config, stage).make(config, parts, stage, 0).draw(None, began.counters)
