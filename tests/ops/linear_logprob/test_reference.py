import jax.numpy as jnp
import numpy as np

from agentrl.ops.linear_logprob.reference import reference


def test_matches_a_loop_in_double_precision():
  rng = np.random.default_rng(0)
  hidden, unembed, temperature = rng.normal(size=(4, 3)), rng.normal(size=(3, 6)), rng.uniform(0.5, 2.0, 4)
  tokens = np.array([0, 5, 2, 2])
  arrays = (jnp.asarray(x, jnp.float32) for x in (hidden, unembed))
  logp, entropy = reference(*arrays, jnp.asarray(tokens), jnp.asarray(temperature, jnp.float32))
  for n in range(4):
    weights = np.exp(hidden[n] @ unembed / temperature[n])
    p = weights / weights.sum()
    np.testing.assert_allclose([logp[n], entropy[n]], [np.log(p[tokens[n]]), -np.sum(p * np.log(p))], rtol=1e-5)
