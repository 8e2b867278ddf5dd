"""Credit functions by name, what they declare, and what all of them owe."""

import dataclasses
import functools

import numpy as np
import pytest

from agentrl.credit import CREDIT, RANGES, make_credit
from agentrl.credit.contract import Credit, Declared, declared_by, declares
from agentrl.named import settings_of


def first_minus_mean(learner, trajectories, *, scale=1.0):
  """A credit function of one's own."""
  rewards = np.asarray([t.reward for t in trajectories])
  gained = scale * (rewards - rewards.mean())
  return Credit([np.full(len(t.tokens), a, np.float32) for t, a in zip(trajectories, gained, strict=True)])


def test_one_of_yours_is_named_by_its_path_and_declares_nothing(dialogues, nobody):
  chosen = make_credit(f"{__name__}:first_minus_mean", {"scale": 2.0})
  assert chosen.declared == Declared()
  np.testing.assert_allclose(chosen.assign(nobody, dialogues).advantages[0][0], 2 * (1.5 - 0.8), rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("gpro", {}, "no credit is called 'gpro': did you mean 'grpo'"),
    ("gae", {"gae_lamda": 0.9}, r"algo\.credit_options\.gae_lamda: did you mean 'gae_lambda'"),
    ("dr_grpo", {"epsilon": 0.9}, r"algo\.credit_options\.epsilon: .*takes no settings"),
  ],
)
def test_a_wrong_name_or_setting_is_named(name, options, message):
  with pytest.raises(ValueError, match=message):
    make_credit(name, options)


def reporting(learner, trajectories, *, name="mine/scale"):
  return Credit([np.zeros(len(t.tokens), np.float32) for t in trajectories], metrics={name: 77.0})


@pytest.mark.parametrize("name", ["train/reward", "eval/success", "time/step_s", "rollout/x", "reward/y"])
def test_a_metric_of_the_run_is_not_written_over(dialogues, nobody, name):
  told = f"algo.credit='.*:reporting' reports a metric called '{name}', which the run reports itself"
  with pytest.raises(ValueError, match=told):
    make_credit(f"{__name__}:reporting", {"name": name}).assign(nobody, dialogues)
  assert make_credit(f"{__name__}:reporting", {}).assign(nobody, dialogues).metrics == {"mine/scale": 77.0}


@pytest.mark.parametrize("name", ["scale", "mine/", "/scale"])
def test_a_metric_without_a_group_is_told_with_the_credit(dialogues, nobody, name):
  with pytest.raises(ValueError, match=f"algo.credit='.*:reporting' .* called '{name}': name it 'group/name'"):
    make_credit(f"{__name__}:reporting", {"name": name}).assign(nobody, dialogues)


def writing(learner, trajectories):
  trajectories[0].tokens[:] = 66
  return Credit([np.zeros(len(t.tokens), np.float32) for t in trajectories])


def test_a_credit_that_writes_into_trajectories_is_told(dialogues, nobody):
  before = dialogues[0].tokens.copy()
  with pytest.raises(ValueError, match="read-only") as error:
    make_credit(f"{__name__}:writing", {}).assign(nobody, dialogues)
  assert error.value.__notes__ == [f"in algo.credit='{__name__}:writing'"]
  np.testing.assert_array_equal(dialogues[0].tokens, before)


@pytest.mark.parametrize(
  ("given", "words"),
  [
    (lambda ts: [np.ones(len(t.tokens)) for t in ts], "it gave a list where a `Credit` was due"),
    (lambda ts: Credit(1.0), "its `advantages` are a float; a list was due"),
    (
      lambda ts: Credit([1.0 for _ in ts]),
      r"of trajectory \d+ .* have the shape \(\); one number for each",
    ),
    (lambda ts: Credit([np.ones((len(t.tokens), 1)) for t in ts]), r"have the shape \(\d+, 1\); .* was due: \(\d+,\)"),
    (lambda ts: Credit([np.ones(len(t.tokens)) for t in ts][:1]), "its `advantages` are 1; an array of one number"),
    (lambda ts: Credit([np.ones(len(t.tokens)) for t in ts], [np.ones(2)]), "its `returns` are 1; an array"),
    (lambda ts: Credit([np.ones(len(t.tokens)) for t in ts], metrics=0.5), "its `metrics` are a float"),
  ],
)
def test_what_is_no_credit_of_the_trajectories_is_told(monkeypatch, dialogues, nobody, given, words):
  monkeypatch.setitem(CREDIT, "own", lambda learner, trajectories: given(trajectories))
  with pytest.raises(ValueError, match=rf"algo\.credit='own': .*{words}"):
    make_credit("own", {}).assign(nobody, dialogues)


def test_what_nobody_can_declare_is_told():
  with pytest.raises(ValueError, match=r"credit function first_minus_mean: .* 'heds': did you mean 'heads'"):
    declares(heds=("value",))(first_minus_mean)
  with pytest.raises(ValueError, match=r"declares heads='value'; names of heads in a tuple were due"):
    declared_by(declares(heads="value")(lambda learner, trajectories: None), {})


def test_what_is_declared_may_depend_on_the_settings():
  assert not make_credit("gae", {}).declared.reference
  assert make_credit("gae", {"kl_coef": 0.1}).declared == Declared(heads=("value",), reference=True, chains=True)

  @declares(compares=lambda settings: settings["many"])
  def own(learner, trajectories, *, many=True):
    return Credit([])

  assert declared_by(own, settings_of(own)).compares and not declared_by(own, {"many": False}).compares


def test_every_setting_that_is_a_number_has_a_range():
  settings = {name: value for function in CREDIT.values() for name, value in settings_of(function).items()}
  assert {name for name, value in settings.items() if not isinstance(value, bool)} == set(RANGES)


# With as many samples in a set as the smallest group below has.
ASKED = {**CREDIT, "pass_at_k": functools.partial(CREDIT["pass_at_k"], k=1)}


@pytest.fixture
def rewarded(name, dialogues):
  """The dialogues, with rewards that the credit takes."""
  if name != "max_rl":
    return dialogues
  turns = lambda t: tuple(dataclasses.replace(turn, reward=abs(turn.reward)) for turn in t.turns)
  return [dataclasses.replace(t, turns=turns(t), reward=sum(turn.reward for turn in turns(t))) for t in dialogues]


@pytest.mark.parametrize("name", CREDIT)
def test_what_stands_where_nothing_was_sampled_is_never_read(name, rewarded, critic):
  spoil = lambda t, column: np.where(t.action_mask, column, np.float32(np.nan))
  scribbled = [spoil(t, v) for t, v in zip(rewarded, critic.values(), strict=True)]
  junk = dataclasses.replace(critic, told={**critic.told, "value": scribbled})
  one, two = ASKED[name](critic, rewarded), ASKED[name](junk, rewarded)
  for t, a, b in zip(rewarded, one.advantages, two.advantages, strict=True):
    assert a.shape == t.tokens.shape and np.isfinite(a[t.action_mask]).all()
    np.testing.assert_array_equal(a[t.action_mask], b[t.action_mask])
  assert all(np.isfinite(value) and np.shape(value) == () for value in two.metrics.values())


@pytest.mark.parametrize("name", CREDIT)
def test_rewards_are_read_from_the_turns_and_the_whole_alike(name, rewarded, critic):
  """Ten times what the turns earned, and so the reward: the advantages of none are what they were, unless scaled."""
  richer = [
    dataclasses.replace(
      t,
      turns=tuple(dataclasses.replace(turn, reward=10 * turn.reward) for turn in t.turns),
      reward=10 * t.reward,
      reward_parts={"correct": 10 * t.reward},
    )
    for t in rewarded
  ]
  zeros = dataclasses.replace(critic, told={"value": [0 * v for v in critic.values()]})
  before, after = ASKED[name](zeros, rewarded).advantages, ASKED[name](zeros, richer).advantages
  flat = lambda columns: np.concatenate([c[t.action_mask] for t, c in zip(rewarded, columns, strict=True)])
  scale = flat(after) / np.where(flat(before) == 0, 1, flat(before))
  scale = scale[flat(before) != 0]
  np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
  assert np.isclose(scale[0], 1, rtol=1e-3) or np.isclose(scale[0], 10, rtol=1e-3)
