"""What each rule masks, and what a token of the rest weighs then."""

import numpy as np
import pytest

from agentrl.batching import masks
from agentrl.ops.reduce import REDUCTIONS
from agentrl.types import StopReason, TurnKind
from tests.batching.test_filters import branch, trajectory

CALL, ANSWER, VOID, MALFORMED = TurnKind.TOOL_CALL, TurnKind.ANSWER, TurnKind.VOID, TurnKind.MALFORMED
SAMPLED = [
  trajectory(0, kinds=(CALL, ANSWER)),
  trajectory(1, kinds=(CALL, VOID, ANSWER)),
  trajectory(2, kinds=(MALFORMED,)),
  trajectory(3, kinds=(CALL, CALL), stop=StopReason.TURN_LIMIT),  # at the limit a call is no void turn
  trajectory(4, kinds=(CALL, CALL), stop=StopReason.LENGTH_LIMIT),
]


def after(trajectory, *, least=0):
  """A rule of a test."""
  return trajectory.uid >= least


OWN = f"{__name__}:after"


def trained(names, options=None, sampled=SAMPLED):
  return [t.uid for t in masks.make_masking(names, options or {}, "trained").trained(sampled)]


@pytest.mark.parametrize(
  ("names", "left"),
  [
    ((), [0, 1, 2, 3, 4]),
    (("void_turns",), [0, 2, 3, 4]),
    (("malformed_turns",), [0, 1, 3, 4]),
    (("lost_turns",), [0, 3, 4]),
    (("overlong",), [0, 1, 2, 3]),
    (("lost_turns", "overlong"), [0, 3]),
    ((OWN,), []),
  ],
)
def test_a_rule_masks(names, left):
  assert trained(names) == left


def test_a_rule_of_yours_has_settings_whose_key_a_config_keeps_without_dots():
  assert trained((OWN,), {OWN.replace(".", "/"): {"least": 3}}) == [0, 1, 2]


def forgetful(trajectory):
  """A rule that says nothing."""


def test_a_rule_that_says_neither_true_nor_false_is_told():
  with pytest.raises(ValueError, match=r"algo\.masked: the rule '.*:forgetful' gave None; True or False was due"):
    trained((f"{__name__}:forgetful",))


def test_a_branch_takes_the_place_of_its_masked_parent():
  parent = trajectory(0, kinds=(CALL, VOID))
  (left,) = masks.make_masking(("void_turns",), {}, "trained").trained([parent, branch(1, 0, 2)])
  assert (left.uid, left.parent, left.fork_at) == (1, None, 0)


@pytest.mark.parametrize(
  ("reduction", "factor"),
  [
    ("token_mean", 7 / 10),  # 1/10 of a token among all, 1/7 among the 2 + 5 that are left
    ("sequence_mean", 2 / 3),  # 1/(3 L) among all three, 1/(2 L) among two
    ("sequence_sum_norm", 2 / 3),
    ("prompt_mean", (2 / 5, 1.0)),  # half a prompt of 2 + 3 tokens among all, of 2 alone; the other is of 5 in any case
  ],
)
def test_denominators(reduction, factor):
  lengths, left = np.asarray([2.0, 3.0, 5.0], np.float32), np.asarray([True, False, True])
  group = np.asarray([0, 0, 1])
  of_all = masks.DENOMINATORS["all"](REDUCTIONS[reduction], lengths, group, left)
  np.testing.assert_allclose(of_all, np.broadcast_to(factor, 2), rtol=1e-6)
  of_trained = masks.DENOMINATORS["trained"](REDUCTIONS[reduction], lengths, group, left)
  np.testing.assert_array_equal(of_trained, [1.0, 1.0])


def test_where_nothing_was_sampled_the_factor_is_1():
  lengths, left = np.asarray([0.0, 3.0], np.float32), np.asarray([True, False])
  np.testing.assert_array_equal(masks.DENOMINATORS["all"](REDUCTIONS["token_mean"], lengths, np.arange(2), left), [1.0])


@pytest.mark.parametrize(
  ("names", "options", "denominator", "message"),
  [
    (("lost_turn",), {}, "all", "no entry of algo.masked is called 'lost_turn': did you mean 'lost_turns'"),
    (("overlong",), {"overlong": {"most": 3}}, "all", r"algo\.masked_options\.overlong\.most: overlong takes no"),
    (
      ("overlong",),
      {"lost_turns": {}},
      "all",
      r"algo\.masked_options\.lost_turns: algo.masked does not choose",
    ),
    ((), {}, "al", "no algo.masked_denominator is called 'al': did you mean 'all'"),
  ],
)
def test_a_wrong_name_is_refused(names, options, denominator, message):
  with pytest.raises(ValueError, match=message):
    masks.make_masking(names, options, denominator)
