"""Value-guided sparse rollouts: a few next steps are sampled, the value head says which is the best, and it is taken.

A method of acting, to be compared with plain samples and with search: `width` leaves at every state of one path, and no
reward is looked at. A leaf's value is read behind its step, or behind the environment's answer where the step ends a
turn. Behind the last step of a path there is no state that a value head learned from, which are those in front of
sampled tokens: there it is read in front of the step's last token. Reading costs one sampled token, which is dropped.
"""

from __future__ import annotations

import functools

from agentrl.rollout.search import tree
from agentrl.rollout.search.planner import Planner, Step, step_uid
from agentrl.rollout.search.tree import Node
from agentrl.rollout.slots import Job, Prefix

READING = -2  # index of the token that is sampled where a value is read, in place of a child's


class ValueGuided(Planner):
  """Grows a path. It reads `width`, `depth`, `step_tokens` and `step_end` of the config; the prior is but recorded."""

  def _pump(self) -> None:
    """Samples the next steps at the end of the path."""
    found: dict[int, Step] = {}
    for k in range(self._config.width):
      self._sample(self._root, k, self._step_end(self._root), functools.partial(self._sampled, self._root, found, k))

  def _sampled(self, node: Node, found: dict[int, Step], k: int, job: Job) -> None:
    self._add(found, k, self._step(node, job))
    if k == 0 and node.value is None:  # the prompt; others have been read
      node.value = job.value
    if len(found) == self._config.width:
      self._expand(node, node.value, found)
      waiting = set(node.children)
      for child in node.children:
        self._look(child, waiting)

  def _look(self, child: Node, waiting: set[Node]) -> None:
    """Finds a leaf's value; the last one of its siblings to have one lets the path go on."""
    step = child.step

    def ended(reward: float | None) -> None:
      if reward is None:
        tree.bar(child)
        self._looked(child, waiting)
        return
      child.terminal = True
      self._read(child, self._slots.extended(child.parent.step.prefix, step.tokens[:-1]), waiting)

    if step.over:
      self._ask_environment(child, lambda: self._read(child, step.prefix, waiting), ended)
    else:
      self._read(child, step.prefix, waiting)

  def _read(self, child: Node, prefix: Prefix, waiting: set[Node]) -> None:
    """Reads the value head behind a prefix."""

    def read(job: Job) -> None:
      child.value = job.value
      tree.start(child, self.prompt_node)
      tree.backup(child, self.prompt_node, job.value)
      self._looked(child, waiting)

    uid = step_uid(self.request.uid, [*(n.index for n in child.path()), READING])
    self._slots.submit(Job(prefix, uid, prefix.end + 1, self.request.temperature, lambda tokens, seen: 1, read))

  def _looked(self, child: Node, waiting: set[Node]) -> None:
    waiting.remove(child)
    if not waiting:
      self._take(child.parent)

  def _take(self, node: Node) -> None:
    """Goes to the best leaf; where the environment failed at every one, to the next best of the step before."""
    while node.barred and self.chosen:
      node = self.chosen.pop().parent
    if node.barred:
      self._finish(self._failed_trajectory())
      return
    best = max(node.choices(), key=lambda child: (child.value, -child.index))
    for child in node.children:
      if child is not best:
        self._slots.close(child.step.prefix)
    self.chosen.append(best)
    self._root = best
    if best.terminal:
      self._finish(best.step.trajectory)
    else:
      self._pump()
