"""Tiny random models of each family, with what `transformers` computes for them.

Needs torch and transformers, and neither JAX nor agentrl; run.sh beside this file sets that up.

  make_goldens.py --out FOLDER                  writes FOLDER/<name>/{config.json, model.safetensors, golden.npz}
  make_goldens.py --check FOLDER --against OUT  opens FOLDER/<name> (saved by agentrl) and compares with OUT's goldens
"""

import argparse
import pathlib

import numpy as np
import torch
import transformers

VOCABULARY = 97
GREEDY_TOKENS = 64
# A greedy choice closer than this could fall either way in fp32.
LEAST_MARGIN = 1e-3

LLAMA3 = {
  "rope_type": "llama3",
  "rope_theta": 500.0,
  "factor": 8.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 32,  # short, so that each part of the ramp has a frequency
}
PLAIN = {"rope_type": "default", "rope_theta": 10_000.0}
LLAMA = {"hidden_size": 42, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 53}
QWEN2 = {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 47}
QWEN3 = {"hidden_size": 34, "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 14, "intermediate_size": 45}

# Name -> configuration class, sizes, rotary settings, tied.
MODELS = {
  "llama": (transformers.LlamaConfig, LLAMA, PLAIN, True),
  "llama3": (transformers.LlamaConfig, LLAMA, LLAMA3, False),
  "qwen2": (transformers.Qwen2Config, QWEN2, PLAIN, True),
  "qwen2_untied": (transformers.Qwen2Config, QWEN2, {**PLAIN, "rope_theta": 1e6}, False),
  "qwen3": (transformers.Qwen3Config, QWEN3, {**PLAIN, "rope_theta": 1e6}, True),
  "qwen3_untied": (transformers.Qwen3Config, QWEN3, PLAIN, False),
}


def build(name: str, seed: int) -> torch.nn.Module:
  """A model in which no weight is constant, norms and biases included."""
  config_class, sizes, rope, tied = MODELS[name]
  config = config_class(
    **sizes,
    vocab_size=VOCABULARY,
    num_hidden_layers=2,
    rope_parameters=rope,
    tie_word_embeddings=tied,
    max_position_embeddings=256,
    rms_norm_eps=1e-6,
    attn_implementation="eager",
  )
  torch.manual_seed(seed)
  model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
  for parameter_name, parameter in model.named_parameters():
    mean = 1.0 if "norm" in parameter_name else 0.0
    std = 0.3 if parameter.ndim == 1 else 1.5 * parameter.shape[1] ** -0.5
    torch.nn.init.normal_(parameter, mean, std)
  return model


@torch.no_grad()
def measure(model: torch.nn.Module, tokens: np.ndarray) -> dict[str, np.ndarray]:
  """Logits of two rows, and the greedy continuation of the first one's beginning, each step a full forward pass."""
  logits = model(torch.from_numpy(tokens)).logits
  row, margins = torch.from_numpy(tokens[:1, :5]), []
  for _ in range(GREEDY_TOKENS):
    best = torch.topk(model(row).logits[0, -1], 2)
    margins.append(float(best.values[0] - best.values[1]))
    row = torch.cat([row, best.indices[None, :1]], axis=1)
  greedy = row[0, 5:].numpy()
  return {"tokens": tokens, "logits": logits.numpy(), "greedy": greedy, "margin": np.float32(min(margins))}


def make(name: str, folder: pathlib.Path) -> None:
  """Writes one model, of the first seed whose greedy tokens are varied and never close to a tie."""
  tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, 40))
  for seed in range(100):
    model = build(name, seed)
    golden = measure(model, tokens)
    if golden["margin"] > LEAST_MARGIN and len(set(golden["greedy"])) > GREEDY_TOKENS // 4:
      break
  else:
    raise SystemExit(f"{name}: no seed gives varied greedy tokens with margins above {LEAST_MARGIN}")
  model.save_pretrained(folder)
  (folder / "generation_config.json").unlink(missing_ok=True)
  np.savez_compressed(folder / "golden.npz", **golden)
  print(f"{name}: seed {seed}, smallest greedy margin {golden['margin']:.4f}, {len(set(golden['greedy']))} distinct")


def check(folder: pathlib.Path, golden_folder: pathlib.Path) -> None:
  """Opens a folder that agentrl saved and compares it with the golden values."""
  model, report = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
  )
  wrong = {kind: found for kind, found in report.items() if found}
  if wrong:
    raise SystemExit(f"{folder}: transformers reports {wrong}")
  golden = np.load(golden_folder / "golden.npz")
  found = measure(model.eval(), golden["tokens"])
  error = float(np.max(np.abs(found["logits"] - golden["logits"])))
  if error > 1e-5 or not np.array_equal(found["greedy"], golden["greedy"]):
    raise SystemExit(f"{folder}: logits differ by {error:.2e} from {golden_folder}, or the greedy tokens do")
  print(f"{folder.name}: opens in transformers {transformers.__version__}, logits within {error:.1e}")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", type=pathlib.Path, help="write the goldens here")
  parser.add_argument("--check", type=pathlib.Path, help="a folder of models that agentrl saved")
  parser.add_argument("--against", type=pathlib.Path, help="with --check: the folder of goldens")
  flags = parser.parse_args()
  if (flags.check is None) != (flags.against is None) or (flags.out is None) == (flags.check is None):
    parser.error("give --out, or --check and --against")
  transformers.utils.logging.disable_progress_bar()
  for name in MODELS:
    if flags.out is not None:
      make(name, flags.out / name)
    else:
      check(flags.check / name, flags.against / name)


if __name__ == "__main__":
  main()
