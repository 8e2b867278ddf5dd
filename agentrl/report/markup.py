"""Values of a run's files as text of a page: whatever stands in them, none of it becomes markup."""

import html
from typing import Any


def text(value: Any) -> str:
  """The value as it prints, for the inside of an element or of a quoted attribute."""
  return html.escape(str(value))
