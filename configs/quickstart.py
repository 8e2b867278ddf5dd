"""A tiny model learns that its calculator pays: cold start on mixed demonstrations, then RL.

A quarter of the demonstrations call the calculator, the others answer by head, which a model of this size cannot do.
RL has to find out which of the two habits is worth keeping. The default arm is `grpo`; `ppo` has a value head on the
trunk, GAE over action tokens and a clipped value loss.

  python experiments/train.py --config configs/quickstart.py --workdir runs/quickstart
  python experiments/train.py --config configs/quickstart.py:ppo --workdir runs/quickstart_ppo
  python experiments/reproduce.py configs/quickstart.py

Paper: Shao et al., 2024 (https://arxiv.org/abs/2402.03300); of `ppo` Schulman et al., 2017
(https://arxiv.org/abs/1707.06347). Result: held-out success 27 to 29 % before RL, 96 to 100 % after with GRPO, 98 to
99 % with PPO (seeds 0, 1, 2); results/quickstart.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "arithmetic", "tool": "calculator"},
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 3},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"correct": 1.0},
  "cold_start": {"steps": 600, "batch": 64, "mix": {"needed": 0.25, "never": 0.75}, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 200, "eval_every": 50, "checkpoint_every": 50},
  "eval": {"tasks": 256},
}

ARMS = {
  "grpo": {},
  "ppo": {
    "algorithm": "ppo",
    "algo": {"credit_options": {"gae_lambda": 1.0}, "minibatches": 2, "value_coef": 0.5},
    "optimizer": {"learning_rate": 5e-4},
  },
}

SUCCESS = Last("eval/success")

CLAIMS = (
  Claim("GRPO finds that calling pays", arm="grpo", against=BEFORE, measure=SUCCESS, direction="higher"),
  Claim("PPO finds that calling pays", arm="ppo", against=BEFORE, measure=SUCCESS, direction="higher"),
)
