"""The settings of ArCHer, and what they refuse."""

import optax
import pytest
from archer_probe import MODEL, PACK, make
from ml_collections import ConfigDict

from agentrl.algorithms import archer
from agentrl.algorithms.contract import Policy


@pytest.mark.parametrize(("updates", "steps"), [(3, 0), (10, 0), (12, 6)])
def test_the_schedule_counts_no_steps_while_the_critic_is_alone(updates, steps):
  assert archer.optimizer_steps(ConfigDict({"actor": {"updates": 3, "warmup": 10}}), updates) == steps


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"replay_capacity": 8}, "replay_capacity=8 is smaller than a batch, algo.critic.batch=16"),
    ({"critic": {"encoder": "roberta"}}, r"\(algo.critic.encoder\) is called 'roberta'"),
  ],
)
def test_wrong_settings_are_named(overrides, message):
  with pytest.raises(ValueError, match=message):
    make(**overrides)


def test_a_policy_without_sampler_is_refused():
  with pytest.raises(ValueError, match="sampler"):
    archer.make(Policy(MODEL, PACK), optax.sgd(1.0), ConfigDict(archer.default_config()))
