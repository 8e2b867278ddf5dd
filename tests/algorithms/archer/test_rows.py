"""Rows for the critics: every utterance behind its own past, fresh ones as branches."""

import dataclasses

import numpy as np
from archer_probe import PACK, dialogue

from agentrl.algorithms.archer.rows import WIDTH_STEP, lay_out
from agentrl.batching.replay import dialogues_of

# Prompt, utterance of two tokens, observation, utterance of one token.
ROW = [5, 1, 2, 8, 3]


def laid(fresh):
  one = dialogue(0, ROW, [1, 4], [0.0, 0.0], [0.5, 0.25])
  one = dataclasses.replace(one, action_mask=np.asarray([False, True, True, False, True]))
  return lay_out(dialogues_of([one], positions=PACK.row_tokens, turns=2, discount=0.9), fresh)


def seen(rows, index):
  """Tokens that the one at `index` sees, itself included."""
  end = np.asarray(rows.subtree_end[0])
  return [int(rows.tokens[0, j]) for j in range(index + 1) if index < end[j]]


def test_without_fresh_utterances_a_row_is_the_dialogue():
  rows = laid(None)
  assert rows.tokens.shape == (1, WIDTH_STEP)
  np.testing.assert_array_equal(rows.tokens[0, :5], ROW)
  np.testing.assert_array_equal(rows.at_state[0], [0, 3])
  np.testing.assert_array_equal(rows.at_action[0], [2, 4])
  np.testing.assert_array_equal(rows.at_fresh, rows.at_action)
  np.testing.assert_array_equal(rows.reward[0], [0.5, 0.25])
  np.testing.assert_array_equal(rows.done[0], [False, True])


def test_a_fresh_utterance_is_a_branch_that_nothing_said_sees():
  rows = laid([np.asarray([6, 7]), np.asarray([4])])
  np.testing.assert_array_equal(rows.tokens[0, :8], [5, 6, 7, 1, 2, 8, 4, 3])
  assert seen(rows, rows.at_state[0, 0]) == [5]
  assert seen(rows, rows.at_fresh[0, 0]) == [5, 6, 7]
  assert seen(rows, rows.at_action[0, 0]) == [5, 1, 2]
  assert seen(rows, rows.at_next[0, 0]) == [5, 1, 2, 8]
  assert seen(rows, rows.at_fresh[0, 1]) == [5, 1, 2, 8, 4]
  assert seen(rows, rows.at_action[0, 1]) == ROW
  np.testing.assert_array_equal(rows.part_of[0, :8], [0, 3, 3, 1, 1, 0, 4, 2])
  np.testing.assert_array_equal(rows.positions[0, :8], [0, 1, 2, 1, 2, 3, 4, 4])
