"""TRL's side of `scripts/bench/grpo_step.py`: the same shapes through `GRPOTrainer`, fp32 on the CPU.

Random weights of SmolLM2-135M's shape, prompts of random token ids, completions forced to their full length, one
update a step. Runs in the environment that `scripts/bench/grpo_step_trl.sh` makes; needs no model hub.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback


def word_tokenizer(size):
  """One word per id: the prompt's length in tokens is its length in words."""
  backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w0"))
  backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="w1", pad_token="w2", padding_side="left")


class Stopwatch(TrainerCallback):
  """Seconds of every step."""

  def __init__(self):
    self.seconds = []

  def on_step_begin(self, *_, **__):
    self.started = time.perf_counter()

  def on_step_end(self, *_, **__):
    self.seconds.append(time.perf_counter() - self.started)


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--steps", type=int, default=3)
  parser.add_argument("--prompts", type=int, default=4)
  parser.add_argument("--group", type=int, default=8)
  parser.add_argument("--prompt-len", type=int, default=160)
  parser.add_argument("--max-new", type=int, default=32)
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  a = parser.parse_args()
  torch.set_num_threads(a.threads)
  torch.manual_seed(0)
  model = LlamaForCausalLM(
    LlamaConfig(
      vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
      intermediate_size=1536, max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=1e5,
      bos_token_id=1, eos_token_id=1, pad_token_id=2,
    )
  )  # fmt: skip
  rng = np.random.default_rng(0)
  prompts = [" ".join(f"w{i}" for i in rng.integers(20, 49000, a.prompt_len)) for _ in range(64)]
  settings = trl.GRPOConfig(
    output_dir=tempfile.mkdtemp(), use_cpu=True, per_device_train_batch_size=a.prompts * a.group,
    num_generations=a.group, max_completion_length=a.max_new, max_steps=a.steps, learning_rate=1e-6, beta=0.0,
    num_iterations=1, save_strategy="no", report_to=[], temperature=1.0, bf16=False, gradient_checkpointing=False,
    dataloader_pin_memory=False, logging_steps=1, generation_kwargs={"min_new_tokens": a.max_new},
  )  # fmt: skip
  watch = Stopwatch()
  trainer = trl.GRPOTrainer(
    model=model,
    args=settings,
    train_dataset=Dataset.from_dict({"prompt": prompts}),
    processing_class=word_tokenizer(49152),
    reward_funcs=lambda completions, **_: rng.random(len(completions)).tolist(),
    callbacks=[watch],
  )
  trainer.train()
  step = float(np.median(watch.seconds[1:]))
  print(f"TRL {trl.__version__}, torch {torch.__version__}: {step:.2f} s a step (all: {watch.seconds})")
  a.out.write_text(json.dumps({"step_s": step, "trl": trl.__version__, "torch": torch.__version__}) + "\n")


if __name__ == "__main__":
  main()
