"""Likeness of calls against the published formulas, worked by hand."""

import itertools

import numpy as np
import pytest

from agentrl.rewards import toolrl
from agentrl.rewards.toolrl import Call, Ranges, best, greedy, smooth, toolrl_correct, toolrl_format, two_stages
from agentrl.types import StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, TurnKind

PAY = Call("pay", {"who": "ana", "sum": 12})
LOOK = Call("look", {"key": "koka"})


def task(*gold):
  return Task("t", "tests", "?", data={"gold": [{"name": call.name, "arguments": call.arguments} for call in gold]})


def turn_of(kind, calls=(), text=""):
  return Turn(kind, 0, 0, text, results=[ToolResult(ToolCall(*call), "", True) for call in calls])


def episode(*turns, version=0):
  zeros = np.zeros(4, np.float32)
  return Trajectory(
    tokens=np.zeros(4, np.int32),
    action_mask=np.ones(4, bool),
    sampler_logp=zeros,
    entropy=zeros,
    turn=np.zeros(4, np.int32),
    policy_version=np.array([-1, version, version, version], np.int32),
    turns=turns,
    task_id="t",
    group_id=0,
    uid=0,
    stop=StopReason.ANSWERED,
  )


def calling(*calls, **how):
  return episode(turn_of(TurnKind.TOOL_CALL, calls), **how)


UNREAD = episode(turn_of(TurnKind.MALFORMED))


def correct(made, *gold, **settings):
  return toolrl_correct(calling(*made), task(*gold), **settings)


@pytest.mark.parametrize(
  ("made", "fine", "refined", "intermediate", "coarse"),
  [
    # S_max is 1 + (1 + 2) = 4 of the fine ones, 1 + 1 = 2 of the intermediate one; the reward is 6 S / S_max - 3.
    ([PAY], 3.0, 3.0, 3.0, 3.0),
    # the name 1, keys 2/2, one value of two: S = 3
    ([Call("pay", {"who": "ana", "sum": 13})], 1.5, 1.5, 0.0, -3.0),
    # a number is not the text that spells it
    ([Call("pay", {"who": "ana", "sum": "12"})], 1.5, 1.5, 0.0, -3.0),
    # the name 1, keys 1/2, one value: S = 2.5; keys that are not all the same count nothing when refined: S = 2
    ([Call("pay", {"who": "ana"})], 0.75, 0.0, 0.0, -3.0),
    # keys 2/3: S = 1 + 2/3 + 2
    ([Call("pay", {"who": "ana", "sum": 12, "to": "x"})], 6 * (11 / 3) / 4 - 3, 1.5, 0.0, -3.0),
    # another tool
    ([LOOK], -3.0, -3.0, -3.0, -3.0),
    # the right call and another: the name 1/2, S = 3.5; refined 0 for the names
    ([PAY, LOOK], 2.25, 1.5, 1.5, -3.0),
  ],
)
def test_the_published_formula_of_one_call(made, fine, refined, intermediate, coarse):
  granularities = {"fine": fine, "refined": refined, "intermediate": intermediate, "coarse": coarse}
  assert {name: correct(made, PAY, granularity=name) for name in granularities} == pytest.approx(granularities)


def test_calls_that_are_not_there_earn_the_least_and_none_wanted_earns_nothing():
  for granularity in toolrl.GRANULARITIES:
    assert toolrl_correct(UNREAD, task(PAY), granularity=granularity) == -3.0
    assert toolrl_correct(UNREAD, task(), granularity=granularity) == 0.0
    assert correct([LOOK, PAY], PAY, LOOK, granularity=granularity) == 3.0
  with pytest.raises(ValueError, match=r"data\['gold'\]; task t does not"):
    toolrl_correct(UNREAD, Task("t", "tests", "?"))


def test_two_wanted_calls_one_made():
  # S_max = 1 + (1 + 2) + (1 + 1) = 6; S = 1/2 + 1 + 2 = 3.5; intermediate: (1/2 + 1) / 3
  assert correct([PAY], PAY, LOOK) == pytest.approx(6 * 3.5 / 6 - 3)
  assert correct([PAY], PAY, LOOK, granularity="intermediate") == pytest.approx(6 * 0.5 - 3)


def test_the_greedy_pairing_takes_what_a_later_call_would_need():
  first, second = Call("pay", {"who": "ana", "sum": 1}), Call("pay", {"who": "ana"})
  made = [Call("pay", {"who": "ana"}), Call("look", {})]
  assert greedy([first, second], made) == [(first, made[0]), (second, None)]  # 1/2 + 1 for the first
  assert best([first, second], made) == [(first, None), (second, made[0])]  # 1 + 1 for the second
  assert best([first, second], []) == greedy([first, second], []) == [(first, None), (second, None)]


@pytest.mark.parametrize("seed", range(20))
def test_the_best_pairing_is_that_of_trying_all(seed):
  rng = np.random.default_rng(seed)

  def some(count):
    return [
      Call(str(rng.choice(["a", "b"])), {str(k): int(rng.integers(3)) for k in rng.choice(["x", "y", "z"], 2)})
      for _ in range(count)
    ]

  def worth(pairs):
    return sum(toolrl.keys_alike(g, m) + toolrl.values_alike(g, m) for g, m in pairs if m is not None)

  gold, made = some(3), some(int(rng.integers(1, 5)))
  padded = [*made, None, None, None]
  every = (list(zip(gold, chosen, strict=False)) for chosen in itertools.permutations(padded, 3))
  allowed = [pairs for pairs in every if all(m is None or m.name == g.name for g, m in pairs)]
  assert worth(best(gold, made)) == pytest.approx(max(map(worth, allowed)))
  assert all(m is None or m.name == g.name for g, m in best(gold, made))


def test_parts_tell_names_keys_and_values_apart():
  gold, half = task(PAY, LOOK), calling(Call("pay", {"who": "ana", "to": 12}), Call("now", {}))
  assert toolrl.call_names(half, gold) == pytest.approx(1 / 3)  # {pay, look} and {pay, now}
  assert toolrl.call_keys(half, gold) == pytest.approx((1 / 3 + 0) / 2)  # {who, sum} and {who, to}
  assert toolrl.call_values(half, gold) == pytest.approx((1 / 2 + 0) / 2)
  whole = calling(Call("now", {}))
  now = task(Call("now", {}))
  assert [part(whole, now) for part in (toolrl.call_names, toolrl.call_keys, toolrl.call_values)] == [1, 1, 1]
  assert [part(UNREAD, now) for part in (toolrl.call_names, toolrl.call_keys, toolrl.call_values)] == [0, 0, 0]
  assert [part(UNREAD, task()) for part in (toolrl.call_keys, toolrl.call_values)] == [1, 1]


def test_the_format_is_right_where_turns_are_of_the_kinds_that_they_should_be():
  answer, void = episode(turn_of(TurnKind.ANSWER)), episode(turn_of(TurnKind.VOID))
  assert [toolrl_format(e, task(PAY)) for e in (calling(LOOK), answer, void, UNREAD, episode())] == [1, 0, 0, 0, 0]
  assert [toolrl_format(e, task()) for e in (calling(LOOK), answer, void)] == [0, 1, 0]


def test_schedules_go_by_the_update():
  assert [smooth(step) for step in (0, 75, 150, 900)] == [
    Ranges((-2, 2), (-2, 2)),
    Ranges((-1.5, 1.5), (-2.5, 2.5)),
    Ranges((-1, 1), (-3, 3)),
    Ranges((-1, 1), (-3, 3)),
  ]
  assert [two_stages(step) for step in (29, 30)] == [Ranges((0, 1), (-1, 1)), Ranges((0, 0.5), (-3, 3))]
  made = {version: calling(PAY, version=version) for version in (0, 75)}
  found = [toolrl_correct(made[v], task(PAY), schedule="smooth") for v in made]
  assert found == [2.0, 2.5] and toolrl_format(made[75], task(PAY), schedule="smooth") == 1.5
  assert toolrl_correct(UNREAD, task(PAY), schedule="smooth", schedule_options={"steps": 10}) == -2.0
  assert toolrl_correct(made[75], task(PAY), schedule_options={"most": 1.0}) == 1.0
  with pytest.raises(ValueError, match="did you mean 'smooth'"):
    toolrl_correct(made[0], task(PAY), schedule="smoth")


def test_thoughts_are_the_words_before_a_call():
  said = [
    episode(turn_of(TurnKind.TOOL_CALL, text=text), version=v) for text, v in (("a b <f>", 0), ("<f>", 0), ("a b", 50))
  ]
  assert [toolrl.thought_length(e, task(), target=4.0) for e in said] == [0.5, 0.0, 0.5]
  assert toolrl.thought_length(said[0], task(), target=1.0) == 1.0
  # 384 + (640 - 384) * 50 / 100 = 512 words at update 50
  grown = toolrl.thought_length(said[2], task(), target=384.0, growth=256.0, steps=100)
  assert grown == pytest.approx(2 / 512) and toolrl.thought_length(episode(), task()) == 0.0
