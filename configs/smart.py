"""Demonstrations that depend on what the policy knows: answer what it knows, look up the rest (SMART).

The cold start teaches 64 facts, and shows lookups or answers at once whatever is asked, so that the policy looks up
much of what it knows, and guesses much of the rest. Behind it come 100 steps of supervised learning that

  smart     answer at once where more than half of the policy's own answers without a lookup are right, else look up
  always    always look up
  random    look up in half of the cases: the dull baseline
  rl        no such steps, but 60 updates of GRPO with the reward of configs/ikea.py
  smart_rl  smart, then rl

  python experiments/reproduce.py configs/smart.py

The policy of each step is asked 16 times for each of the step's 64 questions, and may write one turn; questions that it
never answers at once count as unknown. `probe/STRATUM/called` and `probe/STRATUM/right` say how often it calls a tool
and how many of its answers are right.

Paper: Qian et al., 2025 (https://arxiv.org/abs/2502.11435), supervised learning alone. Unlike the paper, which labels
each step of a chain once, by reasons that a large model writes, whole questions are labelled, at each step anew, and
without reasons. Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last

TUNING = {"steps": 100, "batch": 64, "learning_rate": 1e-3, "schedule": "linear"}
BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "knowledge", "tool": "lookup", "difficulty": 2,
    "mixture": {"known": {"options": {"known": 1.0}}, "unknown": {"options": {"known": 0.0, "right": 0.7}}},
  },
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 4},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"knowledge_boundary": 1.0},
  "cold_start": {
    "steps": 600, "batch": 64, "mix": {"always": 0.6, "never": 0.4}, "learning_rate": 3e-3, "schedule": "linear",
  },
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 0, "eval_every": 20, "checkpoint_every": 100},
  "eval": {"tasks": 256},
}  # fmt: skip

SMART = {"tuning": {**TUNING, "source": "probed", "probe": {"samples": 16, "least": 0.5, "unknown": "always"}}}
RL = {"train": {"steps": 60}}
ARMS = {
  "smart": SMART,
  "always": {"tuning": {**TUNING, "mix": {"always": 1.0}}},
  "random": {"tuning": {**TUNING, "mix": {"always": 0.5, "never": 0.5}}},
  "rl": RL,
  "smart_rl": {**SMART, **RL},
}

SUCCESS, CALLS = Last("eval/success"), Last("eval/tool_calls")
OVERUSE, ONE_HOP = Last("eval/known/tool_calls"), Last("eval/one_hop/tool_calls")

CLAIMS = (
  Claim(
    "less of what is known is looked up than before", "smart", BEFORE, OVERUSE, "lower",
    published="models call tools for more than 30 % of what they know (abstract)",
  ),
  Claim("and more of what is not", "smart", BEFORE, ONE_HOP, "higher"),
  Claim(
    "there are fewer calls than with demonstrations that always call", "smart", "always", CALLS, "lower",
    published="24 % fewer calls than the baselines (abstract)",
  ),
  Claim(
    "and more success", "smart", "always", SUCCESS, "higher",
    published="37 % better than the baselines (abstract)",
  ),
  Claim("labels by knowledge are better than random ones in success", "smart", "random", SUCCESS, "higher"),
  Claim("and in calls on what is known", "smart", "random", OVERUSE, "lower"),
  Claim("SMART needs no reward to draw the boundary as RL does", "smart", "rl", SUCCESS, "higher"),
  Claim("RL behind SMART calls less on what is known than RL alone", "smart_rl", "rl", OVERUSE, "lower"),
  Claim("and is right more often", "smart_rl", "rl", SUCCESS, "higher"),
  Claim("RL adds success to SMART", "smart_rl", "smart", SUCCESS, "higher"),
)  # fmt: skip
