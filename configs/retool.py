"""Sums and products by hand or with a calculator: what the tool adds, and what its text is worth as a target.

  tool       half of the demonstrations call the calculator, and what it wrote is context: ReTool
  unmasked   the same, and what it wrote is trained on, as if the policy had sampled it
  text       writes steps and result itself, "47*30=1410,47*6=282,1410+282=1692", as its cold start shows

  python experiments/reproduce.py configs/retool.py
  python experiments/train.py --config configs/retool.py:tool --workdir runs/tool

Paper: Feng et al., 2025 (https://arxiv.org/abs/2504.11536), PPO on Qwen2.5-32B with a Python interpreter. Unlike the
paper, credit is a group's (to which its +1 and -1 are as 1 and 0), and the text arm's cold start has no calls.
Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last, MeanOfLast

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "arithmetic", "tool": "calculator"},
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 64, "max_turns": 3},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"correct": 1.0},
  "cold_start": {"steps": 300, "batch": 64, "mix": {"needed": 0.5, "by_hand": 0.5}, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 60, "eval_every": 20, "checkpoint_every": 60},
  "eval": {"tasks": 256},
}

ARMS = {
  "tool": {},
  "unmasked": {"filters": ("ablation_train_on_tool_text",)},
  "text": {"cold_start": {"mix": {"by_hand": 1.0}}, "rollout": {"max_turns": 1}},
}

SUCCESS = Last("eval/success")

CLAIMS = (
  Claim(
    "RL with the tool solves more than RL of text",
    arm="tool",
    against="text",
    measure=SUCCESS,
    direction="higher",
    published="AIME24 67.0 % after 400 steps against 40.0 % after 1,080",
  ),
  Claim(
    "and writes less",
    arm="tool",
    against="text",
    measure=MeanOfLast("rollout/action_tokens", evaluations=3),
    direction="lower",
    published="40 % less than before RL",
  ),
  Claim(
    "calls become the habit",
    arm="tool",
    against=BEFORE,
    measure=Last("eval/tool_calls"),
    direction="higher",
    published="in 98 % of answers",
  ),
  Claim(
    "what the tool wrote is no target",
    arm="tool",
    against="unmasked",
    measure=SUCCESS,
    direction="higher",
  ),
)
