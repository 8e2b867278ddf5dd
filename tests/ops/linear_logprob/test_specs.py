from agentrl.ops.linear_logprob.specs import MODELS, TINY, TINY_TILE


def test_tiny_shapes_reach_every_edge_of_a_tile():
  rows, columns = TINY_TILE
  assert {spec.tokens % rows for spec in TINY.values()} >= {0, 1, rows - 1}
  assert {spec.vocabulary % columns for spec in TINY.values()} >= {0, 1, columns - 1}
  assert any(spec.tokens < rows and spec.vocabulary < columns for spec in TINY.values())


def test_some_real_vocabulary_leaves_part_of_a_tile():
  assert any(spec.vocabulary % 8192 for spec in MODELS.values())
