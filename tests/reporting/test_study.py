from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sample_answers import make_answer
from sample_study import CLASSES, make_study, scores

from selector.advisor import recommend
from selector.cli.tune import _show
from selector.errors import InvalidInput
from selector.findings import as_study
from selector.reporting.page import render_page
from selector.reporting.study import curves, history, parallel, study_view
from selector.reporting.terminal import print_answer
from selector.tuning.scores import score


def test_the_history_has_what_came_to_a_score_and_the_best_so_far(tmp_path: Path) -> None:
    points = history(make_study(tmp_path))
    assert [(p.number, p.complete, p.best) for p in points] == [
        (0, True, 0.5),
        (1, False, 0.5),
        (2, True, 0.7),
        (4, True, 0.7),
    ]


def test_what_int8_loses_is_told_with_its_interval(tmp_path: Path) -> None:
    result = make_study(tmp_path)
    assert any("quantising takes 20 s" in sentence for sentence in study_view(result, "en").says)
    lost = {"value": 0.0123, "low": -0.004, "high": 0.03}
    result.winner.result["int8"] = {"test": {}, "macro_f1_lost": lost, "latency_ms": {"p50": 3.21}}
    for language in ("en", "zh"):
        (said,) = [s for s in study_view(result, language).says if "int8" in s and "3.2" in s]
        assert "0.012" in said
        assert "-0.004 – 0.030" in said


def test_where_not_all_test_images_were_looked_at_page_and_terminal_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_study(tmp_path)
    _show(result)
    assert "time allowed no more" not in capsys.readouterr().out
    assert not [s for s in study_view(result, "en").says if "allowed to test" in s]
    result.winner.result["onnx_agreement"]["test_images"] = 90
    _show(result)
    assert "scores of 60 of 90 test images: time allowed no more" in " ".join(capsys.readouterr().out.split())
    assert [s for s in study_view(result, "en").says if "allowed to test on 60 of 90 test images" in s]
    assert [s for s in study_view(result, "zh").says if "90 张测试图像中的 60 张" in s]


def test_beside_the_latency_of_one_inference_stands_what_one_inference_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_study(tmp_path)
    assert as_study(result, 120.0, "selector").winner.of_views is None
    averaged, one = result.winner.result["test"], scores(10)
    result.winner.result["one_view"] = one
    result = replace(result, winner=replace(result.winner, predict_views=4))
    result.trials[4].result["predict_views"] = 2
    result.trials[4].result["one_view"] = scores(11)
    found = as_study(result, 120.0, "selector")
    assert found.winner.accuracy.value == pytest.approx(100 * one["accuracy"]["value"])
    assert found.winner.of_views is not None
    assert found.winner.of_views.value == pytest.approx(100 * averaged["accuracy"]["value"])
    assert (found.macro_f1, found.macro_f1_of_views) == (one["macro_f1"]["value"], averaged["macro_f1"]["value"])
    assert "mean over 4 views of an image, 4 inferences" in found.winner.of_views.source
    assert {m.views for m in found.measured} == {1, 4}  # the fifth trial's setup is the winner's own

    answer = recommend("cpu", 300, classes=3, store=tmp_path / "none.sqlite", study=found)
    chosen = answer.recommendation.candidate
    assert chosen.accuracy == found.winner.accuracy
    for language, views in (("en", "the mean over 4 views of an image"), ("zh", "4 个视图取平均")):
        page = render_page([answer], lang=language, study=result)
        assert page.count(views) == 2  # with the reasons, and with the study's scores
        console = Console(width=10_000, file=None)
        with console.capture() as captured:
            print_answer(answer, language, console, page=None)
        assert views in captured.get()
    _show(result)
    assert "4 inferences an answer; one view alone" in " ".join(capsys.readouterr().out.split())


def test_it_says_which_odds_the_model_shifts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = make_study(tmp_path)
    for language in ("en", "zh"):
        assert not [s for s in study_view(result, language).says if "odds" in s or "胜算" in s]
    result.winner.result["adjustment"] = {"a": -0.5, "b": 0.5}
    for language in ("en", "zh"):
        assert [s for s in study_view(result, language).says if "a × 0.61, b × 1.65" in s]
    _show(result)
    assert "the odds of classes are shifted: a × 0.61, b × 1.65" in " ".join(capsys.readouterr().out.split())


def test_macro_f1_says_over_how_many_classes_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = make_study(tmp_path)
    labels = np.arange(40) % 2  # no image of the third class
    result.winner.result["test"] = score(np.eye(3)[labels], labels, CLASSES).as_json()
    for language, says in (("en", "Macro-F1 over 2 of 3 classes"), ("zh", "3 个类别中 2 个的Macro-F1")):
        assert study_view(result, language).scores[0].label.startswith(says)
    _show(result)
    assert "macro-F1 over 2 of 3 classes" in capsys.readouterr().out
    answer = recommend("cpu", 300, classes=3, store=tmp_path / "none.sqlite", study=as_study(result, 120.0, "selector"))
    (note,) = [n for n in answer.notes if n.key == "note.classes_not_tested"]
    assert note.values == {"k": 2, "n": 3}


def test_scores_of_several_views_alone_are_named_as_such(tmp_path: Path) -> None:
    result = make_study(tmp_path)
    result.trials[0].result["predict_views"] = 2  # of a version that kept no score of one view
    found = as_study(result, 120.0, "selector")
    (setup,) = [m for m in found.measured if m.freeze_name == "head"]
    assert setup.accuracy == setup.of_views
    assert "2 inferences" in setup.accuracy.source


def test_the_winner_is_drawn_last_and_what_never_ran_has_no_curve(tmp_path: Path) -> None:
    drawn = curves(make_study(tmp_path))
    assert [c.number for c in drawn] == [0, 1, 4, 2]
    assert [c.winner for c in drawn] == [False, False, False, True]
    assert drawn[-1].points[-1] == pytest.approx((100.0, 0.7))


def test_complete_trials_stand_beside_each_other(tmp_path: Path) -> None:
    beside = parallel(make_study(tmp_path))
    assert beside is not None
    assert beside.scores == (0.5, 0.7, 0.6)
    by_name = {c.name: c for c in beside.coordinates}
    assert "backbone" not in by_name  # there was one
    assert by_name["freeze"].ticks == ((0.0, "head"), (1.0, "last-3"))
    assert by_name["freeze"].places == (0.0, 1.0, 1.0)
    assert by_name["lr"].places[1] > 0.5  # 1e-4, 3e-4, 5e-4 on a logarithmic axis
    assert by_name["dropout"].ticks == ((0.0, "0.3"),)  # all had the same
    assert beside.winner == 2


def test_mistakes_show_their_pictures_where_they_are_still_there(tmp_path: Path) -> None:
    view = study_view(make_study(tmp_path), "zh")
    first, second = view.mistakes
    assert (first.label, first.predicted) == CLASSES[:2]
    assert first.picture.startswith("data:image/jpeg;base64,")
    assert second.picture == ""
    assert sum(row.images for row in view.classes) == 60
    assert [t.winner for t in view.trials] == [False, False, True, False, False]
    assert [t.outcome for t in view.trials] == ["完成", "剪枝", "完成", "时间不足", "完成"]


def test_what_was_left_out_and_how_each_backbone_came_is_told(tmp_path: Path) -> None:
    view = study_view(make_study(tmp_path), "en")
    assert view.left_out[0] == ("坏.png", "not an image that can be read")
    assert "'空'" in view.left_out[1][1]
    words = " ".join(view.says)
    assert "a linear probe 0.510, nearest neighbours 0.420" in words
    assert "resnet50 was not searched: no time to screen it" in words
    assert "trained again, once" in words
    value, interval = view.classes[0].cells[2]
    assert float(interval.split("–")[0]) <= float(value) <= float(interval.split("–")[1])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_holds_the_study_and_its_names_are_text(tmp_path: Path, language: str) -> None:
    answer, study = make_answer(), make_study(tmp_path)
    page = render_page([answer], lang=language, study=study)
    for chart in ("confusion", "history", "curves", "importances", "parallel"):
        assert f'data-for="study-{chart}"' in page
    assert "&lt;b&gt;缺陷&lt;/b&gt;" in page
    assert "<b>缺陷</b>" not in page.split("<script>")[0]
    assert "study-confusion" not in render_page([answer], lang=language)
    alone = render_page([], lang=language, unanswered=[("edge", 300)], study=study)  # no candidate keeps the limits
    assert 'data-for="study-confusion"' in alone
    assert alone.count('<p class="warning" role="note">') == 1
    with pytest.raises(InvalidInput, match="1 to "):
        render_page([], lang=language, study=study)
