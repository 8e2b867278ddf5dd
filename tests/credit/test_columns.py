"""To rows and back."""

import numpy as np

from agentrl.credit import columns
from tests.credit.conftest import dialogue


def test_rows_hold_the_sampled_tokens_alone_and_their_rewards(dialogues):
  rows, turns = columns.rows_of(dialogues)
  assert rows.mask.shape == (8, 4) == rows.rewards.shape  # five rows, of at most four tokens
  assert rows.mask.sum(axis=1).tolist() == [3, 3, 4, 2, 4, 0, 0, 0]
  assert rows.rewards[0].tolist() == [0.0, 0.5, 1.0, 0.0]
  assert rows.turn[2].tolist() == [0, 1, 1, 2] and rows.turn[3].tolist() == [0, 1, -1, -1]
  assert turns == 4  # a power of two above the third


def test_there_and_back(dialogues):
  numbers = [np.arange(1, 1 + len(t.tokens), dtype=np.float32) for t in dialogues]
  back = columns.unpadded(dialogues, columns.padded(dialogues, numbers))
  for t, before, after in zip(dialogues, numbers, back, strict=True):
    np.testing.assert_array_equal(after, np.where(t.action_mask, before, 0.0))


def test_batches_of_about_one_size_have_one_shape(dialogues):
  shape = columns.rows_of(dialogues)[0].mask.shape
  assert columns.rows_of([*dialogues, dialogue(9, 0, [3], [0.0])])[0].mask.shape == shape
  assert columns.rows_of([*dialogues, dialogue(9, 0, [5], [0.0])])[0].mask.shape == (8, 8)


def test_one_number_stands_at_every_token(dialogues):
  for t, column in zip(dialogues, columns.everywhere(dialogues, np.arange(5)), strict=True):
    np.testing.assert_array_equal(column, np.full(len(t.tokens), t.uid, np.float32))
