import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from selector.cli.main import main
from selector.cli.profile import pace_note, slower_note
from selector.cli.profile_grid import read_grid
from selector.evidence.store import open_store
from selector.hardware.machine import detect
from selector.profiling import runtimes
from selector.profiling.jobs import InferenceJob
from selector.profiling.machine_state import SLOWER_STATE
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import Sensitivity
from selector.profiling.results import Scribe
from selector.profiling.runtimes.export import recipe

FAKES = Path(__file__).parents[1] / "profiling"
BACKBONES = ("resnet18", "resnet26", "resnet34", "resnet50")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with model files for runtimes that never look at them, and those runtimes."""
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setitem(runtimes.RUNTIMES, "nothing", "fake_runtimes:Fake")
    monkeypatch.setitem(runtimes.RUNTIMES, "misfortune", "fake_runtimes:Misfortune")
    for name in BACKBONES:
        place = recipe("weights", name, resolution=224).path
        place.parent.mkdir(parents=True)
        place.touch()
    return tmp_path / "home"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def profile(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["selector", "profile", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return profile


def test_the_document_keeps_its_contract(run: Run, tmp_path: Path) -> None:
    code, out, err = run("resnet18", "resnet50", "--runtime", "nothing", "--json", "-o", tmp_path / "p.json", "--quiet")
    assert code == 0
    assert err == ""
    document = json.loads(out)
    assert document == json.loads((tmp_path / "p.json").read_text())
    assert document["schema_version"] == 1
    assert document["complete"]
    assert 0 < document["timed_s"] < document["wall_s"]
    assert document["failures"] == []
    (pace,) = document["paces"]
    assert pace["read_by"] == "workloads that compute and move data"
    assert len(pace["reference_ms"]) == len(pace["workloads"]) == 2
    assert pace["kept"] is None or Path(pace["kept"]).exists()  # kept where a window was left alone
    assert document["states"] == []  # nothing tells this runtime's
    wanted = "backbone freeze runtime precision resolution batch_size threads metric value low high unit n stable"
    for record in document["records"]:
        assert set(record) >= set(wanted.split()) | {"provenance", "source", "fingerprint"}
        assert record["provenance"] == "measured"
    assert {r["backbone"] for r in document["records"]} == {"resnet18", "resnet50"}
    with open_store() as store:
        assert len(store.records()) == len(document["records"])
        assert store.environment(document["records"][0]["fingerprint"]) == document["environment"]


def test_a_person_sees_a_table(run: Run) -> None:
    code, out, err = run("resnet18", "--runtime", "nothing")
    assert code == 0
    assert "resnet18" in out
    assert "p50" in out
    assert "figures are in the evidence store" in err
    assert "of it outside timed work" in " ".join(err.split())


def test_each_gauge_that_was_read_is_told_with_its_reference() -> None:
    read = {"session_ms": (0.11, 0.3), "reference_ms": (0.1, 0.3), "reference_at": "2026-11-01T09:00:00+00:00"}
    blocks = {**read, "read_by": "two blocks on 2 threads", "kept": "/home/x/b.json"}
    told = pace_note([{**read, "read_by": "workloads", "kept": None}, {**blocks, "session_ms": None}, blocks])
    assert told is not None
    assert "workloads take 1.10 and 1.00 times as long now as then (reference of 2026-11-01, not kept)" in told
    assert told.count("two blocks on 2 threads take 1.10 and 1.00 times as long now as then") == 1
    assert "(reference of 2026-11-01, in /home/x/b.json)" in told
    assert pace_note([{**blocks, "session_ms": None}]) is None
    assert pace_note([]) is None


def test_a_slower_state_is_told_with_what_to_do() -> None:
    states = [{"read_by": "a block", "fastest_ms": 0.24, "kept": "/home/x/state.json"}]
    own = OwnPace((0.1,), Sensitivity((0.4,), ((0.0,),)), 10.0, None, reference=(0.1,))
    figure = Measurement(10.0, 9.9, 10.1, None, 70, 9, 9, False, f"{SLOWER_STATE} (1.67 times)", pace=own)
    slow = Scribe("0123456789ab").records(InferenceJob("resnet18", "onnxruntime", "fp32", 224, 2), "1", figure)
    told = slower_note(slow, states)
    assert told is not None
    assert told.startswith("1 latencies are of a slower state of the machine")
    assert told.endswith("remove /home/x/state.json")
    assert slower_note(slow, []) is None
    assert slower_note([], states) is None


def test_where_nothing_was_measured_it_says_so_with_5(run: Run) -> None:
    code, out, err = run("resnet18", "resnet26", "--runtime", "misfortune", "--json", "--quiet")
    assert code == 5
    outcomes = {f["job"]["backbone"]: f["outcome"] for f in json.loads(out)["failures"]}
    assert outcomes == {"resnet18": "out-of-memory", "resnet26": "crashed"}
    assert all({"what", "outcome", "detail"} <= set(f) for f in json.loads(out)["failures"])
    assert "nothing was measured" in err


def test_some_that_fail_beside_others_are_counted_and_no_failure_of_the_run(run: Run) -> None:
    code, out, err = run("resnet18", "resnet50", "--runtime", "misfortune")
    assert code == 0
    assert "resnet50" in out
    assert "resnet18 · misfortune fp32 · 224 px" in err
    assert "configurations that failed, as said above: 1 of 2" in " ".join(err.split())


def test_a_vgg_is_measured_below_its_own_resolution_through_onnx(run: Run) -> None:
    code, out, err = run("vgg11", "--runtime", "onnxruntime", "--resolution", 32, "--json", "--quiet")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["failures"] == []
    assert {r["resolution"] for r in document["records"] if r["metric"] == "latency_ms_p50"} == {32}


def test_all_faults_of_the_request_at_once(run: Run) -> None:
    code, _, err = run("resnet81", "--runtime", "onnx", "--freeze", "last-x", "--threads", "a", "--resolution", "7")
    assert code == 2
    for part in ("did you mean 'resnet18'", "no runtime 'onnx'", "'last-x'", "--threads: 'a'", "resolution 7"):
        assert part in err


def test_faults_of_weights_and_images_are_told_with_those_of_the_grid(run: Run, tmp_path: Path) -> None:
    code, _, err = run("resnet81", "resnet18", "--weights", tmp_path / "w", "--images", tmp_path / "i", "--threads", 0)
    assert code == 2
    assert len(err.splitlines()) == 4
    for part in ("no backbone 'resnet81'", "0 threads", f"{tmp_path / 'w'}", f"{tmp_path / 'i'}"):
        assert part in err


def test_images_are_read_where_a_precision_needs_them(run: Run, tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no png")
    for precision, runtime, faults in (
        ("fp32", "onnx", 1),
        ("fp32,bf16", "onnx", 4),
        ("fp32,int8-static", "onnx", 5),
        ("fp32", "onnx,onnxruntime:int8-static", 5),
    ):
        # the runtime is a fault of its own, so that nothing is measured
        code, _, err = run("resnet18", "--runtime", runtime, "--precision", precision, "--images", tmp_path)
        assert (code, len(err.splitlines())) == (2, faults)
        assert err.count("cannot be read as an image") == faults - 1


def test_options_that_name_nothing_are_told(run: Run) -> None:
    code, _, err = run("resnet18", "--runtime", "", "--precision", ",", "--threads", "", "--freeze", " ")
    assert code == 2
    assert [line.split()[1] for line in err.splitlines()] == ["--runtime", "--precision", "--freeze", "--threads"]


def test_what_is_named_twice_is_measured_once(run: Run) -> None:
    once = ("resnet18", "--runtime", "nothing", "--threads", "1", "--precision", "fp32", "--resolution", "224")
    twice = ("resnet18", "resnet18", "--runtime", "nothing,nothing", "--threads", "1, 1", "--precision", "fp32,fp32")
    documents = []
    for arguments in (once, (*twice, "--resolution", "224,224")):
        code, out, _ = run(*arguments, "--json", "--quiet")
        assert code == 0
        documents.append(json.loads(out))
    medians = [[r for r in d["records"] if r["metric"] == "latency_ms_p50"] for d in documents]
    assert [len(found) for found in medians] == [1, 1]


def test_a_p90_of_every_model_is_asked_for(run: Run) -> None:
    code, out, _ = run("resnet18", "--runtime", "nothing:fp32", "--p90", "--json", "--quiet")
    assert code == 0
    assert "latency_ms_p90" in {r["metric"] for r in json.loads(out)["records"]}
    code, _, err = run("resnet18", "--by-block", "--p90", "--runtime", "nothing:fp32")
    assert code == 2
    assert "--by-block does not go with --p90" in err


def test_a_freeze_depth_that_is_named_twice_is_one() -> None:
    grid = read_grid(
        ["resnet18"], False, None, ["torch-eager"], "fp32", "head,HEAD,none,head", 8, "64,64", "1,1", False, detect()
    )
    assert [depth.name for depth in grid.freezes] == ["head", "none"]
    assert (grid.resolutions, grid.threads) == ((64,), (1,))


def test_no_backbone_is_bad_input(run: Run) -> None:
    code, _, err = run()
    assert code == 2
    assert "--all" in err


@pytest.mark.parametrize("group", [("--all",), ("--family", "vgg"), ("--all", "--family", "vgg")])
def test_names_beside_a_group_are_refused(run: Run, group: tuple[str, ...]) -> None:
    code, out, err = run("resnet18", *group, "--runtime", "nothing")
    assert (code, out) == (2, "")
    assert err == f"selector: name backbones or ask for {group[0]}, not both\n"


def test_a_family_is_measured_whole(run: Run) -> None:
    code, _, err = run("--family", "vgg,resnest", "--runtime", "nothing", "--resolution", "3")
    assert code == 2
    assert "'resnest' is not allowed" in err
    code, _, err = run("--family", "resnest", "--runtime", "nothing")
    assert (code, len(err.splitlines())) == (2, 1)


def test_an_unwritable_output_is_told_before_the_work(run: Run, home: Path, tmp_path: Path) -> None:
    code, _, err = run("resnet18", "--runtime", "nothing", "-o", tmp_path / "missing" / "p.json")
    assert code == 1
    assert "cannot write" in err
    with open_store() as store:
        assert store.records() == []


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    script = (
        # of whom a shell started in the background children ignore it
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import fake_runtimes; from selector.profiling import runtimes; "
        "runtimes.RUNTIMES['misfortune'] = 'fake_runtimes:Misfortune'; "
        "from selector.cli.main import main; main()"
    )
    output = tmp_path / "p.json"
    # resnet34 hangs while it is loaded, after resnet50's first figures are finished
    arguments = ["profile", "resnet50", "resnet34", "--runtime", "misfortune", "-o", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if output.exists() and json.loads(output.read_text())["records"]:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; 4 finished figures are in the store" in err
    with open_store() as store:
        assert len(store.records()) == 4
    document = json.loads(output.read_text())
    assert not document["complete"]
    assert len(document["records"]) == 4


def test_lossy_precisions_carry_their_agreement_on_the_users_weights_and_images(run: Run, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image
    from safetensors.torch import save_file

    from selector.profiling import models

    small = "mobilenetv3_small_050"
    weights, images = tmp_path / "weights", tmp_path / "images"
    weights.mkdir()
    images.mkdir()
    save_file(dict(models.create(small, seed=3).state_dict()), str(weights / f"{small}.safetensors"))
    random = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(random.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(images / f"{i}.png")
    arguments = (small, "--runtime", "onnxruntime", "--precision", "fp32,int8-static", "--resolution", 64, "--json")
    code, out, _ = run(*arguments, "--quiet", "--weights", weights, "--images", images)
    assert code == 0
    records = json.loads(out)["records"]
    found = {(r["precision"], r["metric"]): r for r in records}
    for metric in ("agreement_top1", "cosine_logits"):
        record = found["int8-static", metric]
        assert 0 < record["value"] <= 100
        assert record["n"] == 8  # the other two are for calibration
        assert "compared with torch-eager fp32 on 8 of" in record["source"]
        assert "calibrated on 2 of" in record["source"]
        assert ("fp32", metric) not in found
    assert found["int8-static", "cosine_logits"]["value"] < 1
    assert all(f"weights of {small}.safetensors (sha256 " in r["source"] for r in records)
    assert found["int8-static", "artifact_bytes"]["value"] < found["fp32", "artifact_bytes"]["value"] / 2


def test_missing_weights_and_images_are_told_together(run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    code, _, err = run(
        "resnet18", "--runtime", "nothing", "--weights", tmp_path / "weights", "--images", tmp_path / "nowhere"
    )
    assert code == 2
    assert "has no file resnet18" in err
    assert "does not exist" in err
