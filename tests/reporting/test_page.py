import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sample_answers import make_answer

from selector.backbones.depth import FreezeDepth
from selector.decision.answer import Answer
from selector.errors import InvalidInput
from selector.evidence.record import FreezePoint
from selector.reporting.candidates_table import Shared, payload, table_rows
from selector.reporting.page import MAX_ANSWERS, MAX_BYTES, MAX_ROWS, render_page
from selector.reporting.sources import sources
from selector.reporting.view import freeze_phrase
from selector.reporting.words import LANGUAGES, catalog
from selector.resources import shipped_folder


def without_plotly(page: str) -> str:
    """The page without its largest script."""
    return page.replace(max(re.findall(r"<script>.*?</script>", page, re.S), key=len), "")


@pytest.fixture(scope="module")
def answer() -> Answer:
    return make_answer()


def test_the_same_answer_gives_the_same_page(answer: Answer) -> None:
    assert render_page([answer]) == render_page([make_answer()])
    assert "Made 2026-01-02 03:04 UTC" in render_page([answer], made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))


def test_damaged_compiled_templates_are_made_again(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    page = render_page([answer])
    compiled = list((tmp_path / "templates").iterdir())
    assert compiled
    for file in compiled:
        file.write_bytes(file.read_bytes()[:12])
    assert render_page([answer]) == page


def test_page_is_small_and_holds_plotly_once(answer: Answer) -> None:
    page = render_page([answer] * 6)
    assert len(page.encode()) <= MAX_BYTES
    assert page.count("plotly.js v") == 1
    assert not re.search(r"""<(link|iframe|img|script)[^>]+(src|href)=""", without_plotly(page))


def test_many_candidates_are_cut_to_the_best_depths(answer: Answer) -> None:
    many = MAX_ROWS // len(answer.candidates) + 1
    wide = replace(answer, candidates=answer.candidates * many)
    page = without_plotly(render_page([wide]))
    assert 'class="filter-depths"' not in page
    assert catalog("en")["table_all_depths_missing"].split("{")[0].split("<")[0] in page
    assert len(json.loads(re.findall(r'class="rows">(.*?)</script>', page)[0])["rows"]) < len(answer.candidates) * many
    assert 'class="filter-depths"' in render_page([answer])


def test_wrong_calls_are_refused(answer: Answer) -> None:
    with pytest.raises(InvalidInput, match="en and zh"):
        render_page([answer], lang="fr")
    for number in (0, MAX_ANSWERS + 1):
        with pytest.raises(InvalidInput, match=f"1 to {MAX_ANSWERS} answers, not {number}"):
            render_page([answer] * number)


def test_text_from_outside_is_escaped(answer: Answer) -> None:
    nasty = '</script><script>alert("1")</script>'
    chosen = replace(answer.recommendation.candidate, backbone=nasty)
    everywhere = replace(
        answer,
        profile=replace(answer.profile, title=nasty),
        reference=replace(answer.reference, title=nasty),
        recommendation=replace(answer.recommendation, candidate=chosen),
        candidates=(chosen, *answer.candidates),
        command=nasty,
    )
    page = render_page([everywhere, everywhere])
    assert nasty not in page
    assert 'alert("1")' not in page.replace('\\u003cscript>alert(\\"1\\")', "")


def test_every_figure_of_a_row_keeps_its_source(answer: Answer) -> None:
    shared = Shared()
    rows = table_rows(answer, "en")
    packed = json.loads(payload(rows, sources(answer).uses, shared, "en"))
    held = json.loads(shared.as_json())
    for row, candidate in zip(packed["rows"], answer.candidates, strict=True):
        originals = [
            candidate.accuracy,
            candidate.latency,
            candidate.artifact,
            candidate.memory,
            candidate.train_seconds,
        ]
        for number, figure in zip(row[5], [*originals, candidate.latency_p90], strict=True):
            if figure is None:
                assert number == -1
                continue
            value, text, _, provenance, source = held["figures"][number]
            assert value == pytest.approx(figure.value, rel=1e-4)
            assert text
            assert provenance == figure.provenance[0]
            assert held["texts"][source] == figure.source


def test_violations_name_limit_and_figure(answer: Answer) -> None:
    rows = table_rows(answer, "en")
    out = [row for row in rows if not row.feasible]
    assert out
    for row in out:
        assert re.fullmatch(r"latency [\d,.]+ ms breaks at most 300 ms", row.violations[0])


@pytest.mark.parametrize("name", ["none", "head", "last-3", "80%", "5"])
def test_every_freeze_depth_has_words(name: str) -> None:
    point = FreezePoint(name, FreezeDepth.parse(name).frozen_blocks(17), 17)
    english, chinese = (freeze_phrase(point, language) for language in LANGUAGES)
    assert english.startswith("freeze")
    assert english != chinese
    if name == "last-3":
        assert english == "freeze all but the last 3 of its 17 blocks"


def test_no_word_of_the_page_is_missing_or_idle() -> None:
    """Each key of the page's catalog is asked for by the template, the script's list or the code."""
    folder = shipped_folder("reports/templates")
    code = "".join(p.read_text() for p in (Path(__file__).parents[2] / "selector" / "reporting").glob("*.py"))
    asked = (folder / "page.html.jinja").read_text() + (folder / "script.js").read_text() + code
    keys = re.findall(r'^"?([\w.]+)"? = ', (folder / "words" / "en" / "page.toml").read_text(), re.M)
    stems = (
        "fact_",
        "freeze_",
        "limit_",
        "ruled_figure_",
        "family_",
        "provenance_",
        "table_",
        "document_",
        "verdict_",
        "summary_",
        "setting_",
        "warning.",
    )
    idle = [key for key in keys if key not in asked and not key.startswith(stems)]
    assert not idle


def test_unanswered_questions_are_told(answer: Answer) -> None:
    page = render_page([answer], unanswered=[("gpu", 500)])
    assert "gpu, 500 images: no candidate keeps every limit" in page
