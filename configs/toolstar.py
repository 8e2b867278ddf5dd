"""Two tools at once, found by a bonus for using both, and what the bonus does where one is enough (Tool-Star).

A third of the questions each need one lookup, one calculation of two given numbers, and the sum of two values that have
to be looked up. The cold start shows one tool at a time: on such sums it looks both values up, and guesses. A tenth of
its demonstrations use both tools, whatever the question needs. A right answer after calls of both earns 0.1 more.

  accuracy       right answers; -1 of a malformed episode, as in all arms: the dull baseline
  bonus          and 0.1 more where both tools were called
  dropped        the bonus for the first half of the updates alone
  bonus_batch    the bonus, and advantages divided by the std of the batch in place of the group's
  accuracy_batch accuracy under the std of the batch

  python experiments/reproduce.py configs/toolstar.py

Paper: Dong et al., 2025 (https://arxiv.org/abs/2505.16410). Unlike the paper, which has six tools and prose, and trains
by preferences behind RL: that last step, which it calls optional, is not here. In a probe on seed 99 (200 steps of cold
start, 3 % of joint demonstrations) 88 % were right where one calculation is needed, 89 % where one lookup is, 1 % where
both are, and 40 updates with the bonus did not find joint use. The longer cold start and the larger share are not
probed, and no rates were swept. Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import CostToReach, Last

BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"style": "calls", "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "knowledge", "tool": "lookup_and_calculator",
    "mixture": {
      "lookup": {"options": {"known": 0.0}},
      "calculator": {"options": {"known": 1.0, "sums": 1.0}},
      "both": {"options": {"known": 0.0, "sums": 1.0}},
    },
  },
  "rollout": {"groups": 16, "group_size": 8, "max_tokens": 144, "max_turns": 5},
  "engine": {"slots": 64, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 48, "live_step": 32},
  "pack": {"row_tokens": 256, "row_actions": 192, "rows": 8},
  "reward": {"toolstar": 1.0},
  "cold_start": {"steps": 400, "batch": 64, "mix": {"one_tool": 0.9, "all_tools": 0.1}, "learning_rate": 3e-3},
  "algo": {"reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 80, "eval_every": 5, "checkpoint_every": 80},
  "eval": {"tasks": 192},
}  # fmt: skip


def _bonus(size, **settings):
  return {"reward_options": {"toolstar": {"bonus": size, **settings}}}


ACCURACY, BONUS, BATCH = _bonus(0.0), _bonus(0.1), {"algo": {"credit": "batch_std"}}
ARMS = {
  "bonus": BONUS,
  "accuracy": ACCURACY,
  "dropped": _bonus(0.1, until=BASE["train"]["steps"] // 2),
  "bonus_batch": {**BONUS, **BATCH},
  "accuracy_batch": {**ACCURACY, **BATCH},
}

BOTH, SUCCESS = Last("eval/both/success"), Last("eval/success")
FOUND = CostToReach(cost="rollout/trajectories", metric="eval/both/success", threshold=0.5)
ONE_LOOKUP, ONE_SUM = Last("eval/one_hop/tool_calls"), Last("eval/calculator/tool_calls")
EXTRA = "expected by us: 0.5 to 0.9 of such tasks; the paper gives no such number"

CLAIMS = (
  Claim("right answers alone find joint use", "accuracy", BEFORE, BOTH, "higher"),
  Claim(
    "the bonus finds it earlier", "bonus", "accuracy", FOUND, "lower",
    published="the bonus is there to encourage several tools at once (section on the reward)",
  ),
  Claim("and ends with as much or more success where both are needed", "bonus", "accuracy", BOTH, "higher"),
  Claim("calls a second tool in vain where one lookup is enough", "bonus", "accuracy", ONE_LOOKUP, "higher", EXTRA),
  Claim("and where one calculation is enough", "bonus", "accuracy", ONE_SUM, "higher", EXTRA),
  Claim("the std of the batch calls less in vain behind lookups", "bonus_batch", "bonus", ONE_LOOKUP, "lower"),
  Claim("and beside calculations", "bonus_batch", "bonus", ONE_SUM, "lower"),
  Claim("and takes longer to find joint use", "bonus_batch", "bonus", FOUND, "higher"),
  Claim("yet not as long as without the bonus", "bonus_batch", "accuracy_batch", FOUND, "lower"),
  Claim("dropped half-way, fewer calls are in vain at the end", "dropped", "bonus", ONE_LOOKUP, "lower"),
  Claim("and joint use was found as early as with it", "dropped", "accuracy", FOUND, "lower"),
)  # fmt: skip
