"""The page of a search tree: everything in it is shown, and nothing in it is markup."""

from html.parser import HTMLParser

import pytest

from agentrl.report import tree_page


def node(i, parent, text, **changes):
  return {
    "id": i, "parent": parent, "text": text, "answer": "", "tokens": 2, "given": 0, "prior": 0.5, "visits": 1,
    "q": 0.25, "value": 0.25, "terminal": False, "barred": False, "chosen": False,
  } | changes  # fmt: skip


RECORD = {
  "task": "countdown-train-1-0",
  "question": "3, 4 -> 12 <b>",
  "uid": 7,
  "reward": 1.0,
  "nodes": [
    node(0, None, "prompt", visits=4, tokens=0, given=6),
    node(1, 0, "3+4=7\n", visits=1),
    node(2, 0, "3*4=12<script>", visits=2, q=1.0, value=1.0, terminal=True, chosen=True, answer="ok & done"),
    node(3, 0, "lost", visits=0, value=None, barred=True),
    node(4, 1, "never", visits=0, value=None),
  ],
}


class Balance(HTMLParser):
  """Every tag that opens closes; collects what can be read."""

  def __init__(self):
    super().__init__()
    self.open, self.text = [], ""

  def handle_starttag(self, tag, attrs):
    if tag != "meta":
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def read(text):
  parser = Balance()
  parser.feed(text)
  assert parser.open == []
  return parser.text


def test_every_node_is_shown_with_its_numbers():
  text = read(tree_page.page(RECORD))
  for found in RECORD["nodes"]:
    assert found["text"] in text
  assert "N 2, Q 1.000, P 0.50, reward 1.000" in text and "N 0, P 0.50, environment failed" in text
  assert "ok & done" in text and "5 nodes, 3 of them visited, 1 ends, 14 tokens" in text
  assert text.index("3*4=12") < text.index("3+4=7")  # most visited first


def test_text_is_never_markup_and_the_path_stands_out():
  source = tree_page.page(RECORD)
  assert "<script" not in source and "<b>" not in source
  assert source.count('class="leaf chosen"') == 1


def test_a_tree_whose_environment_failed_says_so():
  assert "none: the environment failed" in read(tree_page.page(RECORD | {"reward": None}))


def test_children_stand_side_by_side():
  nodes = {n["id"]: n for n in RECORD["nodes"]}
  places = tree_page._places(nodes, tree_page._children(RECORD["nodes"]))
  assert len(set(places.values())) == len(nodes)
  # Children most visited first: 2, then 1 above its own child 4, then 3.
  assert places == {2: (1.0, -1.0), 4: (2.0, -2.0), 1: (2.0, -1.0), 3: (3.0, -1.0), 0: (pytest.approx(2.0), 0.0)}
