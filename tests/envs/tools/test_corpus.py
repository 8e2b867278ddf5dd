"""Corpora: folders, files and packages of texts, read once."""

import json
import threading

import pytest

from agentrl.envs.tools import corpus as corpora
from agentrl.envs.tools.corpus import Corpus, Document, open_corpus
from agentrl.envs.tools.search import SearchLimits, SearchTool
from agentrl.types import Task

DOCUMENTS = [
  Document("1", "Apple", "A fruit that grows on trees. " * 100 + "The end."),
  Document("2", "Tree", "A tall plant. Apples and pears grow on trees."),
  Document("3", "Pear", "A fruit. Its trees are old."),
  Document("4", "Stone", "Hard, and no plant at all."),
]


@pytest.fixture
def tool():
  return SearchTool(Corpus(DOCUMENTS), SearchLimits(hits=2, page_chars=200))


def test_many_threads_share_one_corpus(tool):
  expected, told = tool.search("trees"), []
  threads = [threading.Thread(target=lambda: told.extend(tool.search("trees") for _ in range(50))) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  assert told == [expected] * 400


def test_a_folder_of_texts_is_a_corpus_read_once(tmp_path):
  (tmp_path / "one.txt").write_text("plain words")
  (tmp_path / "sub").mkdir()
  (tmp_path / "sub" / "two.md").write_text("# Heading two\n\nmarked words")
  lines = [{"title": "Three", "text": "line words"}, {"id": "x7", "title": "Four", "text": "more words"}]
  (tmp_path / "many.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines))
  (tmp_path / "left.out").write_text("no words")
  found = open_corpus(str(tmp_path))
  assert [(d.id, d.title) for d in found.documents] == [
    ("many.jsonl:1", "Three"), ("x7", "Four"), ("one.txt", "one"), ("sub/two.md", "Heading two"),
  ]  # fmt: skip
  assert open_corpus(str(tmp_path)) is found
  tool = SearchTool()
  tool.reset(Task("t", "test", "?", data={"corpus": str(tmp_path)}), 0)
  assert tool.search("marked").startswith("[sub/two.md] Heading two: ")
  assert tool.read("x7") == "Four\nmore words"


@pytest.mark.parametrize("char", "\u2028\u2029\x85\x0b\x0c\x1c\x1e")
def test_only_a_line_feed_ends_a_line(tmp_path, char):
  lines = [json.dumps({"title": "t", "text": f"one{char}two {n}"}, ensure_ascii=False) for n in range(2)]
  (tmp_path / "notes.jsonl").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
  shown = json.loads(lines[0])["text"]
  assert [document.text for document in open_corpus(str(tmp_path)).documents] == [shown, f"one{char}two 1"]


def test_a_file_in_another_encoding_is_named(tmp_path):
  (tmp_path / "menu.txt").write_bytes("caf\u00e9".encode("latin-1"))
  with pytest.raises(ValueError, match=r"menu\.txt is not UTF-8: byte 0xe9 at 3; save it as UTF-8"):
    open_corpus(str(tmp_path))


def test_wrong_corpora_are_clear_errors(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no corpus is called '.*none'"):
    open_corpus(str(tmp_path / "none"))
  with pytest.raises(ValueError, match=r"has no \.txt, \.md, \.jsonl files"):
    open_corpus(str(tmp_path))
  for line in (
    '{"title": "a"}',
    '{"title": "a", "text": null}',
    '{"title": "a", "text": "\\ud800"}',
    '["title", "text"]',
  ):
    (tmp_path / "bad.jsonl").write_text('{"title": "a", "text": "b"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r'bad\.jsonl, line 2: a line is \{"title"'):
      open_corpus(str(tmp_path))
  with pytest.raises(ValueError, match="documents with different ids; two are called '1'"):
    Corpus([DOCUMENTS[0], DOCUMENTS[0]])
  with pytest.raises(ValueError, match="needs a task that names a corpus, such as multihop's; t has none"):
    SearchTool().reset(Task("t", "test", "?"), 0)
  with pytest.raises(RuntimeError, match="call reset"):
    SearchTool().search("x")


def test_a_missing_package_is_named(monkeypatch):
  def missing(package):
    raise ModuleNotFoundError("none", name=package)

  monkeypatch.setattr(corpora, "folder_of", missing)
  with pytest.raises(ModuleNotFoundError, match=r"pip install 'agentrl\[search\]', or in a clone pip install -e '"):
    corpora._articles()
