"""Ratios of tokens, of turns and of whole trajectories: which may be clipped where an agent takes several turns (LOOP).

Leave-one-out advantages without a spread, and PPO's clipping over eight steps an update, by the bounds 1 / 1.1 and 1.1.
The ratio is a token's own, the product over its turn, or the product over its trajectory. Three errands in a wallet,
notes and contacts take 3 to 6 calls, each a turn; the reward is the share of assertions that pass, and held-out tasks
are normal (other values) or challenges (combinations of errands that are never trained on), as in AppWorld.

  token        a ratio for each token
  turn         for each turn
  trajectory   for the whole trajectory
  token_std    as token, with advantages divided by the group's spread
  rloo         one step an update, on-policy, no ratio

  python experiments/reproduce.py configs/loop.py
  python experiments/train.py --config configs/loop.py:turn --workdir runs/loop_turn

Paper: Chen et al., 2025, "Reinforcement learning for long-horizon interactive LLM agents"
(https://arxiv.org/abs/2502.01600). Unlike the paper fresh tasks are asked in place of 24 scenarios again and again, the
batch of an update is 96 trajectories in place of 240, and all weights move in place of adapters.
Result: not yet run, and neither cold start nor rates are tuned.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last, Spent

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288, "vocabulary": 512},
  "chat": {"style": "calls", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "ledger_apps", "tool": "", "difficulty": 3},
  "rollout": {"groups": 16, "group_size": 6, "max_tokens": 256, "max_turns": 14},
  "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 512, "row_actions": 320, "rows": 4},
  "reward": {"state": 1.0, "executed": 0.0},
  "cold_start": {
    "steps": 600,
    "batch": 64,
    "learning_rate": 3e-3,
    "mix": {"needed": 0.04, "docs_first": 0.03, "recovers": 0.03, "careless": 0.9},
  },
  "algo": {"credit": "leave_one_out", "reduction": "sequence_mean", "epochs": 2, "minibatches": 4},
  "optimizer": {"learning_rate": 5e-4, "max_grad_norm": 0.1},
  "train": {"steps": 60, "eval_every": 20, "checkpoint_every": 60},
  "eval": {"tasks": 256},
}

CLIP = {"clip": 0.1}
# The bounds of a token's ratio are 1 / 1.1 and 1.1, as of the others.
TOKEN = {"policy_loss": "ppo", "loss": {"clip_low": 1 - 1 / 1.1, "clip_high": 0.1}}
ARMS = {
  "token": {"algo": TOKEN},
  "turn": {"algo": {"policy_loss": "turn_ratio", "loss": CLIP}},
  "trajectory": {"algo": {"policy_loss": "trajectory_ratio", "loss": CLIP}},
  "token_std": {"algo": TOKEN | {"credit": "grpo"}},
  "rloo": {"algo": {"policy_loss": "reinforce", "epochs": 1, "minibatches": 1}},
}

SUCCESS, CHALLENGES, CLIPPED = Last("eval/normal/success"), Last("eval/challenge/success"), Spent("policy/clipped")

CLAIMS = (
  Claim("LOOP learns", arm="token", against=BEFORE, measure=SUCCESS, direction="higher"),
  Claim(
    "ratios of tokens are better than those of turns",
    arm="token",
    against="turn",
    measure=SUCCESS,
    direction="higher",
    published="71.3 against 64.1 % of AppWorld's normal test (table 1)",
  ),
  Claim(
    "ratios of turns are better than those of trajectories",
    arm="turn",
    against="trajectory",
    measure=SUCCESS,
    direction="higher",
    published="64.1 against 53.3 % (table 1)",
  ),
  Claim(
    "on challenges ratios of tokens are better than those of turns",
    arm="token",
    against="turn",
    measure=CHALLENGES,
    direction="higher",
    published="45.7 against 40.8 % of AppWorld's challenge test (table 1)",
  ),
  Claim(
    "and those of turns better than those of trajectories",
    arm="turn",
    against="trajectory",
    measure=CHALLENGES,
    direction="higher",
    published="40.8 against 27.7 % (table 1)",
  ),
  Claim(
    "several clipped steps are better than one on-policy step",
    arm="token",
    against="rloo",
    measure=SUCCESS,
    direction="higher",
    published="71.3 against 57.2 % (table 1)",
  ),
  Claim(
    "advantages are better without the spread of the group",
    arm="token",
    against="token_std",
    measure=SUCCESS,
    direction="higher",
    published="71.3 against 61.9 % (table 1)",
  ),
  Claim(
    "more tokens are clipped by the ratios of turns than by their own",
    arm="turn",
    against="token",
    measure=CLIPPED,
    direction="higher",
  ),
  Claim(
    "and more by the ratios of trajectories than by those of turns",
    arm="trajectory",
    against="turn",
    measure=CLIPPED,
    direction="higher",
  ),
)

SMOKE = {
  "model": {"vocabulary": 0},  # the model and the rows of toolworld's papers
  "task": {"difficulty": 2},
  "rollout": {"group_size": 6, "max_turns": 3},
  "pack": {"rows": 2},
}
