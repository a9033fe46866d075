"""Words: a `Statement` becomes a sentence of one language, from the word catalogs and nowhere else.

The catalogs are TOML files under `reports/templates/words/<language>/`, one or more a language, each a flat table
of key → sentence. A gap is written as in `str.format`: `{ms:.1f}`. Every language has every key; a test holds that.
"""

import tomllib
from functools import cache

from selector.decision.answer import Statement
from selector.errors import InvalidInput, SelectorError
from selector.reporting.numbers import rounded
from selector.resources import shipped_folder

LANGUAGES = ("en", "zh")
# gaps whose value is a name of ours, or several with commas between, and the prefix of its word's key
NAMED = {"provenance": "provenance", "limits": "limit", "rival": "family", "kind": "device_kind"}


def say(statement: Statement, language: str) -> str:
    """The sentence of `statement`. Raises InvalidInput for another language, SelectorError for an unknown key.

    Numbers with decimals are written in three significant digits, and names that have a word are said with it.
    """
    return text(statement.key, language, **{n: _spoken(n, v, language) for n, v in statement.values.items()})


def text(key: str, language: str, **values: str | int | float) -> str:
    """The sentence `key` with its gaps filled. Raises as `say` does."""
    words = catalog(language)
    if key not in words:
        raise SelectorError(f"the word catalog of {language!r} lacks {key!r}; install backbone-selector again")
    try:
        return words[key].format(**values)
    except (KeyError, ValueError, IndexError) as error:
        raise SelectorError(
            f"the sentence {key!r} of {language!r} does not fit its values {values}: {error}"
        ) from error


def has(key: str, language: str) -> bool:
    """Whether the language's catalog has a sentence `key`."""
    return key in catalog(language)


@cache
def catalog(language: str) -> dict[str, str]:
    """Every sentence of a language by its key. Raises InvalidInput for a language that has no catalog."""
    if language not in LANGUAGES:
        raise InvalidInput(f"no language {language!r}; the report speaks {' and '.join(LANGUAGES)} (--lang)")
    words: dict[str, str] = {}
    for path in sorted(shipped_folder("reports/templates").joinpath("words", language).glob("*.toml")):
        for key, sentence in tomllib.loads(path.read_text(encoding="utf-8")).items():
            words[key] = sentence
    return words


def _spoken(name: str, value: str | int | float, language: str) -> str | int:
    """How a statement's value is said."""
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, str) and name in NAMED:
        keys = [f"{NAMED[name]}_{part}" for part in value.split(", ")]
        parts = [text(k, language) if has(k, language) else k.removeprefix(f"{NAMED[name]}_") for k in keys]
        return text("separator", language).join(parts)
    return value
