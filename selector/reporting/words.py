"""Words: a `Statement` becomes a sentence of one language, from the word catalogs and nowhere else.

The catalogs are TOML files under `reports/templates/words/<language>/`, one or more a language, each a flat table
of key → sentence. A gap is written as in `str.format`: `{ms:.1f}`. Every language has every key; a test holds that.
"""

import tomllib
from functools import cache

from selector.decision.answer import Statement
from selector.errors import InvalidInput, SelectorError
from selector.resources import shipped_folder

LANGUAGES = ("en", "zh")


def say(statement: Statement, language: str) -> str:
    """The sentence of `statement`. Raises InvalidInput for another language, SelectorError for an unknown key."""
    return text(statement.key, language, **statement.values)


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
