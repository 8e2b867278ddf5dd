"""The policy of the probe task."""

import jax
import pytest
from archer_probe import MODEL

from agentrl.models import transformer


@pytest.fixture(scope="module")
def params():
  return transformer.init_params(jax.random.key(0), MODEL)
