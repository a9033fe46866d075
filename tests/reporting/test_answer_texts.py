"""Whole answers in both languages: the JSON document and the terminal."""

import io
import json

import pytest
from rich.console import Console

from selector.advisor import recommend
from selector.decision.answer import Answer
from selector.decision.request import AskedLimits
from selector.reporting.document import document, write
from selector.reporting.terminal import print_answer, top_table

CASES = {
    "class": ("edge", 5000, None, None, None),
    "few images of a domain": ("edge", 60, 10, "natural", AskedLimits(latency_ms=60.0, accuracy=30.0)),
    "throughput only": ("gpu", 20_000, 10, "medical", None),
    "nothing known": ("local", 5000, 10, "industrial", None),
}


@pytest.fixture(scope="module", params=CASES)
def answer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    hardware, data_size, classes, domain, limits = CASES[request.param]
    store = tmp_path_factory.mktemp("store") / "none.sqlite"
    return recommend(hardware, data_size, classes=classes, domain=domain, limits=limits, store=store)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_sentence_of_an_answer_is_said(answer: Answer, language: str) -> None:
    made = json.loads(write(answer, language))
    assert made == document(answer, language)
    sentences = [*made["recommendation"]["why"], *made["notes"], *(c["figure"] for c in made["claims"])]
    assert all(sentence and "{" not in sentence for sentence in sentences)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_terminal_says_what_to_take_and_where_the_page_is(answer: Answer, language: str) -> None:
    out = io.StringIO()
    print_answer(answer, language, Console(file=out, width=400), page="/tmp/page.html")
    said = out.getvalue()
    chosen = answer.recommendation.candidate
    assert chosen.backbone in said.splitlines()[0]
    assert chosen.runtime in said.splitlines()[0]
    assert "/tmp/page.html" in said
    assert answer.next_measurements[0].command in said


def test_the_table_shows_each_backbone_once(answer: Answer) -> None:
    table = top_table(answer, "en")
    shown = [str(cell).split("@")[0] for cell in table.columns[0].cells]
    assert len(shown) == len(set(shown)) >= 1
    assert shown[0] == answer.recommendation.candidate.backbone


def test_megabytes_are_ten_to_the_sixth(answer: Answer) -> None:
    chosen = answer.recommendation.candidate
    stated = document(answer)["recommendation"]["expected"]["artifact_mb"]
    assert (stated["value"], stated["unit"]) == (chosen.artifact.value / 1e6, "MB")
