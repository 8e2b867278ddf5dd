"""ArCHer: off-policy critics of whole utterances over a token-level policy.

Zhou et al., 2024, "ArCHer: Training language model agents via hierarchical multi-turn RL"
(https://arxiv.org/abs/2402.19446). A state s is a dialogue so far, an action a one utterance.

  critic  y_Qi = r + gamma (1 - done) V_i^target(s')      L = (Q_i(s, a) - y_Qi)^2     (s, a, r, s') from the replay
          y_Vi = Q_i^target(s, a'),  a' ~ pi(. | s)       L = (V_i(s) - y_Vi)^2        each twin by itself
  target  <- (1 - tau) target + tau critic, after every critic step
  actor   A = min_i Q_i(s, a') - min_i V_i(s)             L = -A sum_t log pi(a'_t | s, a'_<t),  s from the replay

Every update adds new dialogues to the replay, takes `critic.updates` critic steps, and, once `actor.warmup` updates are
over, `actor.updates` actor steps on fresh utterances. Two things differ from the paper's code, where a critic step
takes single turns, each behind its own copy of the dialogue so far, and samples a' anew for each. Here it takes whole
dialogues, whose turns share one row, with every a' a branch of it; and the policy, which does not move meanwhile,
answers the states of `critic.dialogues` replayed dialogues once per update, from which the steps then draw. A setting
of our own, `critic.likelihood`, tells Q how likely the policy, as it was before RL, finds the utterance.
"""

from __future__ import annotations

import dataclasses
import functools

import optax
from ml_collections import ConfigDict

from agentrl.algorithms import learner
from agentrl.algorithms.archer.actor import Actor, actor_terms
from agentrl.algorithms.archer.critic import make_critics
from agentrl.algorithms.archer.learning import Archer
from agentrl.algorithms.contract import Algorithm, HeadSpec, Policy
from agentrl.algorithms.objective import heads_of
from agentrl.batching import replay
from agentrl.settings import above, at_least, between


def default_config() -> ConfigDict:
  """The paper's settings for a small policy (table 2), where they do not depend on its size."""
  return ConfigDict({
    "discount": 0.95,  # gamma per utterance
    "replay_capacity": 2000,  # dialogues
    "critic": {
      "encoder": "own",  # "own": starts as a copy of the policy; "policy": the policy's trunk, without gradient
      "hidden": 128,  # width of the heads' hidden layer
      # Q also sees an utterance's log-likelihood and likelihood under the policy as it was before RL: what does not fit
      # a dialogue a small critic learns late by itself. Not the paper's, whose critics are pretrained.
      "likelihood": False,
      "learning_rate": 1e-4,
      "max_grad_norm": 1.0,
      "updates": 50,  # critic steps per update
      "batch": 16,  # dialogues per critic step
      "dialogues": 64,  # whose states the policy answers anew per update; with few, V learns their noise by heart
      "target_rate": 0.1,  # tau of the Polyak average
      # V's target is the smaller of the twins' Q (Fujimoto et al., 2018, https://arxiv.org/abs/1802.09477), which
      # checks the overestimation that an actor finds; the paper's twins do not look at each other.
      "clipped_double_q": False,
      "expectile": 0.5,  # of V's regression; 0.5 is the squared error
    },
    "actor": {
      "updates": 3,  # actor steps per update; 0: the policy stays as it is, and only its critics learn
      "batch": 64,  # fresh utterances per actor step
      "warmup": 10,  # updates of the critic alone, at first
      "center": True,  # take the mean over a step's utterances off the advantages; the paper's code does not
      "token_baseline": False,  # a value head on every token takes its part of the advantage away
      "entropy_coef": 0.0,
    },
    # Of the actor.
    "policy_loss": "reinforce",  # name in ops.losses.POLICY_LOSSES
    "loss": {},  # keyword arguments of the policy loss
    "correction": "none",  # of a sampler that is not the policy: name in ops.corrections.CORRECTIONS
    "correction_options": {},  # keyword arguments of the correction: {"cap": 2.0}
    "reduction": "sequence_sum_norm",  # name in ops.reduce.REDUCTIONS: the sum over an utterance's tokens
    "reduction_options": {},  # keyword arguments of the reduction: {"constant": 64.0}
    "terms": {},  # further terms of the objective, see terms.py
  })  # fmt: skip


RANGES = {
  **learner.OBJECTIVE_RANGES,
  "discount": between(0, 1),
  "replay_capacity": at_least(1),
  "critic.hidden": at_least(1),
  "critic.learning_rate": at_least(0),
  "critic.max_grad_norm": above(0, "gradients are scaled down to it; a large number leaves them as they are"),
  "critic.updates": at_least(1),
  "critic.batch": at_least(1),
  "critic.dialogues": at_least(1),
  "critic.target_rate": between(0, 1, above_low=True),
  "critic.expectile": between(0, 1, above_low=True, below_high=True),
  "actor.updates": at_least(0),
  "actor.batch": at_least(1),
  "actor.warmup": at_least(0),
  "actor.entropy_coef": at_least(0),
}


def optimizer_steps(cfg: ConfigDict, updates: int) -> int:
  """Steps of the policy's optimiser in so many updates; it takes none while the critic is alone."""
  return max(0, updates - cfg.actor.warmup) * cfg.actor.updates


def heads(cfg: ConfigDict) -> dict[str, HeadSpec]:
  """What the actor's terms declare; the critics are no heads, they learn apart."""
  return heads_of(actor_terms(cfg))


def make(policy: Policy, optimizer: optax.GradientTransformation, cfg: ConfigDict) -> Algorithm:
  """See `contract.Algorithm`; `prepare` gives `Dialogues`.

  Raises:
    ValueError: there is nothing to sample with, or a setting is wrong.
  """
  if policy.sampler is None:
    raise ValueError("archer samples fresh utterances while it learns: its Policy needs a sampler")
  if cfg.replay_capacity < cfg.critic.batch:
    raise ValueError(
      f"algo.replay_capacity={cfg.replay_capacity} is smaller than a batch, algo.critic.batch={cfg.critic.batch}"
    )
  critics = make_critics(policy, cfg)
  table = functools.partial(replay.dialogues_of, positions=policy.pack.row_tokens, discount=cfg.discount)
  actor_policy = policy._replace(pack=dataclasses.replace(policy.pack, sequences=cfg.actor.batch))
  learns = learner.make_learner(actor_policy, optimizer, actor_terms(cfg), reduce=learner.reduction(cfg))
  actor = Actor(learns, critics, table, cfg.actor.batch, cfg.actor.center)
  archer = Archer(policy, cfg, critics, actor, table)
  return Algorithm(archer.init, archer.prepare, archer.update, archer.judge, heads=learns.heads, rewards=True)
