import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from agentrl.models import transformer
from agentrl.models.transformer import ModelConfig, RopeScaling
from agentrl.models.weights import hf

LLAMA = ModelConfig(vocab_size=11, width=10, layers=3, heads=4, kv_heads=2, head_dim=6, ffn=14, max_positions=64)
FAMILIES = {
  "llama": dataclasses.replace(LLAMA, tied=False, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32)),
  "qwen2": dataclasses.replace(LLAMA, qkv_bias=True, rope_base=1e6),
  "qwen3": dataclasses.replace(LLAMA, qk_norm=True, tied=False, norm_eps=1e-6),
}


def random_params(config):
  """Params in which no weight is constant, so that a swapped bias or norm shows."""
  rng = np.random.default_rng(0)
  specs = transformer.weight_specs(config)
  return jax.tree.map(
    lambda w: jnp.asarray(rng.normal(size=w.shape), config.param_dtype), specs, is_leaf=transformer.is_weight
  )


def assert_same(params, other):
  assert jax.tree.structure(params) == jax.tree.structure(other)
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def edit_config(folder, **changes):
  path = folder / "config.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(folder, edit):
  path = folder / "model.safetensors"
  tensors = safetensors.numpy.load_file(path)
  edit(tensors)
  safetensors.numpy.save_file(tensors, path)


@pytest.fixture
def saved(tmp_path):
  params = random_params(LLAMA)
  hf.save(tmp_path / "model", LLAMA, params)
  return tmp_path / "model", params


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_save_then_load_is_exact(tmp_path, family, dtype):
  config = dataclasses.replace(FAMILIES[family], param_dtype=dtype)
  params = random_params(config)
  hf.save(tmp_path, config, params)
  loaded_config, loaded = hf.load(tmp_path)
  assert loaded_config == config
  assert_same(loaded, params)


def test_shards_hold_the_same_and_keep_to_their_size(tmp_path):
  config, params = FAMILIES["qwen3"], random_params(FAMILIES["qwen3"])
  hf.save(tmp_path / "sharded", config, params, max_shard_bytes=2000)
  shards = sorted((tmp_path / "sharded").glob("*.safetensors"))
  assert len(shards) > 3
  header = 2000  # bytes that the names and offsets of a shard may take
  assert all(path.stat().st_size <= 2000 + header for path in shards)
  index = json.loads((tmp_path / "sharded" / hf.INDEX_FILE).read_text())
  assert index["metadata"]["total_size"] == 4 * transformer.parameter_count(config)
  assert set(index["weight_map"].values()) == {path.name for path in shards}
  loaded_config, loaded = hf.load(tmp_path / "sharded")
  assert loaded_config == config
  assert_same(loaded, params)


def test_linear_maps_are_stored_out_by_in(saved):
  folder, params = saved
  tensors = safetensors.numpy.load_file(folder / "model.safetensors")
  np.testing.assert_array_equal(tensors["model.layers.2.mlp.down_proj.weight"], params["layers"]["down"][2].T)
  np.testing.assert_array_equal(tensors["model.embed_tokens.weight"], params["embed"])


def test_dtype_is_chosen_on_load(saved):
  folder, params = saved
  config, loaded = hf.load(folder, dtype="bfloat16", remat="full")
  assert (config.param_dtype, config.remat) == ("bfloat16", "full")
  assert_same(loaded, jax.tree.map(lambda a: a.astype(jnp.bfloat16), params))


def test_one_fp32_tensor_makes_the_model_fp32(tmp_path):
  config = dataclasses.replace(LLAMA, param_dtype="bfloat16")
  hf.save(tmp_path, config, random_params(config))
  edit_tensors(tmp_path, lambda t: t.update({"model.norm.weight": np.full(10, 1 / 3, np.float32)}))
  loaded_config, loaded = hf.load(tmp_path)
  assert loaded_config.param_dtype == "float32"
  np.testing.assert_array_equal(loaded["final_norm"], np.float32(1 / 3))


def test_half_precision_is_read_as_fp32(saved):
  folder, params = saved
  half = {k: v.astype(np.float16) for k, v in safetensors.numpy.load_file(folder / "model.safetensors").items()}
  safetensors.numpy.save_file(half, folder / "model.safetensors")
  config, loaded = hf.load(folder)
  assert config.param_dtype == "float32"
  assert_same(loaded, jax.tree.map(lambda a: a.astype(jnp.float16).astype(jnp.float32), params))


def test_computed_buffers_and_a_spelled_out_tie_are_accepted(saved):
  folder, params = saved

  def add(tensors):
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(3, np.float32)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]

  edit_tensors(folder, add)
  assert_same(hf.load(folder)[1], params)


def test_a_tie_that_does_not_hold_is_refused(saved):
  folder, _ = saved
  edit_tensors(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1}))
  with pytest.raises(ValueError, match="ties the embeddings, but lm_head"):
    hf.load(folder)


# ---- what is missing or broken -----------------------------------------------------------------------------------


def test_missing_files_are_named(tmp_path, saved):
  folder, _ = saved
  with pytest.raises(FileNotFoundError, match=r"config\.json"):
    hf.load(tmp_path / "nowhere")
  (folder / "model.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor"):
    hf.load(folder)


def test_a_missing_shard_is_named(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA), max_shard_bytes=2000)
  shard = sorted(tmp_path.glob("*.safetensors"))[1]
  shard.unlink()
  with pytest.raises(FileNotFoundError, match=shard.name):
    hf.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_truncated_file_is_named(saved, keep):
  path = saved[0] / "model.safetensors"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(ValueError, match=r"model\.safetensors \(\d+ bytes\) is truncated"):
    hf.load(saved[0])


def test_broken_json_is_named(saved):
  (saved[0] / "config.json").write_text('{"model_type": ')
  with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
    hf.load(saved[0])


def test_missing_and_superfluous_tensors_are_named(saved):
  def swap(tensors):
    tensors["model.layers.0.mlp.router.weight"] = tensors.pop("model.layers.0.mlp.up_proj.weight")

  edit_tensors(saved[0], swap)
  with pytest.raises(ValueError, match=r"1 missing .*mlp.up_proj.*1 that the decoder has no use for .*router"):
    hf.load(saved[0])


def test_an_index_that_points_to_the_wrong_shard_is_refused(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA), max_shard_bytes=2000)
  path = tmp_path / hf.INDEX_FILE
  index = json.loads(path.read_text())
  index["weight_map"]["model.norm.weight"] = index["weight_map"]["model.layers.0.mlp.up_proj.weight"]
  path.write_text(json.dumps(index))
  with pytest.raises(ValueError, match=r"says that model\.norm\.weight is in"):
    hf.load(tmp_path)


def test_a_shape_that_the_config_contradicts_is_named(saved):
  edit_tensors(saved[0], lambda t: t.update({"model.norm.weight": np.ones(9, np.float32)}))
  with pytest.raises(
    ValueError, match=r"model/config\.json and .* tensor model\.norm\.weight has shape \(9,\).*\(10,\)"
  ):
    hf.load(saved[0])


# ---- files of a folder that say different things -----------------------------------------------------------------


def test_a_shard_with_tensors_that_the_index_does_not_name_is_refused(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA), max_shard_bytes=2000)
  path = tmp_path / hf.INDEX_FILE
  index = json.loads(path.read_text())
  shard = index["weight_map"].pop("model.norm.weight")
  path.write_text(json.dumps(index))
  with pytest.raises(ValueError, match=rf"{shard} holds model\.norm\.weight, but {hf.INDEX_FILE} does not name it"):
    hf.load(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA), max_shard_bytes=2000)
  first, *_, last = sorted(tmp_path.glob("*.safetensors"))
  tensors = safetensors.numpy.load_file(first)
  name = next(iter(safetensors.numpy.load_file(last)))
  safetensors.numpy.save_file({**tensors, name: np.zeros(3, np.float32)}, first)
  with pytest.raises(ValueError, match=rf"{first.name} holds {name}, but .*says that it is in {last.name}"):
    hf.load(tmp_path)


def test_weights_of_two_saves_are_refused(tmp_path, saved):
  """Whole weights beside an index, and shards that nothing names: libraries disagree on which ones they take."""
  whole, params = saved
  sharded = tmp_path / "sharded"
  hf.save(sharded, LLAMA, params, max_shard_bytes=2000)
  shutil.copy(whole / "model.safetensors", sharded / "model.safetensors")
  with pytest.raises(
    ValueError, match=r"weights of two saves: model-00001.*index\.json names, and model\.safetensors; del"
  ):
    hf.load(sharded)
  (sharded / "model.safetensors").unlink()
  hf.load(sharded)
  shutil.copy(sharded / "model-00001-of-00009.safetensors", sharded / "model-00001-of-00002.safetensors")
  with pytest.raises(ValueError, match=r"names, and model-00001-of-00002\.safetensors; delete what is old"):
    hf.load(sharded)
  shutil.copy(sharded / "model-00001-of-00009.safetensors", whole)
  with pytest.raises(ValueError, match=r"model\.safetensors, which is whole, and model-00001-of-00009"):
    hf.load(whole)


def test_shards_whose_index_is_missing_say_so(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA), max_shard_bytes=2000)
  (tmp_path / hf.INDEX_FILE).unlink()
  with pytest.raises(FileNotFoundError, match=r"it has \['model-00001-of-00009.*whose index is missing"):
    hf.load(tmp_path)


@pytest.mark.parametrize(("content", "problem"), [({}, "has no 'weight_map'"), ([], "is a JSON list, not an object")])
def test_an_index_without_a_map_is_named(saved, content, problem):
  (saved[0] / hf.INDEX_FILE).write_text(json.dumps(content))
  with pytest.raises(ValueError, match=problem):
    hf.load(saved[0])


def test_an_untied_model_without_its_second_matrix_says_what_to_set(saved):
  edit_config(saved[0], tie_word_embeddings=False)
  with pytest.raises(
    ValueError, match=r'does not tie the embeddings, but no lm_head\.weight .*"tie_word_embeddings": true'
  ):
    hf.load(saved[0])


def test_a_vocabulary_that_the_embedding_contradicts_is_refused(saved):
  edit_config(saved[0], vocab_size=12)
  with pytest.raises(ValueError, match=r"embed_tokens\.weight has shape \(11, 10\), .* makes it \(12, 10\)"):
    hf.load(saved[0])


def test_an_adapter_beside_the_weights_is_not_left_out_silently(saved):
  (saved[0] / "adapter_config.json").write_text("{}")
  with pytest.raises(ValueError, match="holds an adapter over a model"):
    hf.load(saved[0])


def test_integer_weights_are_refused(saved):
  edit_tensors(saved[0], lambda t: t.update({"model.norm.weight": np.ones(10, np.int8)}))
  with pytest.raises(ValueError, match=r"model\.norm\.weight is stored as I8"):
    hf.load(saved[0])


# ---- saving -------------------------------------------------------------------------------------------------------


def test_a_model_is_never_overwritten(saved):
  folder, params = saved
  with pytest.raises(FileExistsError, match="already holds"):
    hf.save(folder, LLAMA, params)
  for name in ("config.json", "generation_config.json"):
    (folder / name).unlink()
  with pytest.raises(FileExistsError, match=r"model\.safetensors"):
    hf.save(folder, LLAMA, params)


@pytest.mark.parametrize("name", ["generation_config.json", hf.INDEX_FILE, "adapter_config.json"])
def test_no_file_of_an_earlier_model_stays_beside_a_new_one(tmp_path, name):
  (tmp_path / name).write_text("{}")
  with pytest.raises(FileExistsError, match=name):
    hf.save(tmp_path, LLAMA, random_params(LLAMA))
  assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("ends", "said"), [([], None), ([7], 7), (np.int32([7, 9]), [7, 9])])
def test_both_configs_name_the_same_ends(tmp_path, ends, said):
  generation = {"bos_token_id": 3, "eos_token_id": 1, "temperature": 0.6}
  hf.save(tmp_path, LLAMA, random_params(LLAMA), eos_token_ids=ends, generation=generation)
  config, generation = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("config", "generation_config"))
  assert generation == {"bos_token_id": 3, "eos_token_id": said, "temperature": 0.6}
  assert (config["bos_token_id"], config["eos_token_id"]) == (3, said)


def test_other_files_in_the_folder_stay(tmp_path):
  (tmp_path / "tokenizer.json").write_text("{}")
  hf.save(tmp_path, LLAMA, random_params(LLAMA))
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
  ]


def test_weights_are_as_readable_as_any_new_file(tmp_path):
  hf.save(tmp_path, LLAMA, random_params(LLAMA))
  (tmp_path / "new").touch()
  assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_save_that_fails_leaves_no_model_behind(tmp_path, monkeypatch):
  def full(tensors, path, metadata):
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(safetensors.numpy, "save_file", full)
  with pytest.raises(OSError, match="No space left"):
    hf.save(tmp_path, LLAMA, random_params(LLAMA))
  assert list(tmp_path.iterdir()) == []


def test_params_of_another_config_are_refused(tmp_path):
  wider = dataclasses.replace(LLAMA, ffn=15)
  with pytest.raises(ValueError, match=r"params layers/(down|gate) is float32 .*but its config says"):
    hf.save(tmp_path, wider, random_params(LLAMA))
  with pytest.raises(ValueError, match="bfloat16"):
    hf.save(tmp_path, dataclasses.replace(LLAMA, param_dtype="bfloat16"), random_params(LLAMA))
