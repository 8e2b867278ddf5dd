"""Values that slots read are those of one forward pass, for prefixes that share their beginning too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.models import heads, transformer
from agentrl.rollout.driver import Driver
from agentrl.rollout.strategies.read_values import ReadValues
from tests.rollout.conftest import ENGINE, one_device


@pytest.mark.parametrize("slots", [1, 4])
def test_values_are_those_of_a_forward_pass(lab, slots):
  head = {"weight": jax.random.normal(jax.random.key(5), (lab.model.width,)), "bias": jnp.float32(0.5)}
  rng = np.random.default_rng(0)
  prompts = [rng.integers(1, 200, size) for size in (9, 20)]
  rests = [rng.integers(1, 200, size) for size in (3, 0, 17, 1, 30)]
  prefixes = [(prompts[n % 2], rest) for n, rest in enumerate(rests)]
  engine = dataclasses.replace(ENGINE, slots=slots)
  value = lambda params, hidden: heads.apply_value_head(params["value"], hidden)
  driver = Driver(
    lab.model, engine, lab.chat.pause_table(lab.model.vocab_size), mesh=one_device(), compiled=False, value_of=value
  )
  strategy = ReadValues(prefixes, engine=engine)
  stats = driver.run({"policy": lab.params, "value": head}, jax.random.key(0), [strategy])
  assert stats.sampled == len(prefixes)
  for read, (prompt, rest) in zip(strategy.values, prefixes, strict=True):
    tokens = jnp.asarray([[*prompt, *rest]])
    length = tokens.shape[1]
    hidden = transformer.forward(
      lab.params, tokens, jnp.arange(length)[None], jnp.full((1, length), length), config=lab.model
    )
    assert read == pytest.approx(float(heads.apply_value_head(head, hidden)[0, -1]), abs=1e-4)


def test_nothing_to_read_is_done_at_once():
  strategy = ReadValues([], engine=ENGINE)
  assert strategy.step(None).done[0] and strategy.values == []
