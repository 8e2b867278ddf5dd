"""Models and tokenizers are read, trained or made; what is wrong with them is named."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from agentrl.models import transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import hf
from agentrl.training import config_values
from agentrl.training.build import model as model_lib
from agentrl.training.build.chat import ChatSettings
from agentrl.training.build.model import ModelSettings, load_policy


@pytest.fixture
def model_folder(tmp_path):
  model = ModelConfig(vocab_size=260, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8, max_positions=32)
  hf.save(tmp_path, model, transformer.init_params(jax.random.key(0), model), eos_token_ids=[258])
  Tokenizer.byte_level().save(tmp_path / "tokenizer.json")
  return tmp_path


def loaded(config, tasks):
  chat = ChatSettings(**config.chat)
  return load_policy(
    ModelSettings(**config.model), chat, tasks, jax.random.key(0), max_tokens=config.rollout.max_tokens
  )


@pytest.fixture
def tasks(tiny_experiment):
  return tiny_experiment().tasks


def test_a_folder_gives_the_model_and_what_ends_its_texts(tiny_config, model_folder, tasks):
  source = {"model": {"source": "hf", "path": str(model_folder)}}
  config = config_values.resolve(tiny_config, {**source, "rollout": {"max_tokens": 32}}, where="test")
  model, _, chat = loaded(config, tasks)
  assert (model.max_positions, chat.tokenizer.ends, chat.tokenizer.folder) == (32, {258}, model_folder)
  longer = config_values.resolve(tiny_config, {**source, "rollout": {"max_tokens": 33}}, where="test")
  with pytest.raises(ValueError, match=r"rollout\.max_tokens=33 exceeds the 32 positions"):
    loaded(longer, tasks)


@pytest.mark.parametrize(
  ("added", "style", "problem"),
  [
    ('{"<pad>": 259}', "tags", r"added_tokens\.json gives .*'<pad>' the id 259, .*tokenizer\.json does not"),
    ("{}", "llama3_json", r"no special or added token '<\|begin_of_text\|>'.*'llama3' for Llama 3"),
  ],
)
def test_tokenizer_and_chat_are_wrong_before_the_weights_are_read(
  tiny_config, model_folder, tasks, added, style, problem
):
  (model_folder / "model.safetensors").unlink()
  (model_folder / "added_tokens.json").write_text(added)
  settings = {"model": {"source": "hf", "path": str(model_folder)}, "chat": {"style": style}}
  with pytest.raises(ValueError, match=problem):
    loaded(config_values.resolve(tiny_config, settings, where="test"), tasks)


def test_a_random_model_has_a_position_for_every_token(tiny_config, tasks):
  config = config_values.resolve(tiny_config, {"rollout": {"max_tokens": 9000}}, where="test")
  assert loaded(config, tasks)[0].max_positions == 9000


def test_demonstrations_that_the_tokenizer_is_trained_without_are_told(tiny_config, tasks, monkeypatch, caplog):
  def oracle(task, habit):
    if int(task.id.rsplit("-", 1)[-1]) % 2:
      raise LookupError("no such page")
    return tasks.oracle(task, habit)

  broken = dataclasses.replace(tasks, oracle=oracle)
  monkeypatch.setattr(model_lib, "_TOKENIZER_TRACES", 8)
  config = config_values.resolve(tiny_config, {"model": {"vocabulary": 264}}, where="test")
  assert loaded(config, broken)[0].vocab_size == 267
  (told,) = [record.getMessage() for record in caplog.records if "the tokenizer is trained" in record.getMessage()]
  assert "without 4 of 8 demonstrations; the first: " in told and "no such page" in told


def test_weights_that_are_not_numbers_are_named():
  with pytest.raises(ValueError, match=r"folder: .* bad$"):
    model_lib.require_finite({"good": jnp.ones(2), "bad": jnp.asarray([1.0, jnp.nan])}, "folder")
  model_lib.require_finite({"good": jnp.ones(2)}, "folder")
