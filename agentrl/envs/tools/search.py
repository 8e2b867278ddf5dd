"""Search as a tool: `search` finds documents of a corpus, `read` shows one."""

from __future__ import annotations

import dataclasses

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset, check_positive
from agentrl.envs.tools.corpus import Corpus, open_corpus
from agentrl.envs.tools.paging import page
from agentrl.types import Task


@dataclasses.dataclass(frozen=True)
class SearchLimits:
  """Of what one call shows.

  Attributes:
    hits: of one search.
    snippet_words: of each.
    page_chars: of a document.
  """

  hits: int = 5
  snippet_words: int = 24
  page_chars: int = 1600

  def __post_init__(self):
    check_positive(self)


class SearchTool(Toolset):
  """The tools `search` and `read`. Trajectories share the corpus, which nothing changes.

  Args:
    corpus: what is searched; None for the one that the task names in its `data["corpus"]`, see `open_corpus`.
    limits: of what one call shows.
  """

  def __init__(self, corpus: Corpus | None = None, limits: SearchLimits | None = None):
    self._given = corpus
    self._corpus = corpus
    self._limits = SearchLimits() if limits is None else limits

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's corpus; not a tool.

    Raises:
      ValueError: the task names none, and the tool was given none.
    """
    del seed
    if self._given is None:
      if "corpus" not in task.data:
        raise ValueError(f"the tool 'search' needs a task that names a corpus, such as multihop's; {task.id} has none")
      self._corpus = open_corpus(task.data["corpus"])

  def search(self, query: str, page: int = 1) -> str:
    """Searches the documents for words; returns the name in [brackets], the title and the best part of each.

    Args:
      query: a few words, or "words in quotes" that stand together.
      page: 2 and more for those that fit less.
    """
    if not 1 <= page <= 100:
      raise ToolArgumentError(f"page must be between 1 and 100, got {page}")
    skip = (page - 1) * self._limits.hits
    hits = self._open().search(query, self._limits.hits + 1, skip=skip, snippet_words=self._limits.snippet_words)
    if not hits:
      return "[no document has any of these words]" if page == 1 else "[no more documents]"
    lines = [f"[{hit.document.id}] {hit.document.title}: {hit.snippet}" for hit in hits[: self._limits.hits]]
    if len(hits) > self._limits.hits:
      lines.append(f"[there are more: page={page + 1}]")
    return "\n".join(lines)

  def read(self, document: str, start: int = 0) -> str:
    """Shows a document, a page at a time.

    Args:
      document: what `search` shows in [brackets], such as 12 or notes.md, or its whole title.
      start: number of characters to skip.
    """
    found = self._open().get(document.strip().removeprefix("[").removesuffix("]"))
    if found is None:
      raise ToolArgumentError(f"there is no document {document[:60]!r}; search for it first")
    return page(f"{found.title}\n{found.text}", start, self._limits.page_chars)

  def _open(self) -> Corpus:
    if self._corpus is None:
      raise RuntimeError("no corpus is open: call reset(task, seed) first")
    return self._corpus
