"""The page: one HTML file that holds everything it shows and needs no network.

Plotly's script stands in it once. The content security policy names the hash of each script and forbids every
request, so that the page can be opened, mailed and archived without reaching out.
"""

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import jinja2
import jinja2.bccache
from markupsafe import Markup, escape

from selector import __version__
from selector.decision.answer import Answer, Statement
from selector.errors import InvalidInput
from selector.evidence.record import Provenance
from selector.reporting.candidates_table import COLUMNS, Shared, script_json
from selector.reporting.cited import cited
from selector.reporting.drawing import chart_json, draw_accuracy_by_size, draw_hardware_comparison
from selector.reporting.figures import AccuracyBySize, HardwareComparison, accuracy_by_size, hardware_comparison
from selector.reporting.view import (
    DIMENSIONS,
    Chart,
    answer_view,
    family_titles,
    freeze_phrase,
    title,
)
from selector.reporting.words import LANGUAGES, catalog, has, say, text
from selector.resources import home, shipped_folder

if TYPE_CHECKING:
    from selector.reporting.study import StudyView
    from selector.tuning.info import TuneResult

MAX_BYTES = 6_000_000  # what mail gateways and chats still take
MAX_ROWS = 3000  # rows of all tables together; beyond, each table holds the best freeze depths only
MAX_ANSWERS = 9  # beyond, the page grows over MAX_BYTES

TOP_ROWS, TOP_ROWS_EACH = 25, 8  # rows in the HTML itself, for readers without JavaScript

_SCRIPT_WORDS = (
    "table_count",
    "table_details",
    "table_source",
    "table_recommended",
    "table_tied",
    "table_pareto",
    "table_infeasible",
    "table_unknown",
    "table_conflict",
    "table_accuracy",
    "table_latency",
    "table_artifact",
    "table_memory",
    "table_train_seconds",
    "table_latency_p90",
    "next_copied",
    "chart_button_download",
    "chart_button_zoom",
    "chart_button_pan",
    "chart_button_reset",
    *(f"family_{name}" for name in ("resnet", "vgg", "efficientnet", "mobilenet")),
    *(f"provenance_{p}" for p in Provenance),
    *(f"provenance_letter_{p}" for p in Provenance),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a page of several answers shows before them."""

    latency: HardwareComparison
    accuracy: AccuracyBySize
    latency_chart: Chart
    accuracy_chart: Chart | None  # None where all answers are about the same number of images


def render_page(
    answers: Sequence[Answer],
    *,
    lang: str = "en",
    made_at: datetime | None = None,
    unanswered: Sequence[tuple[str, int]] = (),
    study: "TuneResult | None" = None,
) -> str:
    """One HTML page about one answer, or about several beside each other.

    `made_at` (UTC) is printed in the footer; without it the page depends on the answers alone. `unanswered` names
    hardware and numbers of images for which no candidate keeps the limits: the page says so. `study` is the
    search on the user's images that the one answer rests on; where there is no answer, because no candidate keeps the
    limits of the one in `unanswered`, the page is about the study alone. Raises InvalidInput for no answers, for more
    than fit on a page, and for another language than en and zh.
    """
    if lang not in LANGUAGES:
        raise InvalidInput(f"no language {lang!r}; the report speaks {' and '.join(LANGUAGES)} (--lang)")
    about_study = study is not None and len(unanswered) == 1
    if not (answers or about_study) or len(answers) > MAX_ANSWERS:
        raise InvalidInput(
            f"a page takes 1 to {MAX_ANSWERS} answers, not {len(answers)}; write several pages with fewer "
            "hardware names or numbers of images each (-o PATH)"
        )
    every_depth = sum(len(a.candidates) for a in answers) <= MAX_ROWS
    shared = Shared()
    top = TOP_ROWS if len(answers) == 1 else TOP_ROWS_EACH
    views = [answer_view(a, i, lang, shared, top_rows=top, every_depth=every_depth) for i, a in enumerate(answers, 1)]
    style, script = (_template_text(name) for name in ("style.css", "script.js"))
    plotly = _plotly_script()
    page = _environment(lang).get_template("page.html.jinja")
    return page.render(
        lang="zh-CN" if lang == "zh" else lang,
        unanswered=unanswered,
        views=views,
        study=_study_view(study, lang) if study is not None else None,
        shared=Markup(shared.as_json()),
        warnings=tuple(dict.fromkeys(say(note, lang) for view in views for note in view.warnings)),
        comparison=_comparison(answers, lang) if len(answers) > 1 else None,
        policy=_policy([plotly, script]),
        style=Markup(style),
        script=Markup(script),
        plotly=Markup(plotly),
        script_words=Markup(script_json({key: catalog(lang)[key] for key in _SCRIPT_WORDS})),
        version=__version__,
        made_at=made_at.strftime("%Y-%m-%d %H:%M") if made_at else None,
    )


def _study_view(study: "TuneResult", lang: str) -> "StudyView":
    from selector.reporting.study import study_view  # only a page about a search needs it

    return study_view(study, lang)


def _comparison(answers: Sequence[Answer], lang: str) -> Comparison:
    latency = hardware_comparison(answers, [title(a.reference, lang) for a in answers])
    accuracy = accuracy_by_size(answers)
    sizes = {expected.data_size for _, line in accuracy.hardware for expected in line}
    return Comparison(
        latency,
        accuracy,
        Chart(
            "compare-latency",
            chart_json(draw_hardware_comparison(latency, lang)),
            text("chart_alt_compare", lang, n=len(latency.backbones)),
        ),
        Chart(
            "compare-accuracy",
            chart_json(draw_accuracy_by_size(accuracy, lang)),
            text("chart_alt_accuracy", lang),
        )
        if len(sizes) > 1
        else None,
    )


def _compiled_templates() -> jinja2.BytecodeCache | None:
    """Where compiled templates are kept from one run to the next; None where nothing can be written."""
    folder = home() / "templates"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return _Compiled(str(folder)) if os.access(folder, os.W_OK) else None


class _Compiled(jinja2.FileSystemBytecodeCache):
    """A cache that never stands in the page's way: what cannot be read or written is compiled again."""

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:  # noqa: BLE001 - a damaged file may bring pickle to raise anything
            bucket.reset()

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with suppress(OSError):
            super().dump_bytecode(bucket)


def _environment(lang: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("reports/templates")),
        bytecode_cache=_compiled_templates(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        w=partial(_words, lang),
        say=partial(_say, lang),
        freeze_phrase=lambda freeze: freeze_phrase(freeze, lang),
        families=family_titles(lang),
        setting=partial(_setting, lang),
        dimensions=DIMENSIONS,
        columns=COLUMNS,
        known=lambda key: has(key, lang),
        cite=lambda source: cited(source, lang),
        provenances=tuple(Provenance),
    )
    environment.filters["spoken"] = partial(_say, lang)
    environment.filters["json"] = Markup  # made by script_json or chart_json, which nothing can close
    return environment


def _words(lang: str, key: str, **values: str | int | float) -> Markup:
    """A sentence of the page's catalog, whose gaps are escaped and which may itself carry <b> and <code>."""
    safe = {name: str(escape(value)) if isinstance(value, str) else value for name, value in values.items()}
    return Markup(text(key, lang, **safe))


def _say(lang: str, statement: Statement) -> Markup:
    """The statement's sentence, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(say(statement, lang)))))


def _setting(lang: str, value: object) -> str:
    """A hyperparameter's value, in words where it is more than a number or a name."""
    key = f"setting_value.{value}"
    return text(key, lang) if has(key, lang) else str(value)


def _template_text(name: str) -> str:
    return (shipped_folder("reports/templates") / name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    """Plotly's script as the installed package bundles it."""
    from plotly.offline import get_plotlyjs  # imports all of plotly

    return str(get_plotlyjs())


def _policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts, styles of the page itself, images made on it, and nothing else."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
