"""Sources of figures, refusals and what screening met, in the page's language.

A source is text: citations of others, and sentences of our own ("batch 1", "counted: …"), joined by semicolons. The
sentences are recognised by their English words, which stand in the word catalog under `source.`, and said in the
page's language; citations, titles and paths stay as they are. Refusals are errors before they are parts of an answer,
and a search's processes tell of each other in text: their sentences, under `told.`, are recognised in the same way.
"""

import re
from functools import cache, lru_cache

from selector.decision.answer import Statement, Values
from selector.reporting.words import catalog, say

PREFIX, TOLD = "source.", "told."
OWN = "own"  # how gaps are called that hold other sentences of ours
_GAP = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=4096)
def cited(source: str, language: str) -> str:
    """`source` with our own sentences in `language`. English is what they are written in."""
    if language == "en":
        return source
    if " | " in source:
        return " | ".join(cited(part, language) for part in source.split(" | "))
    return "; ".join(_said(part, language) for part in parts(source))


def told(message: str, language: str) -> str:
    """A refusal, or why a backbone was not screened, with our own sentences in `language`; a sentence is a line."""
    if language == "en":
        return message
    return "\n".join(_said(line, language, TOLD) for line in message.splitlines())


def say_cited(statement: Statement, language: str) -> str:
    """The sentence of `statement`, with the source in it in the same language."""
    values = {n: cited(v, language) if n == "source" and isinstance(v, str) else v for n, v in statement.values.items()}
    return say(Statement(statement.key, values), language)


def parts(source: str) -> list[str]:
    """The sentences and citations of a source; a semicolon within brackets divides nothing."""
    found, depth, begin = [], 0, 0
    for place, sign in enumerate(source):
        depth += (sign == "(") - (sign == ")")
        if source.startswith("; ", place) and depth <= 0:
            found.append(source[begin:place])
            begin = place + 2
    return [*found, source[begin:]]


def recognised(part: str) -> str | None:
    """The key of our sentence that `part` is, None for a citation."""
    return next((key for key, pattern in _patterns(PREFIX) if pattern.fullmatch(part)), None)


def _said(part: str, language: str, prefix: str = PREFIX) -> str:
    for key, pattern in _patterns(prefix):
        if match := pattern.fullmatch(part):
            gaps: Values = {n: _within(n, v, language, prefix) for n, v in match.groupdict().items()}
            return say(Statement(key, gaps), language)
    return part


def _within(gap: str, value: str, language: str, prefix: str) -> str:
    if not gap.startswith(OWN):
        return value
    return "; ".join(_said(part, language, prefix) for part in parts(value))


@cache
def _patterns(prefix: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """What each sentence looks like, those with the most fixed text first: "any images" before "{domain} images"."""
    sentences = {key: words for key, words in catalog("en").items() if key.startswith(prefix)}
    fixed = {key: len(_GAP.sub("", words)) for key, words in sentences.items()}
    return tuple((key, re.compile(_expression(sentences[key]))) for key in sorted(sentences, key=lambda k: -fixed[k]))


def _expression(sentence: str) -> str:
    # even pieces are fixed text, odd ones names of gaps
    pieces = _GAP.split(sentence)
    return "".join(re.escape(p) if i % 2 == 0 else f"(?P<{p}>{_kind(p)})" for i, p in enumerate(pieces))


def _kind(gap: str) -> str:
    """A gap called by one letter is a number, so that a title that ends in "threads" is no sentence of ours."""
    return r"[\d.,%]+" if len(gap) == 1 else ".+?"
