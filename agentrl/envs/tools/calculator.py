"""A calculator with a grammar of its own: exact, bounded, and nothing is ever evaluated as code.

```
sum    = term (("+" | "-") term)*
term   = signed (("*" | "/" | "//" | "%") signed)*
signed = ("+" | "-") signed | power
power  = atom ("**" signed)?
atom   = number | "(" sum ")"
```

Numbers are written `12`, `1,234`, `3.5`, `.5` or `1.5E-7`. Precedence, `//` and `%` are Python's.
"""

from __future__ import annotations

import dataclasses
import decimal
import re
from fractions import Fraction

from agentrl.envs.numbers import UNSIGNED
from agentrl.envs.schema import ToolArgumentError

MAX_CHARS = 1000  # of an expression
MAX_DEPTH = 40  # of parentheses, signs and powers within each other
MAX_BITS = 4096  # of a numerator or denominator, about 1230 digits
_DECIMALS = 10  # shown of a number that is not whole
_TOKEN = re.compile(rf"\s*({UNSIGNED}|\*\*|//|[-+*/%()])\s*")


class ExpressionError(ToolArgumentError):
  """The expression is not one; the text says where and why."""


class Calculator:
  """Arithmetic as a tool."""

  def calculate(self, expression: str) -> str:
    """Evaluates an arithmetic expression with + - * / // % ** and parentheses.

    Args:
      expression: such as 12*(3+4.5)
    """
    return to_text(evaluate(expression).value)


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """An expression's exact value, and the numbers and binary operators it is written with, in order."""

  value: Fraction
  numbers: tuple[Fraction, ...]
  operators: tuple[str, ...]


def evaluate(expression: str) -> Evaluated:
  """Parses and evaluates in one pass.

  Args:
    expression: at most `MAX_CHARS` characters.

  Raises:
    ExpressionError: not an expression, a division by zero, or beyond the bounds; positions count from 1.
  """
  parser = _Parser(_tokens(expression))
  value = parser.sum()
  if parser.token is not None:
    raise parser.unexpected()
  return Evaluated(value, tuple(parser.numbers), tuple(parser.operators))


def to_text(value: Fraction) -> str:
  """A whole number in full; any other rounded to ten decimals, or to ten significant digits where it is below 1."""
  if value.denominator == 1:
    return str(value.numerator)
  whole = abs(value.numerator) // value.denominator
  with decimal.localcontext(prec=_DECIMALS + (len(str(whole)) if whole else 0)):
    rounded = decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)
  text = f"{rounded:f}" if rounded.adjusted() >= -6 else str(rounded)
  mantissa, mark, exponent = text.partition("E")
  return mantissa.rstrip("0").rstrip(".") + mark + exponent


def _tokens(expression: str) -> list[tuple[str, int]]:
  """Tokens with their positions, which count from 1."""
  if len(expression) > MAX_CHARS:
    raise ExpressionError(f"the expression has {len(expression)} characters; at most {MAX_CHARS} are allowed")
  tokens, start = [], 0
  while start < len(expression):
    match = _TOKEN.match(expression, start)
    if match is None:
      at = start + len(expression[start:]) - len(expression[start:].lstrip())
      if at == len(expression):
        break
      raise ExpressionError(f"unexpected {expression[at]!r} at position {at + 1}; only numbers and + - * / // % ** ( )")
    tokens.append((match.group(1), match.start(1) + 1))
    start = match.end()
  if not tokens:
    raise ExpressionError("the expression is empty")
  return tokens


class _Parser:
  """Recursive descent over tokens; one method per rule of the grammar, each returns a value."""

  def __init__(self, tokens: list[tuple[str, int]]):
    self.numbers: list[Fraction] = []
    self.operators: list[str] = []
    self._tokens = tokens
    self._next = 0
    self._depth = 0

  @property
  def token(self) -> str | None:
    """The next token, None at the end."""
    return self._tokens[self._next][0] if self._next < len(self._tokens) else None

  def unexpected(self) -> ExpressionError:
    """The error of the next token."""
    if self.token is None:
      return ExpressionError("the expression ends too early")
    return ExpressionError(f"unexpected {self.token!r} at position {self._tokens[self._next][1]}")

  def sum(self) -> Fraction:
    value = self._term()
    while self.token in ("+", "-"):
      operator = self._operator()
      value = _apply(operator, value, self._term())
    return value

  def _term(self) -> Fraction:
    value = self._signed()
    while self.token in ("*", "/", "//", "%"):
      operator = self._operator()
      value = _apply(operator, value, self._signed())
    return value

  def _signed(self) -> Fraction:
    self._depth += 1
    if self._depth > MAX_DEPTH:
      raise ExpressionError(f"nested more than {MAX_DEPTH} deep")
    if self.token in ("+", "-"):
      sign = -1 if self._take() == "-" else 1
      value = sign * self._signed()
    else:
      value = self._power()
    self._depth -= 1
    return value

  def _power(self) -> Fraction:
    base = self._atom()
    return _apply(self._operator(), base, self._signed()) if self.token == "**" else base

  def _atom(self) -> Fraction:
    if self.token == "(":
      self._take()
      value = self.sum()
      if self.token != ")":
        raise self.unexpected() if self.token else ExpressionError("a ')' is missing")
      self._take()
      return value
    if self.token is None or self.token[0] not in ".0123456789":
      raise self.unexpected()
    value = Fraction(self._take().replace(",", ""))
    self.numbers.append(value)
    return _bounded(value)

  def _operator(self) -> str:
    operator = self._take()
    self.operators.append(operator)
    return operator

  def _take(self) -> str:
    self._next += 1
    return self._tokens[self._next - 1][0]


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
  if operator == "**":
    return _bounded(_power(left, right))
  if operator in ("/", "//", "%") and right == 0:
    raise ExpressionError("division by zero")
  match operator:
    case "+":
      value = left + right
    case "-":
      value = left - right
    case "*":
      value = left * right
    case "/":
      value = left / right
    case "//":
      value = Fraction(left // right)
    case "%":
      value = left % right
  return _bounded(value)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
  """Refuses what would be too large before computing it."""
  if exponent.denominator != 1:
    raise ExpressionError(f"the exponent {to_text(exponent)} is not a whole number")
  if base == 0 and exponent < 0:
    raise ExpressionError("division by zero")
  bits = max(base.numerator.bit_length(), base.denominator.bit_length())
  if abs(exponent.numerator) * bits > MAX_BITS:
    raise ExpressionError("the result of ** is too large")
  return base**exponent.numerator


def _bounded(value: Fraction) -> Fraction:
  if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
    raise ExpressionError("a number is too large")
  return value
