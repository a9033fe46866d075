"""Loading of profiles: which file wins, and what is said about a broken one."""

from pathlib import Path

import pytest

from selector.errors import InvalidInput, InvalidProfile, UnknownName
from selector.hardware.loading import list_profiles, load_profiles, profile, profile_files, reference_device

GOOD = """
name = "{name}"
kind = "device"
title = "My board"
title_zh = "我的开发板"
device_kind = "board"

[specification]
cores = {{ value = 4, source = "its data sheet" }}
power_w = {{ unknown = "not stated" }}

[[runtimes]]
name = "onnxruntime"
precisions = ["fp32"]

[[published]]
metrics = ["latency_ms_p50", "latency_ms_p90"]
runtime = "onnxruntime"
version = "1.20"
precision = "fp32"
batch_size = 1
threads = 4
source = "my bench, {{}}.log"
figures = [
    ["resnet50", 224, 100.0, 110.0, "r50"],
    ["resnet18", 224, 50, 55, "r18"],
]
"""

BROKEN = """
name = "other"
kind = "device"
title = ""
device_kind = "toaster"
colour = "red"
reference_devices = ["raspberry-pi-4"]

[specification]
bandwith_gb_s = { value = 12.8, source = "its data sheet" }
memory_gb = { value = "4 GB", source = "its data sheet" }
power_w = { value = 5 }
cores = { value = -4, source = "its data sheet" }

[[runtimes]]
name = "onnxruntime"
precisions = ["int4"]

[[published]]
metrics = ["latency_ms_p50"]
runtime = "onnxruntime"
version = "1.20"
precision = "fp32"
batch_size = 8
source = "my bench"
figures = [
    ["resnet50", 224, 100.0, 110.0],
    ["resnet18", "224", 50.0],
    ["resnet34", 224],
    ["vgg16", 224, -1.0],
    ["vgg19", 224, nan],
    ["resnet18", "224", 50.0],
    ["vgg11", 224, 3.0, "log"],
]
"""


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_HARDWARE_PROFILES", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def write(folder: Path, name: str, text: str = GOOD) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text.replace("{name}", name).replace("{{", "{").replace("}}", "}"), encoding="utf-8")
    return path


def test_a_profile_of_the_users_is_read_whole(folder: Path) -> None:
    path = write(folder, "my-board")
    mine = profile("my-board", folder)
    assert mine.origin == str(path)
    assert mine.specified("cores") == 4
    assert mine.specified("power_w") is None
    assert [(f.metric, f.backbone, f.value, f.threads, f.source) for f in mine.published] == [
        ("latency_ms_p50", "resnet50", 100.0, 4, "my bench, r50.log"),
        ("latency_ms_p90", "resnet50", 110.0, 4, "my bench, r50.log"),
        ("latency_ms_p50", "resnet18", 50.0, 4, "my bench, r18.log"),
        ("latency_ms_p90", "resnet18", 55.0, 4, "my bench, r18.log"),
    ]


@pytest.mark.parametrize("how", ["argument", "variable", "home"])
def test_the_users_profile_wins_over_the_shipped_one(
    how: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert profile("raspberry-pi-4").title == "Raspberry Pi 4 Model B"
    argument = None
    if how == "argument":
        argument = folder
    elif how == "variable":
        monkeypatch.setenv("SELECTOR_HARDWARE_PROFILES", str(folder))
    else:
        folder = tmp_path / "home" / "hardware_profiles"
        folder.mkdir(parents=True)
    write(folder, "raspberry-pi-4")
    assert profile("raspberry-pi-4", argument).title == "My board"
    assert load_profiles(argument)["raspberry-pi-4"].title == "My board"
    assert profile("edge", argument).title == "Edge board", "shipped profiles are still there"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no hardware 'egde'; did you mean 'edge'.*selector hardware list"):
        profile("egde")
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        profile("locl")


def test_a_name_is_no_path(folder: Path) -> None:
    write(folder, "outside")
    (folder / "inside").mkdir()
    with pytest.raises(UnknownName):
        profile("../outside", folder / "inside")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no folder .*nowhere"):
        profile("edge", tmp_path / "nowhere")


def test_all_faults_of_a_broken_profile_are_told_at_once(folder: Path) -> None:
    path = write(folder, "broken", BROKEN)
    with pytest.raises(InvalidProfile) as caught:
        profile("broken", folder)
    faults = caught.value.faults
    assert all(fault.startswith(f"{path}: ") for fault in faults)
    told = "\n".join(fault.removeprefix(f"{path}: ") for fault in faults)
    for expected in (
        "name: is 'other', but the file is called broken.toml",
        "title: must not be empty",
        "title_zh: is missing",
        "device_kind: must be 'gpu', 'x86-cpu'",
        "colour: is not known here",
        "reference_devices: belongs to a class",
        "specification.bandwith_gb_s: is no item of a specification; did you mean 'bandwidth_gb_s'?",
        "specification.memory_gb.value: must be a number greater than 0, is '4 GB'",
        "specification.power_w: needs both value and source",
        "specification.cores.value: must be a number greater than 0, is -4",
        "runtimes[0].precisions[0]: must be 'fp32'",
        "published[0].batch_size: a latency is of batch 1",
        "published[0].figures[0]: has 2 values for 1 metrics",
        "published[0].figures[1].resolution: must be a valid integer, is '224'",
        "published[0].figures[2]: a row is [backbone, resolution, value, …]",
        "published[0].figures[3].values[0]: must be greater than 0, is -1.0",
        "published[0].figures[4].values[0]: must be a finite number, is nan",
        "published[0].figures[5]: states the figure of published[0].figures[1] again",
        "published[0].figures[6]: ends in a text, but the source has no {}",
    ):
        assert expected in told, told
    places = [fault.removeprefix(f"{path}: ").split(": ")[0] for fault in faults]
    assert len(places) == len(set(places)), "each thing that is wrong is told once"


@pytest.mark.parametrize("value", ["-4", "true", '"four"', '""', "[4]", "inf", "0"])
def test_a_value_that_does_not_fit_its_item_is_one_fault(folder: Path, value: str) -> None:
    path = write(folder, "my-board", GOOD.replace("value = 4,", f"value = {value},"))
    with pytest.raises(InvalidProfile) as caught:
        profile("my-board", folder)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}: specification.cores.value: must be a number greater than 0, is ")


def test_ids_that_name_nothing_are_refused_with_their_place_and_the_nearest(folder: Path) -> None:
    slips = GOOD.replace('runtime = "onnxruntime"', 'runtime = "onxruntime"').replace('["resnet18"', '["resnt18"')
    path = write(folder, "my-board", slips.replace('["resnet50"', '["my_net"'))
    with pytest.raises(InvalidProfile) as caught:
        profile("my-board", folder)
    assert caught.value.faults == (
        f"{path}: published[0].runtime: no runtime 'onxruntime'; did you mean 'onnxruntime'?",
        f"{path}: published[0].figures[0]: no backbone 'my_net'; `selector catalog` lists backbones",
        f"{path}: published[0].figures[1]: no backbone 'resnt18'; did you mean 'resnet18'?",
    )


def test_a_misspelt_or_repeated_offer_is_refused_and_a_new_runtime_is_not(folder: Path) -> None:
    offer = '[[runtimes]]\nname = "{}"\nprecisions = ["fp32"]\n\n[[published]]'
    path = write(folder, "slip", GOOD.replace("[[published]]", offer.format("openvion")))
    twice = write(folder, "twice", GOOD.replace("[[published]]", offer.format("onnxruntime")))
    for name, file, says in (
        ("slip", path, "no runtime 'openvion'; did you mean 'openvino'?"),
        ("twice", twice, "'onnxruntime' is offered above already"),
    ):
        with pytest.raises(InvalidProfile) as caught:
            profile(name, folder)
        assert caught.value.faults == (f"{file}: runtimes[1].name: {says}",)
    for new in ("ncnn", "tflite-npu"):
        text = GOOD.replace("[[published]]", offer.format(new)).replace('runtime = "onnxruntime"', f'runtime = "{new}"')
        write(folder, "new", text)
        assert {f.runtime for f in profile("new", folder).published} == {new}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"name = \n", r"not valid TOML at line 1, column \d+"),
        (b'name = "\xff"\n', "not valid TOML: byte 8 is not UTF-8"),
        (b"", "name: is missing"),
        (b"published = 3\nspecification = []\nruntimes = 'x'\nreference_devices = 1\n", "published: must be"),
        (
            b"[[published]]\nfigures = 'none'\nmetrics = 1\nsource = 2\n",
            r"published\[0\].figures: must be a valid list",
        ),
        (b"published = [1]\n", r"published\[0\]: must be a table"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(folder: Path, text: bytes, says: str) -> None:
    (folder / "bad.toml").write_bytes(text)
    with pytest.raises(InvalidProfile, match=says):
        profile("bad", folder)


def test_a_class_needs_limits_and_known_reference_devices(folder: Path) -> None:
    text = GOOD.replace('"device"', '"class"').replace(
        'device_kind = "board"', 'device_kind = "board"\nreference_devices = ["rasberry-pi-4"]'
    )
    write(folder, "my-class", text)
    with pytest.raises(InvalidProfile) as caught:
        profile("my-class", folder)
    told = str(caught.value)
    assert "limits: a class states its default limits and why" in told
    assert "reference_devices[0]: there is no profile 'rasberry-pi-4'; did you mean 'raspberry-pi-4'?" in told
    assert "published: belongs to a device" in told
    assert "specification: belongs to a device" in told


def test_a_class_is_no_reference_device(folder: Path) -> None:
    text = (
        'name = "mine"\nkind = "class"\ntitle = "Mine"\ntitle_zh = "我的"\ndevice_kind = "board"\n'
        'reference_devices = ["edge"]\n[limits]\nwhy = "so"\nwhy_zh = "如此"\n'
        '[[runtimes]]\nname = "onnxruntime"\nprecisions = ["fp32"]\n'
    )
    path = write(folder, "mine", text)
    with pytest.raises(InvalidProfile) as caught:
        reference_device(profile("mine", folder), folder)
    told = f"{path}: reference_devices[0]: 'edge' is a class; name a device, for example raspberry-pi-4"
    assert str(caught.value) == told


def test_the_name_local_is_taken(folder: Path) -> None:
    write(folder, "local")
    with pytest.raises(InvalidProfile, match='"local" is this machine'):
        load_profiles(folder)


def test_a_broken_profile_is_never_dropped_silently(folder: Path) -> None:
    good, broken = write(folder, "my-board"), write(folder, "edge", BROKEN)
    worse = folder / "worse.toml"
    worse.write_text("= 1", encoding="utf-8")
    with pytest.raises(InvalidProfile) as caught:
        load_profiles(folder)
    assert str(broken) in str(caught.value)
    assert str(worse) in str(caught.value)
    assert str(good) not in str(caught.value)
    listing = list_profiles(folder)
    assert set(listing.refused) == {broken, worse}
    assert "my-board" in listing.profiles
    assert "edge" not in listing.profiles, (
        "the shipped profile does not step in for the one that was meant to replace it"
    )


def test_one_name_reads_one_file(folder: Path) -> None:
    write(folder, "my-board")
    write(folder, "broken", BROKEN)
    assert profile("my-board", folder).name == "my-board"
    assert profile_files(folder)["broken"].parent == folder
