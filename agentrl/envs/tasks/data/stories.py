"""Stories of `word_problems.py`, by kind.

In braces: `a` to `e` are numbers, `name` and `other` people, `things` and `stuff` goods.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES = (
  "Ada", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kira", "Liam", "Mina", "Noor",
  "Omar", "Paula", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Victor", "Wanda", "Yusuf",
)  # fmt: skip

THINGS = (
  "apples", "pencils", "marbles", "stickers", "books", "cookies", "candles", "bottles", "tiles", "buttons", "lemons",
  "postcards", "muffins", "tickets", "beads", "notebooks", "tulips", "coins", "shells", "batteries",
)  # fmt: skip

STORIES: Mapping[str, tuple[str, ...]] = {
  "sum": (
    "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
    "A shop sold {a} {things} on Monday and {b} on Tuesday. How many {things} did it sell on the two days?",
    "{name} counted {a} {things} and {other} counted {b}. How many {things} did they count together?",
    "There are {a} {things} and {b} {stuff} in a store room. How many items are in the store room?",
  ),
  "difference": (
    "{name} had {a} {things} and gave {b} of them to {other}. How many {things} does {name} have left?",
    "A crate held {a} {things}, and {b} were broken. How many {things} were whole?",
    "{name} has {a} {things} and {other} has {b}. How many more {things} does {name} have than {other}?",
    "{name} wants to collect {a} {things} and has {b} so far. How many {things} are still missing?",
  ),
  "product": (
    "There are {a} boxes with {b} {things} in each. How many {things} are there in all?",
    "One pack of {things} costs {b} dollars. How many dollars do {a} packs cost?",
    "{name} makes {a} {things} every day. How many {things} does {name} make in {b} days?",
    "A hall has {b} rows of {a} seats. How many seats are in the hall?",
  ),
  "quotient": (
    "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
    "{a} {things} are packed into bags of {b}. How many bags are filled?",
    "{b} people split a bill of {a} dollars equally. How many dollars does each of them pay?",
    "{name} has to read {a} pages in {b} days, the same number each day. How many pages are that per day?",
  ),
  "sum_times_price": (
    "{name} buys {a} {things} and {b} {stuff}. Every item costs {c} dollars. How many dollars does {name} pay?",
    "A class of {a} girls and {b} boys goes to a museum. A ticket costs {c} dollars. "
    "How many dollars do all the tickets cost?",
    "{name} works {a} hours this week and {b} hours next week, for {c} dollars an hour. "
    "How many dollars does {name} earn in the two weeks?",
    "{name} sold {a} {things} and {other} sold {b}, all at {c} dollars each. How many dollars did they take in?",
  ),
  "two_step": (
    "{name} had {a} {things}, gave {b} to {other}, and then found {c} more. How many {things} does {name} have now?",
    "A bus with {a} passengers stops. {b} get off and {c} get on. How many passengers are on the bus now?",
    "A shop had {a} {things}, sold {b}, and received {c} new ones. How many {things} does the shop have?",
    "A tank holds {a} liters of water. {b} liters are used and {c} liters are added. How many liters are in it now?",
  ),
  "product_plus": (
    "{name} has {a} boxes of {b} {things} and {c} loose {things}. How many {things} does {name} have?",
    "{name} had {c} dollars and saves {b} dollars a week for {a} weeks. How many dollars does {name} have then?",
    "A machine fills {a} bottles a minute. It runs for {b} minutes, after {c} bottles were filled by hand. "
    "How many bottles are full?",
  ),
  "change": (
    "{name} has {a} dollars and buys {b} {things} for {c} dollars each. How many dollars are left?",
    "A roll holds {a} meters of wire. {name} cuts off {b} pieces of {c} meters. How many meters remain?",
    "A store had {a} {things} and sent {b} crates of {c} away. How many {things} stayed in the store?",
  ),
  "rest_shared": (
    "{name} won {a} {things}, kept {b}, and shared the rest equally among {c} neighbors. "
    "How many {things} did each neighbor get?",
    "A prize of {a} dollars is paid out. After a fee of {b} dollars, {c} winners share it equally. "
    "How many dollars does each winner get?",
    "Of {a} {things}, {b} are damaged. The others go into boxes of {c}. How many boxes are filled?",
  ),
  "two_orders": (
    "{name} buys {a} {things} at {b} dollars each and {c} {stuff} at {d} dollars each. "
    "How many dollars does {name} pay?",
    "A farm has {a} rows of {b} trees and {c} rows of {d} bushes. How many plants is that?",
    "{name} packs {a} bags of {b} {things} and {c} bags of {d} {things}. How many {things} are packed?",
  ),
  "earnings_minus": (
    "{name} works {a} hours on Saturday and {b} hours on Sunday at {c} dollars an hour, and then spends {d} dollars. "
    "How many dollars are left?",
    "{name} sells {a} {things} and {b} {stuff} at {c} dollars each. The stall costs {d} dollars. "
    "How many dollars does {name} keep?",
    "Each of {a} adults and {b} children gets {c} {things}. Later {d} {things} are given back. "
    "How many {things} are still out?",
  ),
  "pooled_shared": (
    "{name} has {a} bags of {b} {things} and finds {c} more. All are shared equally among {d} children. "
    "How many {things} does each child get?",
    "A team earns {b} dollars a day for {a} days and a bonus of {c} dollars. Its {d} members share it equally. "
    "How many dollars does each member get?",
    "{a} crates of {b} {things} and {c} loose ones are loaded evenly onto {d} trucks. "
    "How many {things} are on each truck?",
  ),
  "two_orders_plus": (
    "{name} buys {a} {things} at {b} dollars each and {c} {stuff} at {d} dollars each, and pays {e} dollars for "
    "delivery. How many dollars is that in all?",
    "A library gets {a} boxes of {b} books and {c} boxes of {d} books, and had {e} books before. "
    "How many books does it have now?",
    "{name} runs {b} laps a day for {a} days, then {d} laps a day for {c} days, and {e} laps in a race. "
    "How many laps is that?",
  ),
  "two_orders_change": (
    "{name} has {e} dollars and buys {a} {things} at {b} dollars each and {c} {stuff} at {d} dollars each. "
    "How many dollars are left?",
    "A hall has {e} seats. {a} groups of {b} and {c} groups of {d} sit down. How many seats stay free?",
    "A depot holds {e} {things}. It sends {a} trucks with {b} each and {c} trucks with {d} each. "
    "How many {things} remain?",
  ),
  "profit_shared": (
    "{name} sold {a} {things} and {other} sold {b}, all at {c} dollars each. After costs of {d} dollars, {e} partners "
    "share the rest equally. How many dollars does each partner get?",
    "{a} adults and {b} children each pay {c} dollars for a concert. The band gets {d} dollars, and {e} helpers share "
    "the rest equally. How many dollars does each helper get?",
    "{name} picks {a} baskets in the morning and {b} in the afternoon, each with {c} {things}. {d} are sold, and the "
    "rest fills {e} jars equally. How many {things} are in each jar?",
  ),
}
