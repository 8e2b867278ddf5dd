"""When to look up: a bonus for right answers with few calls, and a crumb for wrong ones behind a call (IKEA).

Half of the questions ask for facts that the cold start has taught, the others for keys that stand in a table alone,
whose lookups are right with probability 0.7. With both kinds the reward should draw the boundary between them.

  em            right answers alone: the outcome reward
  ikea          1 + 0.6 (1 - k / 3) for a right answer after k calls; for a wrong one 0.05 after a call, else 0
  no_crumb      nothing for a wrong answer after a call
  only_known    the reward of `ikea`, trained on questions for facts alone; evaluated on both kinds
  only_unknown  trained on the others alone

  python experiments/reproduce.py configs/ikea.py

Paper: Huang et al., 2025 (https://arxiv.org/abs/2505.07596), with the constants of its code. Unlike the paper which
questions are known is so by construction, and not found by probing; all arms have one learning rate.
Result (results/ikea; means of seeds 0 to 4): em is right in 79 %, with 0.98 calls on known and 0.99 on one-hop
questions; ikea in 76 %, with 0.05 and 0.95; no_crumb alike. only_known ends without any call, only_unknown with 0.86
calls on known questions. The cold starts and em are those of configs/otc.py; no rates were swept.
"""

import pathlib

from agentrl.report.claims import Claim
from agentrl.report.measures import Last
from agentrl.training.config import read_file

BASE = read_file(pathlib.Path(__file__).with_name("otc.py")).BASE  # its tasks, its cold starts, its `em`

IKEA = {"reward": {"knowledge_boundary": 1.0}}
ARMS = {
  "em": {},
  "ikea": IKEA,
  "no_crumb": {**IKEA, "reward_options": {"knowledge_boundary": {"crumb": 0.0}}},
  "only_known": {**IKEA, "curriculum": {"options": {"every": 2, "place": 0}}},  # the entries take turns, by name
  "only_unknown": {**IKEA, "curriculum": {"options": {"every": 2, "place": 1}}},
}

SUCCESS, NEEDLESS, NEEDED = Last("eval/success"), Last("eval/known/tool_calls"), Last("eval/one_hop/tool_calls")

CLAIMS = (
  Claim(
    "IKEA looks up less of what is known than the outcome reward",
    arm="ikea",
    against="em",
    measure=NEEDLESS,
    direction="lower",
    published="fewer retrievals (abstract)",
  ),
  Claim(
    "and is right more often",
    arm="ikea",
    against="em",
    measure=SUCCESS,
    direction="higher",
    published="more exact matches than Search-R1 (abstract)",
  ),
  Claim(
    "the crumb keeps it looking up what is not known",
    arm="ikea",
    against="no_crumb",
    measure=NEEDED,
    direction="higher",
  ),
  Claim(
    "trained on known questions alone it stops looking up what is not known",
    arm="only_known",
    against="ikea",
    measure=NEEDED,
    direction="lower",
  ),
  Claim(
    "trained on unknown questions alone it looks up what is known",
    arm="only_unknown",
    against="ikea",
    measure=NEEDLESS,
    direction="higher",
  ),
)
