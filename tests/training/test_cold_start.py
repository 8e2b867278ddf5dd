"""Authored traces: the oracle's, solved, and as a policy would have written them."""

import dataclasses
import re

import pytest

from agentrl import envs
from agentrl.models.chat import CHATML, ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rewards.combine import assign, make_reward
from agentrl.rollout.episode import Episode, Request
from agentrl.training.cold_start import authored_traces
from agentrl.types import Action, StopReason, TurnKind


@pytest.fixture(scope="module")
def parts(tiny_experiment):
  return tiny_experiment()


def traces(parts, indices=range(40), direct_share=0.5, seed=0):
  return authored_traces(parts.tasks, parts.chat, indices, direct_share=direct_share, seed=seed)


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


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (1.0, 40, 40), (0.5, 10, 30)])
def test_direct_share_answers_at_once(parts, share, least, most):
  direct = [t for t in traces(parts, direct_share=share)[0] if [turn.kind for turn in t.turns] == [TurnKind.ANSWER]]
  assert least <= len(direct) <= most
  assert all(not turn.results for t in direct for turn in t.turns)


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
  got = authored_traces(tasks, parts.chat, [3], direct_share=0.0, seed=0)
  assert not got.traces and not got.tasks
  (left_out,) = got.left_out
  assert left_out.group == 3
  assert re.match(r"the demonstration of task .*-train-.* could not .*: RuntimeError: the lic", left_out.reason)
  assert len(closed) == 1


def test_a_demonstration_that_does_not_fit_or_breaks_is_left_out_and_the_others_are_not(parts):
  whole = traces(parts, range(12), direct_share=0.0)
  lengths = [len(t.tokens) for t in whole.traces]
  longest = lengths.index(max(lengths))
  oracle = parts.tasks.oracle

  def junk_for_two(task):
    return oracle(task) if task.id != whole.tasks[(longest + 1) % 12].id else [Action("answer", "4")]

  tasks = dataclasses.replace(parts.tasks, oracle=junk_for_two)
  limits = {"max_tokens": max(lengths) - 1, "max_actions": 10**6}
  got = authored_traces(tasks, parts.chat, range(12), direct_share=0.0, seed=0, **limits)
  expected = [n for n in range(12) if lengths[n] < max(lengths) and n != (longest + 1) % 12]
  assert [t.group_id for t in got.traces] == expected == list(got.tasks)
  assert {task.group for task in got.left_out} == set(range(12)) - set(expected)
  reasons = {task.group: task.reason for task in got.left_out}
  assert f"pack.row_tokens={max(lengths) - 1}" in reasons[longest] and whole.tasks[longest].id in reasons[longest]
  assert all((t.tokens == whole.traces[t.group_id].tokens).all() for t in got.traces)


# ---- conversations ----------------------------------------------------------------------------------------------

TOKENIZER = Tokenizer.byte_level()
GAMES = {demonstrator: {"table": "sixteen", "demonstrator": demonstrator} for demonstrator in ("bisect", "random")}
SPOKEN = {"plain": ChatFormat.dialogue(TOKENIZER, "\n"), "chatml": ChatFormat.dialogue(TOKENIZER, "", CHATML)}


@pytest.mark.parametrize("chat", SPOKEN.values(), ids=SPOKEN)
@pytest.mark.parametrize("options", GAMES.values(), ids=GAMES)
def test_demonstrated_games_are_rewarded_turn_by_turn(chat, options):
  source = envs.make("twenty_questions", "", options=options)
  got, tasks, _ = authored_traces(source, chat, range(20), direct_share=0.0, seed=0)
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
  (trace,), tasks, _ = authored_traces(source, SPOKEN["plain"], [3], direct_share=0.0, seed=0)
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
  with pytest.raises(ValueError, match=r"cold_start.direct_share=0.5 leaves tool calls out, and there is no tool"):
    authored_traces(source, SPOKEN["plain"], range(2), direct_share=0.5, seed=0)
