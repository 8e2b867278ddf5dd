"""Two lookups and an answer: half of a group branches where a tool result makes the policy unsure (ARPO).

A fifth of the demonstrations look up a key, then what it stands for; the others guess. RL has to find out that looking
pays, and to copy keys without a slip, also those that only a tool result shows.

  baseline  independent samples, at the same group size: GRPO
  random    half of a group branches behind tool results, wherever a coin says so: the control
  entropy   the paper's threshold rule at its defaults, and credit as in its code

  python experiments/reproduce.py configs/branching.py
  python experiments/train.py --config configs/branching.py:entropy --workdir runs/entropy

Paper: Dong et al., 2025 (https://arxiv.org/abs/2507.19849), whose baseline is GRPO.
Result (seeds 0, 1, 2; results/branching): baseline 16 -> 66 %, 8 -> 23 %, 25 -> 100 %; random -> 59, 23, 99 %; entropy
-> 63, 23, 100 %. At equal tool calls entropy branching is no better than GRPO or random branching (LOG.md).
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import AtEqual, Last, Spent

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "key_lookup", "tool": "lookup", "difficulty": 3},
  "rollout": {"groups": 12, "group_size": 8, "max_tokens": 112, "max_turns": 4, "entropy_window": 8},
  "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 512, "row_actions": 320, "rows": 2},
  "reward": {"correct": 1.0},
  "cold_start": {"steps": 600, "batch": 64, "mix": {"needed": 0.2, "never": 0.8}, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 200, "eval_every": 25, "checkpoint_every": 50},
  "eval": {"tasks": 256},
}  # fmt: skip

ARMS = {
  "baseline": {},
  "random": {
    "rollout": {"strategy": "branching"},
    "strategy": {"initial": 4, "rule": "random", "probability": 0.5},
    "algo": {"shared_tokens": "per_branch"},
  },
  "entropy": {
    "rollout": {"strategy": "branching"},
    "strategy": {"initial": 4, "rule": "threshold", "alpha": 0.5, "beta": 0.2, "threshold": 0.5},
    "algo": {"shared_tokens": "per_branch"},
  },
}

CALLS = "rollout/tool_calls_made"

CLAIMS = (
  Claim(
    "entropy branching is better than GRPO at equal tool calls",
    arm="entropy",
    against="baseline",
    measure=AtEqual(metric="eval/success", cost=CALLS),
    direction="higher",
    published="better with half of the tool calls (abstract)",
  ),
  Claim(
    "and better than branching where a coin says so",
    arm="entropy",
    against="random",
    measure=AtEqual(metric="eval/success", cost=CALLS),
    direction="higher",
  ),
  Claim(
    "a group with branches makes fewer tool calls",
    arm="entropy",
    against="baseline",
    measure=Spent(CALLS),
    direction="lower",
    published="half (abstract)",
  ),
  Claim(
    "GRPO finds that looking pays", arm="baseline", against=BEFORE, measure=Last("eval/success"), direction="higher"
  ),
)

SMOKE = {"rollout": {"group_size": 6}}
