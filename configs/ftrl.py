"""What a turn of tool calls is worth: how many needed outputs it obtains, at what precision, or both (FTRL).

Two values are wanted that take three calls of six offered tools; one of the calls takes the result of another. A turn
may make several calls. A third of the demonstrations each make the calls that are needed, as many at once as can be;
make them one by one; and call every tool on everything. What a turn earns has p, how many outputs it obtains that were
needed still, and q, how many calls it makes:

  f1              2 p / (q + 1): the paper's
  precision       p / q
  rate            p
  rate_precision  p^2 / q
  terminal        nothing, and 1 for the right answer at the end: GRPO
  prefixes        f1, of single turns behind beginnings of demonstrations: 36 x 8 of them, about as many turns as the
                  other arms sample in 12 x 8 episodes

  python experiments/reproduce.py configs/ftrl.py
  python experiments/train.py --config configs/ftrl.py:f1 --workdir runs/ftrl

Paper: Ye et al., 2025 (https://arxiv.org/abs/2508.08791). Unlike the paper, which trains single turns behind every
prefix of stored trajectories, all arms but `prefixes` sample whole episodes, and credit a turn with what it earned
itself. That arm and `f1` are compared at equal numbers of generated tokens, prefixes not among them.
Result: not yet run.
"""

from agentrl.report.claims import BEFORE, Claim
from agentrl.report.measures import AtEqual, Last

SHARES = {"solve_precision": 0.0, "solve_recall": 0.0, "solve_f1": 0.0}  # told, and worth nothing
BASE = {
  "model": {"layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24, "ffn": 288},
  "chat": {"style": "calls", "max_calls": 8, "observation_open": "=", "observation_close": "\n"},
  "task": {
    "family": "toolworld",
    "tool": "",
    "difficulty": 3,
    "options": {"pool": 12, "least_parameters": 1, "most_parameters": 1, "offered": 6, "wanted": 2},
  },
  "rollout": {"groups": 12, "group_size": 8, "max_tokens": 176, "max_turns": 5},
  "engine": {"slots": 48, "decode_tokens": 8, "feed_tokens": 32, "prefill_tokens": 32, "live_step": 32},
  "pack": {"row_tokens": 512, "row_actions": 320, "rows": 2},
  "reward": {"ftrl": 1.0, **SHARES},
  "cold_start": {
    "steps": 600,
    "batch": 64,
    "learning_rate": 3e-3,
    "mix": {"needed": 0.34, "one_by_one": 0.33, "everything": 0.33},
  },
  "algo": {"credit": "turn_returns", "credit_options": {"discount": 0.0}, "reduction": "token_mean"},
  "optimizer": {"learning_rate": 1e-3, "schedule": "linear"},
  "train": {"steps": 100, "eval_every": 25, "checkpoint_every": 50},
  "eval": {"tasks": 256},
}  # fmt: skip

ARMS = {
  "f1": {},
  "precision": {"reward_options": {"ftrl": {"measure": "precision"}}},
  "rate": {"reward_options": {"ftrl": {"measure": "rate"}}},
  "rate_precision": {"reward_options": {"ftrl": {"measure": "rate_precision"}}},
  "terminal": {"reward": {"correct": 1.0, **SHARES}, "algo": {"credit": "grpo", "credit_options": {}}},
  "prefixes": {
    "rollout": {"groups": 36},
    "train": {"source": "authored_prefixes", "source_options": {"turns": 1, "mix": BASE["cold_start"]["mix"]}},
  },
}

F1, PRECISION, RECALL = (Last(f"eval/reward/solve_{name}") for name in ("f1", "precision", "recall"))
CLAIMS = (
  Claim("2p/(q+1) raises Solve-F1", arm="f1", against=BEFORE, measure=F1, direction="higher"),
  Claim("paid by p alone, calls are wasted", arm="rate", against="f1", measure=PRECISION, direction="lower"),
  Claim("and there are more of them", arm="rate", against="f1", measure=Last("eval/tool_calls"), direction="higher"),
  Claim("paid by p/q, outputs are missed", arm="precision", against="f1", measure=RECALL, direction="lower"),
  Claim("2p/(q+1) has a better Solve-F1 than p", arm="f1", against="rate", measure=F1, direction="higher"),
  Claim("and than p/q", arm="f1", against="precision", measure=F1, direction="higher"),
  Claim(
    "and than the right answer alone",
    arm="f1",
    against="terminal",
    measure=F1,
    direction="higher",
    published="some 10 points over the base model, mean of four benchmarks; this arm is ours",
  ),
  Claim(
    "at equal tokens, single turns behind prefixes of demonstrations teach more than whole episodes",
    arm="prefixes",
    against="f1",
    measure=AtEqual("eval/reward/solve_f1", cost="rollout/sampled"),
    direction="higher",
  ),
)

SMOKE = {"rollout": {"group_size": 6}}
