"""A curriculum: a task that nobody solved is asked once more at once."""

from agentrl.training.curriculum import Curriculum


def stubborn():
  """New tasks, one after another, behind those of the last call that no sample solved."""

  def ask(state, outcomes, count):
    again = [o.index for o in outcomes if not any(o.successes) and not o.left_out and o.index not in state["again"]]
    again = again[:count]
    first, new = state["next"], count - len(again)
    return {"next": first + new, "again": again}, [*again, *range(first, first + new)]

  return Curriculum(lambda first, seed, look: {"next": first, "again": []}, ask)
