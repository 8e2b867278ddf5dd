"""Template for a Qwen2.5 or Qwen3 folder on a GPU: GRPO with DAPO's settings, JSON tool calls, a Python interpreter.

Give it the folder of an instruct model (config.json, safetensors, tokenizer.json):

  python experiments/train.py --config configs/qwen_grpo.py --workdir runs/qwen --config.model.path=path/to/folder

Paper: Yu et al., 2025 (https://arxiv.org/abs/2503.14476). Result: not yet run.
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"source": "hf", "path": "", "dtype": "bfloat16", "remat": "dots"},
    "chat": {"style": "chatml_json"},
    "task": {
      "family": "word_problems", "tool": "python", "difficulty": 3,
      "system": "Solve the problem. Compute with the python tool; end with the answer, a number.",
    },
    "rollout": {
      "groups": 32, "group_size": 16, "max_tokens": 1536, "max_turns": 4, "workers": 32, "rounds": 4,
    },
    "engine": {
      "slots": 128, "decode_tokens": 32, "feed_tokens": 512, "prefill_tokens": 128, "prefill_rows": 8, "live_step": 256,
    },
    "pack": {"row_tokens": 8192, "row_actions": 4096, "rows": 1},
    "algo": {"reduction": "token_mean", "loss": {"clip_low": 0.2, "clip_high": 0.28}, "correction": "truncated"},
    "reward": {"correct": 1.0, "soft_overlong": 1.0},
    "reward_options": {"soft_overlong": {"max_tokens": 1024, "buffer": 256}},
    "filters": ("flat_groups",),
    "optimizer": {"learning_rate": 1e-6, "warmup_steps": 10},
    "train": {"steps": 300, "eval_every": 25, "checkpoint_every": 25},
    "eval": {"tasks": 256, "samples": 4, "temperature": 0.7},
  }  # fmt: skip
  if smoke:  # the same path through the code, with a tiny random model in place of the folder
    settings["model"] = {"layers": 1, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn": 48}
    settings["rollout"] |= {"groups": 2, "group_size": 2, "rounds": 1, "max_tokens": 900}
    settings["engine"] |= {"slots": 4, "prefill_rows": 2}
    settings["pack"] = {"row_tokens": 1024, "row_actions": 1024, "rows": 1}
    settings["filters"] = ()  # a random model solves nothing: all of its groups are flat
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 2}
    settings["eval"] = {"tasks": 2, "samples": 2}
  return run_config(settings, where=__file__)
