"""SmolLM2-135M-Instruct learns to solve word problems with a Python interpreter; full fine-tuning in fp32 on a CPU.

Two solved examples in the prompt show how code is written and that its output is the answer; there are four kinds of
problem (sum, difference, product, quotient). The numbers of the held-out split never occur in training.

  python experiments/train.py --config configs/smollm2_python.py --workdir runs/smollm2_python

Paper: Shao et al., 2024 (https://arxiv.org/abs/2402.03300). Result: held-out success 20.5 % before and 98.0 % after 60
updates, 39 minutes (`results/smollm2_python/seed0`).
"""

from agentrl.training.defaults import run_config


def get_config(smoke: bool = False):
  settings = {
    "model": {"source": "smollm2", "remat": "dots"},
    "chat": {
      "style": "tags", "template": "chatml", "open": "<python>", "close": "</python>",
      "observation_open": "\n<output>", "observation_close": "</output>\n",
    },
    "task": {
      "family": "word_problems", "tool": "python", "difficulty": 1, "examples": 2,
      "max_output_chars": 120,
      "system": "Solve the problem with Python, then write the answer.",
    },
    "rollout": {"groups": 6, "group_size": 8, "max_tokens": 320, "max_turns": 3, "temperature": 0.7, "workers": 4},
    "engine": {
      "slots": 48, "decode_tokens": 8, "feed_tokens": 320, "prefill_tokens": 16, "prefill_rows": 4, "live_step": 64,
    },
    "pack": {"row_tokens": 736, "row_actions": 448, "rows": 1},
    "algo": {"reduction": "token_mean", "loss": {"clip_low": 0.2, "clip_high": 0.28}},
    "reward": {"correct": 1.0},
    "filters": ("flat_groups",),
    "optimizer": {"learning_rate": 3e-5, "warmup_steps": 3},
    "train": {"steps": 60, "eval_every": 30, "checkpoint_every": 10, "trajectories_every": 5},
    "eval": {"tasks": 128, "samples": 4, "temperature": 0.7},
  }  # fmt: skip
  if smoke:
    settings["train"] = {"steps": 2, "eval_every": 2, "checkpoint_every": 2}
    settings["eval"] = {"tasks": 2, "samples": 1}
    settings["rollout"] |= {"groups": 2, "group_size": 2}
  return run_config(settings, where=__file__)
