import jax
import numpy as np
import pytest

from agentrl.models import transformer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights.stacking import stack, tensor_shapes, unstack

CONFIG = ModelConfig(vocab_size=5, width=6, layers=2, heads=2, kv_heads=1, head_dim=4, ffn=7, tied=False)
NAMES = {name: f"{name}_{{layer}}" for name in transformer.weight_specs(CONFIG)["layers"]}
NAMES |= {"embed": "embed", "final_norm": "final_norm", "unembed": "unembed"}


def test_shapes_are_those_of_the_checkpoint():
  shapes = tensor_shapes(CONFIG, NAMES)
  assert len(shapes) == 2 * 9 + 3
  assert shapes["embed"] == (5, 6)
  assert shapes["unembed"] == (5, 6)  # [out, in], like every linear map
  assert shapes["q_1"] == (8, 6)
  assert shapes["down_0"] == (6, 7)
  assert shapes["attn_norm_1"] == (6,)


def test_stack_inverts_unstack():
  params = transformer.init_params(jax.random.key(0), CONFIG)
  tensors = dict(unstack(CONFIG, NAMES, params))
  assert {name: tensor.shape for name, tensor in tensors.items()} == tensor_shapes(CONFIG, NAMES)
  np.testing.assert_array_equal(tensors["up_1"], params["layers"]["up"][1].T)
  jax.tree.map(np.testing.assert_array_equal, stack(CONFIG, NAMES, tensors.__getitem__), params)


def test_a_wrong_shape_names_the_tensor():
  tensors = dict(unstack(CONFIG, NAMES, transformer.init_params(jax.random.key(0), CONFIG)))
  tensors["k_1"] = tensors["k_1"].T
  with pytest.raises(ValueError, match=r"tensor k_1 has shape \(6, 4\), but .* makes it \(4, 6\)"):
    stack(CONFIG, NAMES, tensors.__getitem__)
