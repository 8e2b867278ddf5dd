"""Whatever stands in the files of a run folder: none of it becomes markup or a formula, and damage is one message."""

import copy
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from agentrl.report import arms, curves, page, source, tree_page, write_report
from agentrl.report.__main__ import main
from agentrl.report.markup import text
from tests.report.test_tree_page import RECORD

HOSTILE = """"'><script>alert(1)</script><img src=x onerror=alert(1)>"""
FORMULA = r"costs $\frac{x or $5"


def test_any_value_is_text():
  assert text(HOSTILE) == "&quot;&#x27;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"
  assert (text(3), text(None), text(["<"])) == ("3", "None", "[&#x27;&lt;&#x27;]")


class Outline(HTMLParser):
  """Which tags a page has, and which attributes they have; ids, labels and styles aside."""

  def __init__(self, document):
    super().__init__()
    self.found = set()
    self.feed(document)

  def handle_starttag(self, tag, attrs):
    self.found.add((tag, tuple(name for name, _ in attrs)))


def variants(value):
  """Copies of a JSON value, each with one leaf or one key of it hostile."""
  if isinstance(value, dict):
    for key, inner in value.items():
      yield {HOSTILE if k == key else k: v for k, v in value.items()}
      yield from ({**value, key: changed} for changed in variants(inner))
  elif isinstance(value, list):
    for i, inner in enumerate(value):
      yield from ([*value[:i], changed, *value[i + 1 :]] for changed in variants(inner))
  else:
    yield HOSTILE


@pytest.fixture
def run(run_path):
  """The recorded run of conftest.py with a search, and one task in each evaluation."""
  (run_path / "trees").mkdir()
  (run_path / "trees" / "train_000005_7.json").write_text(json.dumps(RECORD))
  for step in (0, 2, 5):
    file = run_path / "trajectories" / f"eval_{step:06d}.jsonl.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).splitlines(keepends=True)[0]))
  return run_path


def outline(path):
  """Of the whole report, without drawing its curves."""
  loaded = source.load(path)
  trees = [tree_page.write_beside(file) for file in loaded.trees]
  found = Outline(page.page(loaded, b"", trees)).found
  return found.union(*(Outline(tree.path.read_text()).found for tree in trees))


@pytest.mark.parametrize(
  "name", ["config.json", "run.json", "metrics.jsonl", "trajectories/eval_000005.jsonl.gz", "trees/train_000005_7.json"]
)
def test_a_hostile_string_in_any_place_of_a_file_is_text_or_an_error_that_names_it(run, name):
  wanted, file = outline(run), run / name
  pack = gzip.compress if name.endswith(".gz") else bytes
  unpack = gzip.decompress if name.endswith(".gz") else bytes
  *others, last = unpack(file.read_bytes()).splitlines(keepends=True) if ".jsonl" in name else [file.read_bytes()]
  shown = 0
  for changed in variants(json.loads(last)):
    file.write_bytes(pack(b"".join(others) + json.dumps(changed).encode() + b"\n"))
    try:
      found = outline(run)
    except ValueError as error:
      assert re.search(rf"{name.split('/')[0]}.* is damaged", str(error))
    else:
      assert {tag for tag in found if tag not in wanted} <= {("span", ("class",))}  # "no reward" has one of its own
      shown += 1
  assert shown >= 2


def hostile_strings(value):
  if isinstance(value, dict):
    return {key: hostile_strings(inner) for key, inner in value.items()}
  if isinstance(value, list):
    return [hostile_strings(inner) for inner in value]
  return value + HOSTILE + FORMULA + "\ud800" if isinstance(value, str) else value


def test_a_run_whose_every_string_is_hostile_has_a_report(run):
  wanted = outline(run)
  for file in [*run.glob("*.json"), *run.glob("trees/*.json")]:
    file.write_text(json.dumps(hostile_strings(json.loads(file.read_bytes()))))
  for file in run.glob("trajectories/*"):
    file.write_bytes(
      gzip.compress(json.dumps(hostile_strings(json.loads(gzip.decompress(file.read_bytes())))).encode())
    )
  lines = [{**json.loads(line), f"reward/{FORMULA}": 0.5} for line in (run / "metrics.jsonl").read_text().splitlines()]
  (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  assert Outline(write_report(run).read_text()).found <= wanted | {("span", ("class", "style", "data-t"))}


def test_a_dollar_sign_begins_no_formula_in_a_picture(tmp_path):
  record = copy.deepcopy(RECORD) | {"question": FORMULA}
  tree_page.picture(record, tmp_path / "tree.png")
  curve = arms.Curve(np.asarray([1.0, 2.0]), np.asarray([0.0, 1.0]))
  labels = {"cost_label": FORMULA, "value_label": FORMULA, "references": {FORMULA: 0.5}}
  arms.save_arms(tmp_path / "arms.png", {FORMULA: [curve]}, **labels)


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("config.json", b"{"),
    ("config.json", b"[]"),
    ("config.json", b'{"cold_start": {"steps": "2"}}'),
    ("run.json", b"\xff\x00"),
    ("run.json", b'{"starts": []}'),
    ("run.json", b'{"starts": [{}]}'),
    ("metrics.jsonl", b'{"step": 1}\n'),
    ("metrics.jsonl", b'{"step": 1, "wall_s": 1, "train/reward": 1e999}\n'),
    ("metrics.jsonl", b"\xff\n"),
    ("trajectories/eval_000005.jsonl.gz", b"no gzip"),
    ("trajectories/eval_000005.jsonl.gz", gzip.compress(b'{"task_id": "task-0"}\n', mtime=0)),
    ("trajectories/eval_000005.jsonl.gz", gzip.compress(b"x" * 99, mtime=0)[:-9]),
    ("trees/train_000005_7.json", b'{"nodes": []}'),
    (
      "trees/train_000005_7.json",
      json.dumps(RECORD | {"nodes": RECORD["nodes"][:1] * 2}).replace("null", "0").encode(),
    ),
  ],
)
def test_a_damaged_file_ends_the_command_with_its_name(run, name, content, capsys, monkeypatch):
  monkeypatch.setattr(curves, "draw", lambda lines, path, **_: path.write_bytes(b""))
  (run / name).write_bytes(content)
  assert main([str(run)]) == 1
  error = capsys.readouterr().err
  assert name.split("/")[0] in error and "is damaged" in error and "Traceback" not in error


def test_an_error_in_drawing_is_no_damage_of_a_file(run, monkeypatch):
  def broken(*_):
    raise KeyError("a mistake of the report")

  for module, name in ((page.viewer, "trajectory"), (page, "_cards"), (tree_page, "_numbers")):
    with monkeypatch.context() as patch, pytest.raises(KeyError, match="a mistake of the report"):
      patch.setattr(module, name, broken)
      outline(run)


def test_files_of_other_names_are_left_alone(run):
  (run / "trees" / "notes.json").write_text("mine")
  (run / "trajectories" / "eval_best.jsonl.gz").write_text("mine")
  assert [file.name for file in source.load(run).trees] == ["train_000005_7.json"]
