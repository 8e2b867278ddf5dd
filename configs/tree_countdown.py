"""Countdown with three numbers, an operation a line: searches are distilled into a tiny policy.

A cold start shows how lines are written. Then every task gets one Monte Carlo tree search whose moves are lines; the
policy is fitted to its visits, and a value head on the trunk, which the search reads, learns what states are worth.
Evaluations sample without search; with `eval.search=1` they also search. The last command compares ways of acting.

  search        the method, at temperature 1.6
  cispo, best_of            independent samples: CISPO, and distillation of the best of 16, at temperature 1
  cispo_hot, best_of_hot    the same at the searches' temperature
  search_cool   the search at temperature 1
  rollout, path, uniform, mean    the search with rollouts in place of the value head, the paper's own objective, a
                uniform prior, the mean log-probability as prior
  search_four, cispo_four, best_of_four    four numbers

  python experiments/reproduce.py configs/tree_countdown.py --arms search,cispo,cispo_hot,best_of
  python experiments/train.py --config configs/tree_countdown.py --workdir runs/tree_countdown
  python experiments/compare_search.py --run runs/tree_countdown

A step of 16 tasks x 16 samples generates a third more tokens than one of 40 searches.

Paper: Tambde, 2026, "Tree search distillation for language models using PPO", but for the targets, which are visits as
in AlphaZero (the paper's are the arm `path`). CISPO: MiniMax, 2025 (https://arxiv.org/abs/2506.13585).
Result (results/tree_countdown): one sample 34 -> 44 % in 600,000 tokens, mean of five seeds; best of 16 35 %, CISPO
40 %, and 44 % at the searches' temperature: level. Best of 16 at that temperature: 35 and 45 % (seeds 0, 1).
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import AtEqual, Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"style": "dialogue", "stop": ""},
  "task": {"family": "countdown", "tool": "none", "options": {"stepwise": True, "largest": 13}},
  # A peaked policy proposes one step again and again: at temperature 1 a tree has 3 to 6 nodes.
  "rollout": {
    "groups": 40, "group_size": 1, "max_tokens": 64, "max_turns": 1, "strategy": "tree_search", "temperature": 1.6,
  },
  "search": {"simulations": 32, "width": 4, "depth": 4, "step_tokens": 16, "parallel": 4},
  "engine": {
    "slots": 256, "decode_rows": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32,
  },
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 10},
  "reward": {"correct": 1.0},
  "cold_start": {"steps": 600, "batch": 64, "learning_rate": 3e-3},
  "algorithm": "tree_distill",
  # On the trunk the new critic's gradient cost the policy half of its success within 20 steps.
  "algo": {"credit": "visits", "reduction": "token_mean", "value_hidden": 128, "value_detach": True},
  "optimizer": {"learning_rate": 5e-4, "schedule": "linear", "value_rate": 4.0},
  "train": {"steps": 200, "eval_every": 50, "checkpoint_every": 50},
  "eval": {"tasks": 256, "samples": 16},
}  # fmt: skip

SAMPLES = {"strategy": "independent", "groups": 16, "group_size": 16, "temperature": 1.0}
CISPO = {
  "rollout": SAMPLES,
  "train": {"steps": 150},
  "algorithm": "grpo",
  "algo": {"policy_loss": "cispo", "reduction": "token_mean"},
}
BEST_OF = {
  "rollout": SAMPLES,
  "train": {"steps": 150},
  "algo": {"credit": "reward", "reduction": "sequence_mean"},
  "filters": ("best_of_group",),
}
FOUR_NUMBERS = {"task": {"difficulty": 2}}

ARMS = {
  "search": {},
  "cispo": CISPO,
  "cispo_hot": CISPO | {"rollout": SAMPLES | {"temperature": 1.6}},
  "best_of": BEST_OF,
  "best_of_hot": BEST_OF | {"rollout": SAMPLES | {"temperature": 1.6}},
  "search_cool": {"rollout": {"temperature": 1.0}},
  "rollout": {"search": {"evaluate": "rollout"}},
  "path": {"algo": {"credit": "value_baseline", "reduction": "sequence_mean"}},
  "uniform": {"search": {"prior": "uniform"}},
  "mean": {"search": {"prior": "mean"}},
  "search_four": FOUR_NUMBERS,
  "cispo_four": CISPO | FOUR_NUMBERS,
  "best_of_four": BEST_OF | FOUR_NUMBERS,
}

AT_EQUAL_TOKENS = AtEqual(metric="eval/success", cost="rollout/sampled")
AHEAD = "search ahead of CISPO, and that of best of N"

CLAIMS = (
  Claim(
    "a policy learns from its own searches",
    arm="search",
    against=BEFORE,
    measure=Last("eval/success"),
    direction="higher",
  ),
  Claim(
    "distilled searches are better than the best of 16",
    arm="search",
    against="best_of",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
    published=AHEAD,
  ),
  Claim(
    "and better than CISPO",
    arm="search",
    against="cispo",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
    published=AHEAD,
  ),
  Claim(
    "also where CISPO samples at the searches' temperature",
    arm="search",
    against="cispo_hot",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
  ),
  Claim(
    "also where best of 16 samples at the searches' temperature",
    arm="search",
    against="best_of_hot",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
  ),
  Claim(
    "CISPO is better than the best of 16",
    arm="cispo",
    against="best_of",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
    published=AHEAD,
  ),
  Claim(
    "a value head is better than rollouts",
    arm="search",
    against="rollout",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
  ),
  Claim(
    "visits are a better target than the path by R - V",
    arm="search",
    against="path",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
  ),
  Claim(
    "the policy's prior is better than a uniform one",
    arm="search",
    against="uniform",
    measure=AT_EQUAL_TOKENS,
    direction="higher",
  ),
)

SMOKE = {
  "train": {"trajectories_every": 1},
  "eval": {"samples": 2},
  "search": {"simulations": 6, "width": 3},
  "engine": {"slots": 8, "decode_rows": 0},
}
