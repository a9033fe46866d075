"""`selector tune`: search backbone, freeze depth and hyperparameters on one's own images within a wall-clock budget."""

import json as jsonlib
import math
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store
from selector.errors import Faults, InvalidInput, NoFeasibleCandidate
from selector.resources import without_password

if TYPE_CHECKING:
    from selector.tuning.info import DeployLimits, Progress, TuneRequest, TuneResult

ANY_CPU = "cpu"
"""The class whose ranking makes the shortlist where no hardware is named."""

INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended

T = TypeVar("T")

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def tune(
    data: Annotated[Path, typer.Argument(help="A folder with a subfolder a class, or a CSV or Parquet file.")],
    budget: Annotated[str, typer.Option("--budget", help="Wall-clock time for everything: 90s, 20m, 2h.")] = "20m",
    backbones: Annotated[
        str | None, typer.Option("--backbones", help="Search over these; default: the best of `recommend` here.")
    ] = None,
    freeze: Annotated[str | None, typer.Option("--freeze", help="Only these depths, with commas between.")] = None,
    resolution: Annotated[str | None, typer.Option("--resolution", help="Only these, in pixels.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder with pretrained weights by timm id.")
    ] = None,
    random_init: Annotated[bool, typer.Option("--random-init", help="Start from random weights, if you must.")] = False,
    hardware: Annotated[
        str | None, typer.Option("--hardware", help="Where the model will run; default: on this machine.")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option("--max-latency-ms", help="Of one inference.")] = None,
    max_artifact_mb: Annotated[float | None, typer.Option("--max-artifact-mb", help="Of the fp32 weights.")] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Folder for the model; default: in the study's.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Name of the study; default: named after data.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was broken off.")] = False,
    storage: Annotated[
        str | None,
        typer.Option("--storage", envvar="SELECTOR_STORAGE", help="postgresql:// URL, for several hosts on one study."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Trials at a time on this host.")] = 1,
    cache_gb: Annotated[float, typer.Option("--cache-gb", help="Room for cached activations; 0: no cache.")] = 20.0,
    max_trials: Annotated[int | None, typer.Option("--max-trials", help="Stop the search after so many.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of split, sampler and training.")] = 0,
    json: Json = False,
    output: Output = None,
    store: Store = None,
    profile_folder: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Tune on your own images within a time budget; hands over a trained, tested, deployable model.

    -o PATH writes the JSON document to a file. The model (safetensors, ONNX, int8 ONNX, preprocessing, model card)
    lies in the folder that is printed at the end.
    """
    from selector.reporting.output import opened_output
    from selector.tuning.data.listing import list_images
    from selector.tuning.info import DEFAULT_FREEZES, DeployLimits, TuneRequest
    from selector.tuning.search.tune import tune as tune_study

    faults = Faults()
    names, seconds, images, cache_bytes = _names(backbones), 60.0, 2, 0
    sides: tuple[int, ...] = ()
    with faults:
        seconds = parse_budget(budget)
    with faults:
        images = max(2, len(list_images(data).entries))  # fewer are refused when they are read
    with faults:
        sides = _pixels(resolution)
    with faults:
        cache_bytes = _bytes(cache_gb)
    limits = DeployLimits(max_latency_ms, max_artifact_mb)
    request = TuneRequest(
        data=data,
        budget_s=seconds,
        backbones=names,
        freezes=_names(freeze) or DEFAULT_FREEZES,
        resolutions=sides,
        weights=weights,
        random_init=random_init,
        limits=limits,
        seed=seed,
        workers=workers,
        storage=storage,
        study=study,
        resume=resume,
        cache_bytes=cache_bytes,
        save=save,
        max_trials=max_trials,
        command=command(),
    )
    _check(request, hardware, images, profile_folder, faults)
    if not names or hardware is not None:
        names, limits = _advised(images, hardware, weights, names, limits, store, profile_folder)
    request = replace(request, backbones=names, advised=not request.backbones, limits=limits, spent_s=spent_s())
    if output is not None and output != Path("-"):
        with opened_output(output) as write:
            result = with_progress(lambda tell: tune_study(request, tell), quiet)
            write(_document(result))
    else:
        result = with_progress(lambda tell: tune_study(request, tell), quiet)
    if json or output == Path("-"):
        sys.stdout.write(_document(result))
    elif not quiet:
        _show(result)
    else:
        sys.stdout.write(f"{result.winner.folder}\n")


def _check(
    request: "TuneRequest", hardware: str | None, images: int, profile_folder: Path | None, faults: Faults
) -> None:
    """Raise InvalidInput with `faults` and all that is wrong with the request and the hardware."""
    from selector import advisor
    from selector.backbones.catalog import names
    from selector.tuning.search.check import check

    if hardware is not None:
        with faults:
            advisor.check_request(hardware, images, backbones=request.backbones, profile_folder=profile_folder)
    with faults:
        # where none are named, some are advised: any one stands in for them
        check(replace(request, backbones=request.backbones or names()[:1]))
    faults.tell()


def parse_budget(text: str) -> float:
    """Seconds of "90s", "20m", "1.5h" or a bare number of seconds. Raises InvalidInput."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    if not match:
        raise InvalidInput(f"--budget {text!r} is no time; write 90s, 20m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def _advised(
    images: int,
    hardware: str | None,
    weights: Path | None,
    names: tuple[str, ...],
    limits: "DeployLimits",
    store: str | None,
    profile_folder: Path | None,
) -> "tuple[tuple[str, ...], DeployLimits]":
    """The best backbones of `recommend` where none are named, and the latencies of a hardware that is.

    Where a folder with weights is given, only backbones with weights in it are ranked.
    """
    from selector import advisor
    from selector.decision.request import AskedLimits
    from selector.tuning.info import DeployLimits

    held = advisor.with_weights(weights)
    try:
        answer = advisor.recommend(
            hardware or ANY_CPU,
            images,
            limits=AskedLimits(limits.max_latency_ms if hardware else None, limits.max_artifact_mb, None, None),
            backbones=names or held,
            store=store,
            profile_folder=profile_folder,
        )
    except NoFeasibleCandidate:
        if hardware or limits.max_artifact_mb is not None or not held:
            raise
        return held[: advisor.SHORTLIST], limits  # what breaks the defaults of a class of machines that nobody named
    short = advisor.shortlist(answer)
    latencies = short.latency_ms if hardware else {}
    return (
        names or short.backbones[: advisor.SHORTLIST],
        DeployLimits(limits.max_latency_ms, limits.max_artifact_mb, latencies),
    )


def spent_s() -> float:
    """Seconds since this process was started: the budget counts from the command, not from the search."""
    import time

    import psutil

    return max(0.0, time.time() - float(psutil.Process().create_time()))


def with_progress(work: "Callable[[Callable[[Progress], None]], T]", quiet: bool) -> T:
    """Run `work` with a live line on stderr: phase, trials, best so far, time left. Ctrl-C is exit code 130.

    With `quiet` only warnings are told: which images are not used, which scores are weaker than they look.
    """
    try:
        return work(_warn) if quiet else _told_live(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _warn(progress: "Progress") -> None:
    if progress.warns:
        typer.echo(progress.says, err=True)


def _told_live(work: "Callable[[Callable[[Progress], None]], T]") -> T:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:

        def tell(progress: "Progress") -> None:
            best = "" if progress.best is None else f" · best macro-F1 {progress.best:.3f}"
            left = "{}:{:02} left".format(*divmod(max(0, round(progress.left_s)), 60))
            line = f"{progress.phase} · {progress.trials} trials{best} · {left} · {progress.says}"
            status.update(Text(line))
            if not progress.passing:
                console.print(progress.says, markup=False, soft_wrap=True)

        return work(tell)


def _show(result: "TuneResult") -> None:
    """The result for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if result.random_init:
        console.print("[bold red]random weights: nothing here says what a pretrained backbone would reach[/]")
    winner, budget = result.winner, result.budget
    test = winner.result["test"]
    table = Table("score", "test", "95 % interval", box=None)
    n, k = len(test["classes"]), test["scored_classes"]
    over = "" if k == n else f" over {k} of {n} classes"  # the others have no test image
    for name, key in ((f"macro-F1{over}", "macro_f1"), ("accuracy", "accuracy"), (f"AUC{over}", "auc")):
        score = test[key]
        if score["value"] is not None:
            table.add_row(name, f"{score['value']:.3f}", f"{score['low']:.3f} – {score['high']:.3f}")
    recipe = winner.recipe
    console.print(f"{recipe.backbone}, frozen to {recipe.freeze}, {recipe.resolution} px: {winner.result['how']}")
    console.print(table)
    agreement, int8 = winner.result["onnx_agreement"], winner.result["int8"]
    if test["images"] < agreement["test_images"]:
        console.print(f"scores of {test['images']} of {agreement['test_images']} test images: time allowed no more")
    if one := winner.result.get("one_view"):
        views = winner.predict_views
        console.print(
            f"mean over {views} views of an image, {views} inferences an answer; one view alone, one inference: "
            f"macro-F1 {one['macro_f1']['value']:.3f}, accuracy {one['accuracy']['value']:.3f}"
        )
    if adjustment := winner.result.get("adjustment"):
        from selector.tuning.adjustment import told

        console.print(f"to raise macro-F1, the odds of classes are shifted: {told(adjustment)}", markup=False)
    rest = agreement["test_images"] - agreement["images"]
    console.print(
        f"ONNX and torch agree on {agreement['agree']} of {agreement['images']} test images"
        + (f"; time allowed to compare no more, {rest} are left" if rest else "")
    )
    if "test" in int8:
        lost, ms = int8["macro_f1_lost"], f"{int8['latency_ms']['p50']:.1f} ms"
        console.print(
            f"int8: macro-F1 lower by {lost['value']:.3f} ({lost['low']:.3f} – {lost['high']:.3f}), "
            f"one inference {ms} against {winner.result['latency_ms']['p50']:.1f} ms"
        )
    else:
        console.print(f"int8: left out, {int8['left_out']}")
    console.print(f"{len(result.trials)} trials, {budget.used_s:.0f} of {budget.asked_s:.0f} s", markup=False)
    console.print(f"study {result.study} in {result.folder}", markup=False, soft_wrap=True)
    console.print(f"model in {winner.folder}", markup=False, soft_wrap=True)


def _document(result: "TuneResult") -> str:
    return jsonlib.dumps({"schema_version": 1, **result.as_json()}, ensure_ascii=False, indent=2) + "\n"


def command() -> str:
    """This very command, for the record: without the password of a database, which would go out with the model."""
    return shlex.join(["selector", *(without_password(word) for word in sys.argv[1:])])


def _bytes(gigabytes: float) -> int:
    if not math.isfinite(gigabytes):
        raise InvalidInput(f"--cache-gb {gigabytes}: a number of gigabytes")
    return int(gigabytes * 1024**3)


def _pixels(text: str | None) -> tuple[int, ...]:
    names = _names(text)
    wrong = [name for name in names if not name.isdigit()]
    if wrong:
        raise InvalidInput(f"--resolution {', '.join(wrong)}: whole numbers of pixels, with commas between")
    return tuple(int(name) for name in names)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()
