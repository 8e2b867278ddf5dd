"""What an export is made of; tests/experiments/test_export.py exports a run."""

import json

import jax
import pytest

from agentrl import envs
from agentrl.models import folder, transformer
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import hf
from agentrl.training import config_values, export
from agentrl.training.build import model

MODEL = ModelConfig(vocab_size=264, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8)


@pytest.fixture
def export_from(tmp_path, monkeypatch, tiny_config):
  """`export_from(tokenizer)` exports a run with that tokenizer, and returns the folder."""
  config = config_values.resolve(tiny_config, {"chat": {"style": "chatml_json"}}, where="test")
  params = transformer.init_params(jax.random.key(0), MODEL)

  def run(tokenizer, out=tmp_path / "out"):
    monkeypatch.setattr(export, "load_tokenizer", lambda *_: tokenizer)
    monkeypatch.setattr(export, "load_model", lambda *_, **__: (MODEL, params))
    monkeypatch.setattr(export, "restore_policy", lambda config, like, *_: (like, 7))
    assert export.export_policy(config, run=tmp_path, step=None, out=out) == 7
    return out

  return run


def test_what_the_source_said_goes_along_with_all_tokens_that_end_a_turn(export_from, tmp_path):
  source = tmp_path / "source"
  hf.save(
    source,
    MODEL,
    transformer.init_params(jax.random.key(1), MODEL),
    eos_token_ids=[259],
    generation={"bos_token_id": 258, "temperature": 0.6},
  )
  Tokenizer.byte_level(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<stop>"]).save(source / "tokenizer.json")
  (source / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}", "model_max_length": 99}')
  (source / "chat_template.jinja").write_text("{{ messages }}")
  out = export_from(folder.read_tokenizer(source))
  for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    assert (out / name).read_bytes() == (source / name).read_bytes()
  generation = json.loads((out / "generation_config.json").read_text())
  assert generation == {"bos_token_id": 258, "temperature": 0.6, "eos_token_id": [257, 258, 259]}
  assert folder.read_tokenizer(out).ends == {257, 258, 259}


@pytest.mark.parametrize("name", ["tokenizer_config.json", "model-00001-of-00002.safetensors", "config.json"])
def test_what_an_earlier_export_left_is_refused_before_anything_is_written(export_from, tmp_path, name):
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / name).write_text("{}")
  with pytest.raises(FileExistsError, match=rf"already holds \['{name}'\]"):
    export_from(Tokenizer.byte_level())
  assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_tokenizer_that_was_trained_on_demonstrations_is_trained_anew(tiny_config, tmp_path, monkeypatch):
  closed = []
  monkeypatch.setattr(envs.TaskSource, "close", lambda tasks: closed.append(tasks))
  monkeypatch.setattr(model, "_TOKENIZER_TRACES", 8)
  monkeypatch.setattr(export, "restore_policy", lambda config, like, *_: (like, 7))
  config = config_values.resolve(tiny_config, {"model": {"vocabulary": 264}}, where="test")
  export.export_policy(config, run=tmp_path, step=None, out=tmp_path / "out")
  assert folder.read_tokenizer(tmp_path / "out").vocab_size == 267 and len(closed) == 1
