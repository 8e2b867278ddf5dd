"""Checkpoints come back exactly, or say what is wrong with them."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from agentrl.training import checkpoint, disk


class State(NamedTuple):
  params: dict
  optimizer: optax.OptState
  key: jax.Array
  updates: jax.Array
  extra: tuple


def make_state(width=4, seed=0):
  params = {"w": jax.random.normal(jax.random.key(seed), (3, width)), "b": jnp.full(width, seed, jnp.bfloat16)}
  optimizer = optax.adamw(1e-3).init(params)
  return State(params, optimizer, jax.random.key(seed + 7), jnp.int32(seed), (jnp.zeros((0, 2)), None, np.arange(3)))


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)


def test_the_latest_comes_back_exactly(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  assert saver.restore_latest(make_state()) is None
  saver.save(1, make_state(seed=1), {"uid": 16})
  saver.save(2, make_state(seed=2), {"uid": 32, "order": [2, 0, 1]})
  restored = checkpoint.Checkpointer(tmp_path).restore_latest(make_state())
  assert restored.step == 2
  assert restored.host == {"uid": 32, "order": [2, 0, 1]}
  assert_equal(restored.state, make_state(seed=2))
  assert isinstance(restored.state.extra[2], np.ndarray)


def test_shapes_alone_are_enough_to_restore(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(3, {"params": make_state(seed=3).params, "key": jax.random.key(5)}, {})
  like = jax.eval_shape(lambda: {"params": make_state().params, "key": jax.random.key(0)})
  state = saver.restore_latest(like).state
  assert_equal(state["params"], make_state(seed=3).params)
  assert_equal(state["key"], jax.random.key(5))


def test_a_subtree_can_be_restored_alone(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, make_state(seed=1), {})
  assert_equal(saver.restore(1, make_state().params, prefix="params").state, make_state(seed=1).params)
  with pytest.raises(checkpoint.CheckpointError, match="policy/b: saved nothing, expected bfloat16"):
    saver.restore(1, make_state().params, prefix="policy")


def test_a_sharding_of_like_is_honoured(tmp_path):
  devices = jax.devices()
  mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  sharding = NamedSharding(mesh, P("data"))
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, {"w": jnp.arange(8.0)}, {})
  w = saver.restore_latest({"w": jax.device_put(jnp.zeros(8), sharding)}).state["w"]
  assert w.sharding == sharding
  np.testing.assert_array_equal(w, np.arange(8.0))


def test_which_steps_are_kept(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path, keep_last=2, keep_every=4)
  for step in range(1, 8):
    saver.save(step, {"a": jnp.int32(step)}, {})
  assert saver.steps == [4, 6, 7]
  assert checkpoint.Checkpointer(tmp_path).steps == [4, 6, 7]


def test_another_shape_is_named_leaf_by_leaf(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, {"w": jnp.zeros((3, 4)), "old": jnp.zeros(2), "same": jnp.zeros(1)}, {})
  like = {"w": jnp.zeros((3, 5)), "new": jnp.zeros(2, jnp.int32), "same": jnp.zeros(1)}
  with pytest.raises(checkpoint.CheckpointError) as error:
    saver.restore_latest(like)
  message = str(error.value)
  assert "3 of 4 leaves differ" in message
  assert "w: saved float32[3,4], expected float32[3,5]" in message
  assert "new: saved nothing, expected int32[2]" in message
  assert "old: saved float32[2], expected nothing" in message
  assert "same:" not in message
  assert str(tmp_path / "1") in message


def damage(folder: pathlib.Path, how: str):
  """Truncates, removes or overwrites the files that hold arrays or the record."""
  for file in [f for f in folder.rglob("*") if f.is_file() and ("/d/" in str(f) or f.parent.name == "host")]:
    if how == "remove":
      file.unlink()
    else:
      data = file.read_bytes()
      file.write_bytes(data[: len(data) // 2] if how == "truncate" else bytes(len(data)))


# Orbax closes its event loop while failed reads still want to report to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["truncate", "remove", "zero"])
@pytest.mark.parametrize("part", ["state", "host"])
def test_a_damaged_checkpoint_is_named_with_the_previous_good_one(tmp_path, how, part):
  saver = checkpoint.Checkpointer(tmp_path, keep_last=3)
  for step in (1, 2, 3):
    saver.save(step, make_state(seed=step), {})
  damage(tmp_path / "3" / part, how)
  damage(tmp_path / "2" / "state", "truncate")
  with pytest.raises(checkpoint.CheckpointError) as error:
    checkpoint.Checkpointer(tmp_path).restore_latest(make_state())
  assert f"{tmp_path / '3'} cannot be read" in str(error.value)
  assert "step 1 is good" in str(error.value)
  assert_equal(saver.restore(1, make_state()).state, make_state(seed=1))


def test_what_is_not_an_array_is_named(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  with pytest.raises(TypeError, match="'count' is a int"):
    saver.save(1, {"count": 1}, {})
  with pytest.raises(ValueError, match="JSON"):
    saver.save(1, {"a": jnp.ones(1)}, {"loss": float("nan")})
  assert saver.steps == []


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, make_state(seed=1), {})

  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(saver._manager, "save", full)
  with pytest.raises(disk.DiskFullError, match="MiB free"):
    saver.save(2, make_state(seed=2), {})
  assert_equal(saver.restore_latest(make_state()).state, make_state(seed=1))


def test_orbax_is_quiet(tmp_path, capfd):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, make_state(), {})
  saver.restore_latest(make_state())
  assert capfd.readouterr().err == ""


SAVE_FOREVER = """
  import pathlib, sys
  import jax.numpy as jnp
  from agentrl.training import checkpoint

  saver = checkpoint.Checkpointer(pathlib.Path(sys.argv[1]))
  first = saver.steps[-1] + 1 if saver.steps else 0
  for step in range(first, 10_000):
    saver.save(step, {"a": jnp.full((64, 64), step), "b": jnp.full(3, step)}, {"step": step})
    print(step, flush=True)
"""


def test_a_kill_in_the_middle_of_saving_leaves_a_good_checkpoint(tmp_path):
  like = {"a": jnp.zeros((64, 64), int), "b": jnp.zeros(3, int)}
  command = [sys.executable, "-c", textwrap.dedent(SAVE_FOREVER), str(tmp_path)]
  for saves in (2, 5):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reported = [int(process.stdout.readline()) for _ in range(saves)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    step, state, host = checkpoint.Checkpointer(tmp_path).restore_latest(like)
    assert step >= reported
    assert host == {"step": step}
    assert_equal(state, jax.tree.map(lambda x, step=step: jnp.full_like(x, step), like))
