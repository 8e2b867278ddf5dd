"""Checkpoints come back exactly, or say what is wrong with them."""

import json
import os
import pathlib
import shutil
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


def test_a_reader_leaves_alone_what_another_process_is_saving(tmp_path):
  checkpoint.Checkpointer(tmp_path).save(1, {"w": jnp.arange(3.0)}, {})
  unfinished = tmp_path / "2.orbax-checkpoint-tmp"
  unfinished.mkdir()
  reader = checkpoint.Checkpointer(tmp_path, read_only=True)
  assert reader.steps == [1] and reader.restore_latest({"w": jnp.zeros(3)}).step == 1
  with pytest.raises(checkpoint.CheckpointError, match=r"step 3 was not written: .* has those of \[1\]"):
    reader.save(3, {"w": jnp.zeros(3)}, {})
  assert unfinished.is_dir()
  checkpoint.Checkpointer(tmp_path).save(2, {"w": jnp.zeros(3)}, {})  # the run itself, started again
  assert not unfinished.exists()


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


def flip_a_bit(file: pathlib.Path, position: float):
  data = bytearray(file.read_bytes())
  data[int(position * (len(data) - 1))] ^= 1 << 4
  file.write_bytes(data)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_anywhere_in_the_weights_or_the_record_is_found(tmp_path):
  state = {"w": jax.random.normal(jax.random.key(0), (32, 32)), "key": jax.random.key(5)}
  checkpoint.Checkpointer(tmp_path / "whole").save(1, state, {"next_group": 7, "before": {"eval/success": 0.25}})
  weights = max((tmp_path / "whole" / "1" / "state").rglob("d/*"), key=lambda file: file.stat().st_size)
  record = tmp_path / "whole" / "1" / "host" / "metadata"
  for number, (file, position) in enumerate([(weights, 0.3), (weights, 0.6), (weights, 0.9), (record, 0.1)]):
    folder = tmp_path / str(number)
    shutil.copytree(tmp_path / "whole", folder)
    flip_a_bit(folder / file.relative_to(tmp_path / "whole"), position)
    with pytest.raises(checkpoint.CheckpointError, match="cannot be read"):
      checkpoint.Checkpointer(folder).restore_latest(state)


def test_other_numbers_in_the_record_are_found(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  for step in (1, 2):
    saver.save(step, {"w": jnp.ones(2)}, {"next_group": 16})
  record = tmp_path / "2" / "host" / "metadata"
  record.write_text(record.read_text().replace("16", "17"))
  with pytest.raises(checkpoint.CheckpointError, match=r"its record is not as it was saved\n.*step 1 is good"):
    checkpoint.Checkpointer(tmp_path).restore_latest({"w": jnp.ones(2)})


def test_other_weights_are_found_by_their_leaf(tmp_path):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, {"a": jnp.ones(2), "w": jnp.ones(2)}, {})
  saver.save(2, {"a": jnp.ones(2), "w": jnp.full(2, 3.0)}, {})
  shutil.rmtree(tmp_path / "2" / "state")
  shutil.copytree(tmp_path / "1" / "state", tmp_path / "2" / "state")
  with pytest.raises(
    checkpoint.CheckpointError,
    match=r"cannot be read: leaves that are not as they were saved: 1, the first is 'w'\n.*step 1",
  ):
    checkpoint.Checkpointer(tmp_path).restore_latest({"a": jnp.ones(2), "w": jnp.ones(2)})


@pytest.mark.parametrize(
  ("lost", "told"),
  [
    ({"seal", "sha256"}, "has no checksums, .* an older version saved it, and can read it"),
    ({"seal"}, r"its record is not as it was saved\n.*remove the folder"),
  ],
)
def test_a_checkpoint_without_sums_is_not_trusted_and_an_older_one_is_not_to_be_removed(tmp_path, lost, told):
  saver = checkpoint.Checkpointer(tmp_path)
  saver.save(1, {"w": jnp.ones(2)}, {})
  record = tmp_path / "1" / "host" / "metadata"
  record.write_text(
    json.dumps({name: value for name, value in json.loads(record.read_text()).items() if name not in lost})
  )
  with pytest.raises(checkpoint.CheckpointError, match=told) as error:
    checkpoint.Checkpointer(tmp_path).restore_latest({"w": jnp.ones(2)})
  assert ("remove" in str(error.value)) == ("sha256" not in lost)


@pytest.mark.parametrize(
  "name", ["a b", "50% off", "ü 漢字", "a#b&c=d", "{x},y;z", "x" * 200, "~", "-r", "tmp.orbax-checkpoint-tmp"]
)
def test_under_an_odd_name_a_checkpoint_comes_back(tmp_path, name):
  checkpoint.Checkpointer(tmp_path / name).save(1, {"w": jnp.arange(3.0)}, {"n": 1})
  restored = checkpoint.Checkpointer(tmp_path / name).restore_latest({"w": jnp.zeros(3)})
  np.testing.assert_array_equal(restored.state["w"], np.arange(3.0))


def test_a_relative_path_and_a_link_lead_to_the_same_checkpoint(tmp_path, monkeypatch):
  (tmp_path / "real").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "real")
  monkeypatch.chdir(tmp_path)
  checkpoint.Checkpointer(pathlib.Path("link/run")).save(1, {"w": jnp.arange(3.0)}, {})
  assert checkpoint.Checkpointer(tmp_path / "real" / "run").steps == [1]
  assert checkpoint.Checkpointer(pathlib.Path("link/../real/run")).restore_latest({"w": jnp.zeros(3)}).step == 1


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("[x]", r"has '\['"),
    ("a\\b", "has '"),
    ("a*", r"has '\*'"),
    ("a?", r"has '\?'"),
    ("gs://bucket/run", "the address of a store"),
    ("gs:/bucket/run", "its path has a name that ends in ':', as the address of a store begins: choose"),
    ("a\udcffb", "bytes that are no UTF-8"),
    ("/".join(["y" * 200] * 18), "more than 3500 bytes"),
  ],
)
def test_a_path_that_could_not_be_read_back_is_refused_before_anything_is_written(tmp_path, monkeypatch, name, words):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(checkpoint.CheckpointError, match=words):
    checkpoint.check_path(name)
  with pytest.raises(checkpoint.CheckpointError, match="choose another folder"):
    checkpoint.Checkpointer(pathlib.Path(name))
  assert not any(tmp_path.iterdir())


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
