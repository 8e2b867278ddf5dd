"""Authored traces: the oracle's, solved, and as a policy would have written them."""

import collections
import dataclasses
import re

import pytest

from agentrl import envs
from agentrl.models.chat import CHATML, ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rewards.combine import assign, make_reward
from agentrl.rollout.episode import Episode, Request
from agentrl.training.cold_start import Habits, authored_traces, check_demonstrated
from agentrl.types import Action, StopReason, TurnKind

HALF = {"needed": 0.5, "never": 0.5}


@pytest.fixture(scope="module")
def parts(tiny_experiment):
  return tiny_experiment()


def traces(parts, indices=range(40), mix=HALF, seed=0):
  return authored_traces(parts.tasks, parts.chat, indices, mix=mix, seed=seed)


def test_traces_solve_their_tasks(parts):
  got, tasks, left_out = traces(parts, range(5, 25))
  assert not left_out
  assert list(tasks) == list(range(5, 25)) == [t.group_id for t in got]
  assert all(t.reward_parts == {"correct": 1.0} and t.reward is None for t in got)
  assert all(tasks[t.group_id] == parts.tasks.task(t.group_id, "train") for t in got)


def test_actions_and_nothing_else_are_trained_on(parts):
  for trace in traces(parts, range(6))[0]:
    written = [parts.chat.parse(trace.tokens[turn.start : turn.end].tolist()) for turn in trace.turns]
    assert [action.kind for action in written] == [turn.kind for turn in trace.turns]
    assert trace.action_mask.sum() == sum(turn.end - turn.start for turn in trace.turns)
    assert all(trace.action_mask[turn.start : turn.end].all() for turn in trace.turns)
    assert not trace.sampler_logp.any()


@pytest.mark.parametrize(
  ("mix", "count"), [({}, 0), ({"never": 1.0}, 100), (HALF, 50), ({"needed": 0.93, "never": 0.07}, 7)]
)
def test_the_habit_never_answers_at_once(parts, mix, count):
  got = traces(parts, range(100), mix=mix)[0]
  direct = [t for t in got if [turn.kind for turn in t.turns] == [TurnKind.ANSWER]]
  assert len(direct) == count
  assert all(not turn.results for t in direct for turn in t.turns)
  assert all(len(t.turns) == 2 and t.turns[0].results for t in got if t not in direct)


@pytest.mark.parametrize("seed", [0, 1, 99])
def test_a_mix_is_honoured_exactly_in_every_block_of_every_seed(seed):
  habits = Habits({"needed": 0.5, "always": 0.3, "never": 0.2, "seldom": 0.0}, seed)
  for block in range(20):
    shown = [habits.at(100 * block + n) for n in range(100)]
    assert collections.Counter(shown) == {"needed": 50, "always": 30, "never": 20}
  thirds = Habits({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, seed)
  for block in range(20):
    counts = collections.Counter(thirds.at(100 * block + n) for n in range(100))
    assert set(counts.values()) == {33, 34}
  assert len({tuple(habits.at(100 * block + n) for n in range(100)) for block in range(20)}) == 20


@pytest.mark.parametrize(
  ("mix", "told"),
  [
    (
      {"needed": 0.5, "never": 0.4},
      "cold_start.mix={'needed': 0.5, 'never': 0.4}: shares are at least 0, and together 1; here they are 0.9",
    ),
    ({"needed": 1.5, "never": -0.5}, "shares are at least 0"),
    ({"needed": float("nan")}, "together 1"),
    ({"needed": 0.5, "newer": 0.5}, "cold_start.mix: no habit is called 'newer': did you mean 'never'"),
  ],
)
def test_a_wrong_mix_is_named(parts, mix, told):
  with pytest.raises(ValueError, match=re.escape(told)):
    traces(parts, range(2), mix=mix)


def backwards(task, tool):
  return [Action(TurnKind.ANSWER, "", answer=task.answer[::-1])]


def test_a_habit_of_yours_is_named_by_its_import_path(parts):
  mine = f"{__name__}:backwards"
  got = traces(parts, range(10), mix={mine: 1.0})
  assert [t.turns[0].answer for t in got.traces] == [got.tasks[n].answer[::-1] for n in range(10)]


def test_which_answer_at_once_depends_on_seed_and_index_alone(parts):
  def choice(indices, seed):
    return {t.group_id: len(t.turns) for t in traces(parts, indices, seed=seed)[0]}

  assert choice(range(40), 0) == {**choice(range(20), 0), **choice(range(20, 40), 0)}
  assert choice(range(40), 0) != choice(range(40), 1)


def test_a_demonstration_that_cannot_be_played_names_its_task(parts):
  class Broken:
    def reset(self, task, seed):
      raise RuntimeError("the licence server is away")

    def close(self):
      closed.append(self)

  closed = []
  tasks = dataclasses.replace(parts.tasks, environment=Broken)
  got = authored_traces(tasks, parts.chat, [3], mix={}, seed=0)
  assert not got.traces and not got.tasks
  (left_out,) = got.left_out
  assert left_out.group == 3
  assert re.match(r"the demonstration of task .*-train-.* could not .*: RuntimeError: the lic", left_out.reason)
  assert len(closed) == 1


def test_a_demonstration_that_does_not_fit_or_breaks_is_left_out_and_the_others_are_not(parts):
  whole = traces(parts, range(12), mix={})
  lengths = [len(t.tokens) for t in whole.traces]
  longest = lengths.index(max(lengths))
  oracle = parts.tasks.oracle

  def junk_for_two(task, habit):
    return oracle(task, habit) if task.id != whole.tasks[(longest + 1) % 12].id else [Action("answer", "4")]

  tasks = dataclasses.replace(parts.tasks, oracle=junk_for_two)
  limits = {"max_tokens": max(lengths) - 1, "max_actions": 10**6}
  got = authored_traces(tasks, parts.chat, range(12), mix={}, seed=0, **limits)
  expected = [n for n in range(12) if lengths[n] < max(lengths) and n != (longest + 1) % 12]
  assert [t.group_id for t in got.traces] == expected == list(got.tasks)
  assert {task.group for task in got.left_out} == set(range(12)) - set(expected)
  reasons = {task.group: task.reason for task in got.left_out}
  assert f"pack.row_tokens={max(lengths) - 1}" in reasons[longest] and whole.tasks[longest].id in reasons[longest]
  assert f"it has {max(lengths)} tokens" in reasons[longest]
  assert reasons[longest].endswith(f": raise pack.row_tokens to {max(lengths)}")
  cut = authored_traces(parts.tasks, parts.chat, [longest], mix={}, seed=0, max_tokens=max(lengths) - 5)
  assert cut.left_out[0].reason.endswith(f": raise pack.row_tokens to {max(lengths)}")
  assert all((t.tokens == whole.traces[t.group_id].tokens).all() for t in got.traces)


def test_a_part_that_no_demonstration_has_is_refused_before_anything_is_trained(parts):
  def check(*names, tasks=parts.tasks):
    check_demonstrated(make_reward(dict.fromkeys(names, 1.0), {}), tasks, parts.chat, seconds=60.0)

  check("correct", "void_turns")
  with pytest.raises(ValueError, match="reward: no reward part is called 'corect': did you mean 'correct'"):
    check("corect")

  def no_oracle(task, habit):
    raise NotImplementedError

  check("corect", tasks=dataclasses.replace(parts.tasks, oracle=no_oracle))  # the first answers will show it


def test_demonstrations_are_played_until_one_has_all_parts(parts):
  asked = []

  def noted(task, habit):
    asked.append(task.id)
    return parts.tasks.oracle(task, habit)

  check_demonstrated(
    make_reward({"correct": 1.0}, {}), dataclasses.replace(parts.tasks, oracle=noted), parts.chat, seconds=60.0
  )
  assert len(asked) == 1


# ---- conversations ----------------------------------------------------------------------------------------------

TOKENIZER = Tokenizer.byte_level()
GAMES = {demonstrator: {"table": "sixteen", "demonstrator": demonstrator} for demonstrator in ("bisect", "random")}
SPOKEN = {"plain": ChatFormat.dialogue(TOKENIZER, "\n"), "chatml": ChatFormat.dialogue(TOKENIZER, "", CHATML)}


@pytest.mark.parametrize("chat", SPOKEN.values(), ids=SPOKEN)
@pytest.mark.parametrize("options", GAMES.values(), ids=GAMES)
def test_demonstrated_games_are_rewarded_turn_by_turn(chat, options):
  source = envs.make("twenty_questions", "", options=options)
  got, tasks, _ = authored_traces(source, chat, range(20), mix={}, seed=0)
  for trace in got:
    asked = [action.answer for action in source.oracle(tasks[trace.group_id])]
    assert [turn.answer for turn in trace.turns] == asked
    assert [turn.reward for turn in trace.turns] == [-1.0] * (len(asked) - 1) + [0.0]
    assert trace.stop is StopReason.ANSWERED
    reward = make_reward({"return": 0.5, "correct": 2.0}, {})
    ((weighed,), _) = assign(reward, [trace], tasks[trace.group_id], {})
    assert weighed.reward == 2.0 - 0.5 * (len(asked) - 1)


def test_a_game_in_plain_text_reads_as_it_was_played():
  source = envs.make("twenty_questions", "", options=GAMES["bisect"])
  (trace,), tasks, _ = authored_traces(source, SPOKEN["plain"], [3], mix={}, seed=0)
  asked = [action.answer for action in source.oracle(tasks[3])]
  replies = [turn.observation for turn in trace.turns]
  lines = ["What is it?", *(line for pair in zip(asked, replies, strict=True) for line in pair)]
  assert TOKENIZER.decode(trace.tokens) == "\n".join(lines)
  assert set(replies[:-1]) <= {"Yes.", "No."} and replies[-1] == ""
  sampled = bytes(trace.tokens[trace.action_mask].tolist()).decode()
  assert sampled == "".join(f"{text}\n" for text in asked)


@pytest.mark.parametrize(("limits", "stop"), [({"max_turns": 3}, "TURN_LIMIT"), ({"max_tokens": 60}, "LENGTH_LIMIT")])
def test_a_game_that_the_rollout_cuts_off_is_a_lost_one(limits, stop):
  """Whether between turns or in the midst of one: an unfinished game returns what a lost one does."""
  source = envs.make("twenty_questions", "", options=GAMES["bisect"])
  task, chat = source.task(0, "train"), SPOKEN["plain"]
  request = Request(task, 0, 0, 0, 1.0, **{"max_tokens": 500, "max_turns": 20, "turn_tokens": 16, **limits})
  game = Episode(request, source.environment, chat, policy_version=0)
  game.begin(game.open())
  while not game.finished:
    while game.length < request.max_tokens and not game.write(list(b"x"), [0.0], [0.0]):
      pass
    if game.length < request.max_tokens:
      game.observe(game.action(), game.act(game.action()))
    else:
      game.run_out()
  reward = make_reward({"return": 1.0, "correct": 1.0}, {})
  ((trajectory,), _) = assign(reward, [game.trajectory()], task, {})
  assert trajectory.stop is StopReason[stop]
  assert trajectory.reward_parts == {"correct": 0.0, "return": -20.0}
  assert trajectory.reward == -20.0


def test_direct_answers_make_no_sense_without_tools():
  source = envs.make("twenty_questions", "", options=GAMES["bisect"])
  with pytest.raises(
    ValueError, match=r"cold_start.mix: the habit 'never' leaves tool calls out, and there is no tool"
  ):
    authored_traces(source, SPOKEN["plain"], range(2), mix=HALF, seed=0)
