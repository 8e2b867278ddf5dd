import contextlib
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs.tool import tools_of
from agentrl.envs.tools.calculator import MAX_CHARS, Calculator, ExpressionError, evaluate, to_text

calculate = Calculator().calculate


@pytest.mark.parametrize(
  ("expression", "text"),
  [
    ("47*36", "1692"),
    ("2+3*4", "14"),
    ("(2+3)*4", "20"),
    ("10-4-3", "3"),  # from the left
    ("2**3**2", "512"),  # from the right: 2**9
    ("-2**2", "-4"),  # the sign binds less than the power
    ("2**-1", "0.5"),
    ("-7//2", "-4"),  # rounds down
    ("-7%3", "2"),  # takes the sign of the right
    ("7.5//2", "3"),
    ("--3", "3"),
    ("0.1+0.2", "0.3"),  # exact, unlike floats
    ("1/3", "0.3333333333"),
    ("200/3", "66.6666666667"),
    ("1/3*3", "1"),
    ("6/2", "3"),
    ("1,234,567+1", "1234568"),
    (".5 + 5.", "5.5"),
    ("12345678901234.5+0", "12345678901234.5"),
    ("1/3/10**20", "3.333333333E-21"),
    ("  1\t+\n2 ", "3"),
    ("2**200", str(2**200)),
    ("1.5E-7*2", "3E-7"),  # as it shows small numbers itself
    ("2e3-1", "1999"),
  ],
)
def test_values(expression, text):
  assert calculate(expression) == text


@pytest.mark.parametrize(
  ("expression", "words"),
  [
    ("", "the expression is empty"),
    (" ", "the expression is empty"),
    ("1+)", "unexpected ')' at position 3"),
    ("1 2", "unexpected '2' at position 3"),
    ("1+", "ends too early"),
    ("(1+2", "a ')' is missing"),
    ("(1 2)", "unexpected '2' at position 4"),
    ("2*x", "unexpected 'x' at position 3"),
    ("1234,567", "unexpected ',' at position 5"),
    ("__import__('os')", "unexpected '_' at position 1"),
    ("1/0", "division by zero"),
    ("1//(2-2)", "division by zero"),
    ("1%0", "division by zero"),
    ("0**-1", "division by zero"),
    ("2**0.5", "the exponent 0.5 is not a whole number"),
    ("9**99999", "too large"),
    ("9**9**9**9", "too large"),
    ("(" * 60, "nested more than 40 deep"),
    ("-" * 60 + "1", "nested more than 40 deep"),
    ("1" * (MAX_CHARS + 1), "has 1001 characters; at most 1000"),
    ("\N{ARABIC-INDIC DIGIT ONE}+1", "at position 1"),
  ],
)
def test_errors_say_where_and_why(expression, words):
  with pytest.raises(ExpressionError) as told:
    calculate(expression)
  assert words in str(told.value)


@pytest.mark.parametrize(
  "expression",
  ["9**999", "*".join(["9**99"] * 140), "1/" * 400 + "7", "(" * 30 + "9" * 900 + ")" * 30, "2**" * 300 + "2"],
)
def test_worst_cases_end(expression):
  """Each of these would run for ages if sizes were not bounded before anything is computed."""
  with contextlib.suppress(ExpressionError):
    calculate(expression)


def random_expression(rng, depth):
  """An expression, and its value by `fractions` alone."""
  if depth == 0 or rng.random() < 0.2:
    number = rng.choice([rng.randrange(100), rng.randrange(100) / 4])
    return str(number), Fraction(number)
  left, a = random_expression(rng, depth - 1)
  right, b = random_expression(rng, depth - 1)
  operator = rng.choice(["+", "-", "*", "/", "//", "%"] if b else ["+", "-", "*"])
  value = {"+": a + b, "-": a - b, "*": a * b}[operator] if operator in "+-*" else _divide(operator, a, b)
  return f"({left}){operator}({right})", value


def _divide(operator, a, b):
  return {"/": a / b, "//": Fraction(a // b), "%": a % b}[operator]


@given(st.integers(0, 10**9))
def test_agrees_with_fractions(seed):
  expression, value = random_expression(random.Random(seed), 4)
  assert evaluate(expression).value == value


@given(st.integers(0, 10**9))
def test_precedence_agrees_with_python(seed):
  rng = random.Random(seed)
  tokens = [str(rng.randrange(1, 9))]
  for _ in range(rng.randrange(1, 8)):
    tokens += [rng.choice(["+", "-", "*", "//", "%", "+-", "*-"]), str(rng.randrange(1, 9))]
  expression = "".join(tokens)
  assert evaluate(expression).value == eval(expression)


@given(st.text("0123456789.,+-*/%() ax", max_size=30))
def test_any_text_is_a_value_or_an_expression_error(text):
  with contextlib.suppress(ExpressionError):
    calculate(text)


@given(st.fractions(max_denominator=10**6))
def test_text_is_within_ten_decimals(value):
  assert abs(Fraction(to_text(value)) - value) <= Fraction(1, 10**10)


def test_numbers_and_operators_are_told():
  expression = evaluate("(3+7)*-20/4")
  assert expression.numbers == (3, 7, 20, 4)
  assert expression.operators == ("+", "*", "/")
  assert expression.value == -50


def test_is_a_tool_with_one_text_parameter():
  (tool,) = tools_of(Calculator()).values()
  assert (tool.spec.name, tool.spec.text_parameter) == ("calculate", "expression")
  assert tool.call({"expression": 12}) == "12"
