"""Whom to ask, and what it may cost: a policy that knows nothing learns to route questions to experts with prices.

Four experts know their topics, at prices of 1 to 8; ann, the cheapest, knows two topics of six, and dan, the dearest,
all. The demonstrations ask at random: some believe the first answer, some ask on after a "?", some ask nobody. RL has
to find out who is worth his price. A reward of right answers and of costs, measured by running percentiles of the
square root, is swept from right answers alone (alpha_0) to costs above all (alpha_9).

  alpha_0 to alpha_9  the method with its cost weighed by 0, 0.3, 0.6 and 0.9, under GRPO
  equation_9          0.9, and the cost is paid to wrong answers too, as in the paper's equation and not in its code
  ppo_3               0.3 under PPO, as the paper trains
  price               right answers, less 0.05 for each unit of cost: a fixed price

Without training, whoever asks dan alone is right in 90 % at a cost of 8; whoever asks the cheapest expert of the topic
once, in 90 % at a cost of 3 (tests/envs/tasks/test_experts.py).

  python experiments/reproduce.py configs/router_r1.py
  python experiments/train.py --config configs/router_r1.py:alpha_3 --workdir runs/router_r1

Paper: Zhang et al., 2025 (https://arxiv.org/abs/2506.09033). Unlike the paper, whose experts are language models priced
by the token, these answer from tables, at a price a call. Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  "task": {"family": "experts", "tool": "experts"},
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 112, "max_turns": 5},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"router": 1.0, "correct": 0.0},
  "cold_start": {
    "steps": 450, "batch": 64, "mix": {"at_random": 0.6, "once": 0.3, "never": 0.1}, "learning_rate": 3e-3,
  },
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 100, "eval_every": 25, "checkpoint_every": 50},
  "eval": {"tasks": 384},
}  # fmt: skip


def _weighing(alpha, **settings):
  return {"reward_options": {"router": {"alpha": alpha, **settings}}}


ARMS = {
  "alpha_3": _weighing(0.3),
  "alpha_0": _weighing(0.0),
  "alpha_6": _weighing(0.6),
  "alpha_9": _weighing(0.9),
  "equation_9": _weighing(0.9, pay_wrong=True),
  "ppo_3": {
    **_weighing(0.3),
    "algorithm": "ppo",
    "algo": {"credit_options": {"gae_lambda": 1.0}, "minibatches": 2, "value_coef": 0.5},
    "optimizer": {"learning_rate": 5e-4, "value_rate": 10.0},
  },
  "price": {"reward": {"router": 0.0, "correct": 1.0, "cost": -0.05}},
}

COST, SUCCESS = Last("eval/cost"), Last("eval/success")
BALANCE = "the cost reward trades performance against cost (abstract)"

CLAIMS = (
  Claim("a weight of 0.3 saves cost", "alpha_3", "alpha_0", COST, "lower", published=BALANCE),
  Claim("and costs success", "alpha_3", "alpha_0", SUCCESS, "lower", published=BALANCE),
  Claim("a weight of 0.6 saves more than one of 0.3", "alpha_6", "alpha_3", COST, "lower", published=BALANCE),
  Claim("a weight of 0.9 saves more than one of 0.6", "alpha_9", "alpha_6", COST, "lower", published=BALANCE),
  Claim("and costs success, too", "alpha_9", "alpha_0", SUCCESS, "lower", published=BALANCE),
  Claim(
    "where the cheapest knows, he alone is asked",
    "alpha_3", "alpha_0", Last("eval/art/cost"), "lower",
  ),
  Claim(
    "where the dearest alone knows, he is still asked",
    "alpha_3", "alpha_9", Last("eval/film/success"), "higher",
  ),
  Claim(
    "paid for wrong answers too, a weight of 0.9 gives up on right ones",
    "equation_9", "alpha_9", SUCCESS, "lower",
  ),
  Claim("a fixed price saves as much", "price", "alpha_0", COST, "lower"),
  Claim("PPO learns to route, too", "ppo_3", BEFORE, SUCCESS, "higher", published="PPO is the paper's algorithm"),
)  # fmt: skip
