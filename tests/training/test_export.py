"""What an export is made of; tests/experiments/test_export.py exports a run."""

import contextlib
import json
import types

import jax
import pytest

from agentrl.models import folder, transformer
from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.models.transformer import ModelConfig
from agentrl.models.weights import hf
from agentrl.training import export

MODEL = ModelConfig(vocab_size=264, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8)


@pytest.fixture
def export_from(tmp_path, monkeypatch):
  """`export_from(tokenizer)` exports a run with that tokenizer, and returns the folder."""
  params = transformer.init_params(jax.random.key(0), MODEL)

  def run(tokenizer, out=tmp_path / "out"):
    chat = ChatFormat.chatml_json(tokenizer)
    parts = types.SimpleNamespace(tasks=contextlib.ExitStack(), model=MODEL, chat=chat, tokenizer=tokenizer)
    monkeypatch.setattr(export, "assemble", lambda config: parts)
    monkeypatch.setattr(export, "restore_policy", lambda *_: (params, 7))
    assert export.export_policy(None, run=tmp_path, step=None, out=out) == 7
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
