import ast
import string
from pathlib import Path

import pytest

import selector.decision
from selector.decision.answer import Statement
from selector.errors import InvalidInput, SelectorError
from selector.reporting.words import LANGUAGES, catalog, say, text

DECISION = Path(selector.decision.__file__).parent


def gaps(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_language_has_every_sentence() -> None:
    english, chinese = catalog("en"), catalog("zh")
    assert english.keys() == chinese.keys()
    assert all(sentence.strip() for words in (english, chinese) for sentence in words.values() if sentence != ", ")


def test_translations_have_the_same_gaps() -> None:
    english, chinese = catalog("en"), catalog("zh")
    for key, sentence in english.items():
        ours = {name.removesuffix("_zh") for name in gaps(chinese[key])}
        assert ours == gaps(sentence), key


def test_every_statement_that_the_decision_room_makes_has_a_sentence() -> None:
    """Keys written out in the code; the ones put together from parts are said by the tests of whole answers."""
    keys = set()
    for path in DECISION.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Statement"
            if named and node.args and isinstance(node.args[0], ast.Constant):  # type: ignore[union-attr]
                keys.add(node.args[0].value)  # type: ignore[union-attr]
    assert len(keys) > 20
    assert keys <= catalog("en").keys()


def test_numbers_and_names_are_said() -> None:
    statement = Statement("conflict.latency", {"label": "x", "value": 12.3456, "provenance": "measured", "source": "s"})
    assert say(statement, "en") == "x says 12.3 ms (measured): s"
    assert "实测" in say(statement, "zh") or "测" in say(statement, "zh")


def test_an_unknown_language_key_or_gap_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="en and zh"):
        say(Statement("limit.asked"), "fr")
    with pytest.raises(SelectorError, match=r"no\.such\.key"):
        say(Statement("no.such.key"), "en")
    with pytest.raises(SelectorError, match="does not fit"):
        text("policy.p1.agrees", "en")
    assert LANGUAGES == ("en", "zh")
