"""Checkpoints: any pytree of arrays and a small JSON dict per step, through Orbax, whole or not at all.

A leaf is stored under its path in the tree ("params/layers/wq"), so that a checkpoint outlives changes of container
types, other programs can read it, and a part of it can be restored alone. Beside the arrays lies a record: all paths,
shapes and dtypes, so that a checkpoint of another model is named leaf by leaf before anything is read; the SHA-256 of
the bytes of every leaf, compared whenever it is read; and one of the record itself.
"""

import concurrent.futures
import contextlib
import gc
import hashlib
import json
import logging
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from agentrl.training import disk

_T = TypeVar("_T")

NAMED_LEAVES = 8  # how many differing leaves an error lists
HASHING_THREADS = 4  # the interpreter's lock is free while a leaf is hashed
UNREADABLE = "*?[]\\"  # Orbax takes these in a path for a pattern of names, or for a separator
LONGEST_PATH = 3500  # bytes; the system's limit is 4096, and the names inside a checkpoint need some of them


class CheckpointError(RuntimeError):
  """A checkpoint cannot be read, or does not fit; the message says which, where, and what to do."""


class _WithoutSumsError(CheckpointError):
  """The record is that of a version that kept no checksums; nothing says that the checkpoint is damaged."""


class Restored(NamedTuple):
  """What a checkpoint held: `state` has the structure of the `like` it was asked for, `host` is the JSON dict."""

  step: int
  state: Any
  host: dict[str, Any]


def check_path(path: str | os.PathLike) -> None:
  """Refuses a folder in which checkpoints could be written and not read back.

  Raises:
    CheckpointError: says what in its absolute path is in the way.
  """
  given, absolute = os.fspath(path), os.path.abspath(path)
  wrong = next((repr(character) for character in UNREADABLE if character in absolute), None)
  if "://" in given:
    wrong = "'://', as the address of a store has, and only folders of this machine will do"
  elif any(part.endswith(":") for part in absolute.split(os.sep)):
    wrong = "a name that ends in ':', as the address of a store begins"
  elif len(os.fsencode(absolute)) > LONGEST_PATH:
    wrong = f"more than {LONGEST_PATH} bytes"
  elif any("\ud800" <= character <= "\udfff" for character in absolute):
    wrong = "bytes that are no UTF-8"
  if wrong is not None:
    raise CheckpointError(
      f"{given!r}: checkpoints cannot be kept there, since its path has {wrong}: choose another folder"
    )


class Checkpointer:
  """Saves and restores the state of a run.

  A step is written into a temporary folder and renamed when complete; a kill in the middle leaves the previous one.
  Saving returns when the data is on disk.

  Args:
    folder: the run's `checkpoints/`; created if missing.
    keep_last: how many of the newest checkpoints to keep.
    keep_every: also keep every checkpoint whose step is a multiple of this; None keeps no others.
    read_only: changes nothing in the folder, where another process may be saving.

  Raises:
    CheckpointError: checkpoints could not be read back from there; see `check_path`.
  """

  def __init__(
    self, folder: pathlib.Path, *, keep_last: int = 2, keep_every: int | None = None, read_only: bool = False
  ):
    if keep_last < 1:
      raise ValueError(f"keep_last must be at least 1, not {keep_last}")
    check_path(folder)
    self._folder = folder.absolute()
    writing = {"max_to_keep": keep_last, "keep_period": keep_every, "cleanup_tmp_directories": True}
    kept = {"read_only": True, "save_interval_steps": 0, "create": False} if read_only else writing
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, **kept)
    with disk.explain_full_disk(folder), _quiet():
      self._manager = ocp.CheckpointManager(self._folder, options=options)

  @property
  def steps(self) -> list[int]:
    """Steps of the complete checkpoints, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, state: Any, host: Mapping[str, Any]) -> None:
    """Writes one checkpoint, then removes those that are no longer to be kept.

    Args:
      step: number of updates done.
      state: pytree of arrays; typed PRNG keys are welcome.
      host: counters and the like; a dict of JSON values.

    Raises:
      TypeError: a leaf of `state` is not an array.
      DiskFullError: the earlier checkpoints are intact.
      CheckpointError: nothing was written, as where the folder was opened to read.
    """
    leaves = _leaves(state)
    shapes = {path: _spec(leaf) for path, leaf in leaves.items()}
    record = {"host": dict(host), "leaves": shapes, "sha256": _sums(leaves)}
    args = ocp.args.Composite(
      state=ocp.args.PyTreeSave(_nested({path: leaf for path, leaf in leaves.items() if _is_stored(leaf)})),
      host=ocp.args.JsonSave(record | {"seal": _seal(record)}),  # what JSON cannot hold is an error before any writing
    )
    with disk.explain_full_disk(self._folder), _quiet():
      written = self._manager.save(step, args=args)
    if not written:
      raise CheckpointError(f"the checkpoint of step {step} was not written: {self._folder} has those of {self.steps}")

  def restore_latest(self, like: Any) -> Restored | None:
    """The newest checkpoint in the structure, shapes, dtypes and shardings of `like`; None if there is none.

    Raises:
      CheckpointError: it is damaged, or of another shape. An older one is named, never taken unasked.
    """
    return self.restore(self.steps[-1], like) if self.steps else None

  def restore(self, step: int, like: Any, *, prefix: str = "") -> Restored:
    """One checkpoint.

    Args:
      step: one of `steps`.
      like: pytree of arrays or `jax.ShapeDtypeStruct`s: structure, shape, dtype and sharding of the result.
      prefix: path of the subtree that `like` describes, such as "params"; "" is the whole state.

    Raises:
      CheckpointError: as `restore_latest`.
    """
    where = self._folder / str(step)
    if step not in self.steps:
      raise CheckpointError(f"there is no checkpoint of step {step} in {self._folder}; there are {self.steps}")
    wanted = _leaves(like, prefix=prefix)
    record = self._read_record(step)
    _check_same_leaves(record["leaves"], wanted, where, not prefix)
    found = self._readable(step, lambda: self._read_arrays(step, wanted, record["sha256"]))
    state = jax.tree.unflatten(jax.tree.structure(like), [found[path] for path in wanted])
    return Restored(step, state, record["host"])

  def _read_record(self, step: int) -> dict[str, Any]:
    args = ocp.args.Composite(host=ocp.args.JsonRestore())
    return self._readable(step, lambda: _opened(self._manager.restore(step, args=args)["host"]))

  def _read_arrays(self, step: int, wanted: Mapping[str, Any], sums: Mapping[str, str]) -> dict[str, Any]:
    targets = _nested({path: _target(leaf) for path, leaf in wanted.items() if _is_stored(leaf)})
    restore_args = ocp.checkpoint_utils.construct_restore_args(targets)
    args = ocp.args.PyTreeRestore(targets, restore_args=restore_args, partial_restore=True)
    found = _leaves(self._manager.restore(step, args=ocp.args.Composite(state=args))["state"])
    _check_sums(found, sums)
    empty = {path: np.zeros(leaf.shape, leaf.dtype) for path, leaf in wanted.items() if not _is_stored(leaf)}
    return found | empty

  def _readable(self, step: int, read: Callable[[], _T]) -> _T:
    """What `read` gives, or an error that says which checkpoint cannot be read and which older one can."""
    with _quiet():
      try:
        return read()
      except _WithoutSumsError:
        raise CheckpointError(
          f"checkpoint {self._folder / str(step)} has no checksums, by which this version of agentrl tells that it is "
          "whole: an older version saved it, and can read it. Go on with that one, or start a new run in another folder"
        ) from None
      except Exception as error:
        ours = "" if isinstance(error, CheckpointError) else f"{type(error).__name__}: "
        reason = f"{ours}{str(error).strip()[:300]}"
      gc.collect()  # Orbax's unfinished reads complain when collected: here, where nobody hears them
      folder = self._folder / str(step)
      earlier = next((s for s in reversed(self.steps) if s < step and self._is_good(s)), None)
      advice = f"The one of step {earlier} is good: to go on from it, remove the folder {folder}"
      if earlier is None:
        advice = f"No earlier one is good: to start over, remove the folder {self._folder}"
      gc.collect()
      raise CheckpointError(f"checkpoint {folder} cannot be read: {reason}\n{advice}")

  def _is_good(self, step: int) -> bool:
    args = ocp.args.Composite(state=ocp.args.PyTreeRestore(), host=ocp.args.JsonRestore())
    try:
      found = self._manager.restore(step, args=args)
      _check_sums(_leaves(found["state"]), _opened(found["host"])["sha256"])
    except Exception:  # whatever it is, this checkpoint is not one to recommend
      return False
    return True


# ---- sums -------------------------------------------------------------------------------------------------------


def _sums(leaves: Mapping[str, Any]) -> dict[str, str]:
  """SHA-256 of the bytes of every leaf that has elements, by path."""
  stored = {path: leaf for path, leaf in leaves.items() if _is_stored(leaf)}
  with concurrent.futures.ThreadPoolExecutor(HASHING_THREADS) as threads:
    return dict(zip(stored, threads.map(_sum, stored.values()), strict=True))


def _sum(leaf: Any) -> str:
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.random.key_data(leaf)
  return hashlib.sha256(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)).hexdigest()


def _check_sums(found: Mapping[str, Any], sums: Mapping[str, str]) -> None:
  wrong = [path for path, value in _sums(found).items() if sums[path] != value]
  if wrong:
    raise CheckpointError(f"leaves that are not as they were saved: {len(wrong)}, the first is {wrong[0]!r}")


def _seal(record: Mapping[str, Any]) -> str:
  """SHA-256 of the record as JSON."""
  return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _opened(sealed: Mapping[str, Any]) -> dict[str, Any]:
  """The record, where it is as it was saved."""
  record = dict(sealed)
  if not record.keys() & {"seal", "sha256"}:
    raise _WithoutSumsError
  if record.pop("seal", None) != _seal(record):
    raise CheckpointError("its record is not as it was saved")
  return record


# ---- trees ------------------------------------------------------------------------------------------------------


def _leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
  """Leaves by path, in flattening order."""
  leaves = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    name = "/".join(part for part in (prefix, name) if part)
    if not isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
      raise TypeError(f"state leaf {name!r} is a {type(leaf).__name__}, not an array; host values go into `host`")
    if name in leaves:
      raise ValueError(f"two leaves of the state have the path {name!r}; rename one")
    leaves[name] = leaf
  return leaves


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """`{"a/b": x}` -> `{"a": {"b": x}}`."""
  tree = {}
  for path, leaf in leaves.items():
    *parents, name = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return tree


def _is_stored(leaf: Any) -> bool:
  """Arrays without elements are not written (Orbax refuses them); their shape is in the record."""
  return math.prod(leaf.shape) > 0


def _target(leaf: Any) -> Any:
  """What Orbax should make of a leaf: NumPy for NumPy, else a `jax.Array` in the leaf's sharding."""
  if isinstance(leaf, np.ndarray):
    return leaf
  sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _spec(leaf: Any) -> str:
  return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _check_same_leaves(saved: Mapping[str, str], wanted: Mapping[str, Any], where: pathlib.Path, whole: bool) -> None:
  expected = {path: _spec(leaf) for path, leaf in wanted.items()}
  paths = list(expected) + [path for path in saved if whole and path not in expected]
  wrong = [path for path in paths if saved.get(path) != expected.get(path)]
  if not wrong:
    return
  lines = [
    f"  {p}: saved {saved.get(p, 'nothing')}, expected {expected.get(p, 'nothing')}" for p in wrong[:NAMED_LEAVES]
  ]
  if len(wrong) > NAMED_LEAVES:
    lines.append(f"  and {len(wrong) - NAMED_LEAVES} more")
  raise CheckpointError(
    f"checkpoint {where} does not fit: {len(wrong)} of {len(paths)} leaves differ\n" + "\n".join(lines) + "\n"
    "Give the model and optimizer settings it was saved with, or choose another folder"
  )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps what Orbax and asyncio print out of the terminal: what fails in them is raised, and told by us."""
  verbosity, asyncio_log = absl_logging.get_verbosity(), logging.getLogger("asyncio")
  absl_logging.set_verbosity(absl_logging.FATAL)
  asyncio_log.disabled = True
  try:
    with warnings.catch_warnings():
      warnings.filterwarnings("ignore", "Sharding info not provided")
      warnings.filterwarnings("ignore", "coroutine .* was never awaited")
      yield
  finally:
    absl_logging.set_verbosity(verbosity)
    asyncio_log.disabled = False
