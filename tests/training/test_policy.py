"""Models are read, and how to talk to them is chosen."""

import dataclasses

import jax
import pytest

from agentrl.models import transformer
from agentrl.models.syntax import JsonSyntax
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import hf
from agentrl.training import config as config_lib
from agentrl.training import policy


@pytest.fixture
def model_folder(tmp_path):
  model = ModelConfig(vocab_size=260, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8, max_positions=32)
  hf.save(tmp_path, model, transformer.init_params(jax.random.key(0), model), eos_token_ids=[258])
  Tokenizer.byte_level().save(tmp_path / "tokenizer.json")
  return tmp_path


@pytest.fixture
def tasks(tiny_assembly):
  return tiny_assembly().tasks


def test_a_folder_gives_the_model_and_what_ends_its_texts(tiny_config, model_folder, tasks):
  source = {"model": {"source": "hf", "path": str(model_folder)}}
  config = config_lib.resolve(tiny_config, {**source, "rollout": {"max_tokens": 32}}, where="test")
  model, _, chat = policy.load_policy(config, tasks, jax.random.key(0))
  assert (model.max_positions, chat.tokenizer.ends, chat.tokenizer.folder) == (32, {258}, model_folder)
  longer = config_lib.resolve(tiny_config, {**source, "rollout": {"max_tokens": 33}}, where="test")
  with pytest.raises(ValueError, match=r"rollout\.max_tokens=33 exceeds the 32 positions"):
    policy.load_policy(longer, tasks, jax.random.key(0))


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
    policy.load_policy(config_lib.resolve(tiny_config, settings, where="test"), tasks, jax.random.key(0))


def test_a_random_model_has_a_position_for_every_token(tiny_config, tasks):
  config = config_lib.resolve(tiny_config, {"rollout": {"max_tokens": 9000}}, where="test")
  assert policy.load_policy(config, tasks, jax.random.key(0))[0].max_positions == 9000


def test_json_calls_come_in_the_messages_of_either_family(tiny_config, tasks):
  names = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
  for style, tokenizer in (("chatml_json", Tokenizer.byte_level()), ("llama3_json", Tokenizer.byte_level(names))):
    settings = config_lib.resolve(tiny_config, {"chat": {"style": style}}, where="test").chat
    assert isinstance(policy.make_chat(settings, tokenizer, tasks).syntax, JsonSyntax)


@pytest.mark.parametrize(
  "settings",
  [{"style": "tags"}, {"style": "tags", "template": "chatml"}, {"style": "chatml_json"}, {"style": "dialogue"}],
)
def test_what_ends_a_turn_is_known_without_tools(tiny_config, tasks, settings):
  config = config_lib.resolve(tiny_config, {"chat": settings}, where="test")
  tokenizer = Tokenizer.byte_level()
  tools = dataclasses.replace(tasks, tools=[]) if settings["style"] == "dialogue" else tasks
  made = policy.make_chat(config.chat, tokenizer, tools)
  assert policy.end_tokens(config.chat, tokenizer) == tuple(made.stop_tokens().tolist())


def test_demonstrations_that_the_tokenizer_is_trained_without_are_told(tiny_config, tasks, monkeypatch, caplog):
  def oracle(task):
    if int(task.id.rsplit("-", 1)[-1]) % 2:
      raise LookupError("no such page")
    return tasks.oracle(task)

  broken = dataclasses.replace(tasks, oracle=oracle)
  monkeypatch.setattr(policy, "_TOKENIZER_TRACES", 8)
  config = config_lib.resolve(tiny_config, {"model": {"vocabulary": 264}}, where="test")
  assert policy.load_policy(config, broken, jax.random.key(0))[0].vocab_size == 267
  (told,) = [record.getMessage() for record in caplog.records if "the tokenizer is trained" in record.getMessage()]
  assert "without 4 of 8 demonstrations; the first: " in told and "no such page" in told
