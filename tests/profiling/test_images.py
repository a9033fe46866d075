import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selector.backbones import catalog
from selector.errors import InvalidInput
from selector.profiling import images
from selector.profiling.images import MOST, SYNTHETIC, ImageSet, files_of, synthetic
from selector.profiling.material import Material

BACKBONE = "tf_efficientnet_lite0"  # mean and deviation 0.5: pixels 0…1 become −1…1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(10):
        place = tmp_path / f"class_{i % 2}"
        place.mkdir(exist_ok=True)
        Image.new("L" if i % 2 else "RGB", (60 + i, 50), 25 * i if i % 2 else (25 * i,) * 3).save(place / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_synthetic_images_are_the_same_each_time_and_differ_between_purposes() -> None:
    sets = [ImageSet("calibration"), ImageSet("calibration"), ImageSet("agreement")]
    first, again, other = (np.stack(list(s.each(BACKBONE, 48))) for s in sets)
    assert first.shape == (SYNTHETIC["calibration"], 3, 48, 48)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert sets[0].digest == sets[1].digest != sets[2].digest


def test_synthetic_images_fall_off_with_frequency_as_photographs_do() -> None:
    made = np.stack(list(synthetic(16, 128, seed=0)))
    assert made.min() >= 0
    assert made.max() <= 1
    power = (np.abs(np.fft.fft2(made - made.mean(axis=(2, 3), keepdims=True))) ** 2).mean(axis=(0, 1))
    along = np.arange(4, 40)
    slope = np.polyfit(np.log(along), np.log(power[0, 4:40]), 1)[0]
    assert -2.8 < slope < -1.2  # amplitude 1/f: power 1/f²


def test_a_folders_images_serve_one_purpose_each(folder: Path) -> None:
    calibration, agreement = ImageSet("calibration", str(folder)), ImageSet("agreement", str(folder))
    assert (calibration.count, agreement.count) == (2, 8)
    values = [float(image.mean()) for s in (calibration, agreement) for image in s.each(BACKBONE, 32)]
    expected = sorted(25 * i / 255 * 2 - 1 for i in range(10))  # each image once, normalised
    assert sorted(values) == pytest.approx(expected, abs=1e-5)
    assert str(folder) in str(calibration)
    assert calibration.digest in str(calibration)


def test_the_digest_follows_the_content(folder: Path) -> None:
    before = ImageSet("agreement", str(folder)).digest
    for file in folder.rglob("*.png"):
        Image.new("RGB", (50, 50), (7, 7, 7)).save(file)
    images._digest.cache_clear()
    assert ImageSet("agreement", str(folder)).digest != before


def test_images_are_normalised_as_the_backbone_was_trained(folder: Path) -> None:
    how = catalog.backbone("resnet18").preprocessing
    (folder / "only").mkdir()
    for i in range(2):
        Image.new("RGB", (80, 80), (255, 255, 255)).save(folder / "only" / f"{i}.png")
    (image,) = ImageSet("agreement", str(folder / "only")).each("resnet18", 32)
    np.testing.assert_allclose(image[:, 5, 5], (1 - np.array(how.mean)) / np.array(how.std), rtol=1e-5)


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        next(ImageSet("agreement", str(tmp_path / "nowhere")).each(BACKBONE, 32))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds 0 images"):
        files_of(str(tmp_path / "empty"), ())
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no png")
    assert len(faults_of(tmp_path)) == 4
    with pytest.raises(InvalidInput, match="cannot be read as an image"):
        next(ImageSet("agreement", str(tmp_path)).each(BACKBONE, 32))


def faults_of(folder: Path) -> list[str]:
    """What is told of the images of both sets before the work."""
    try:
        Material(images=folder).check((), ("int8-static",))
    except InvalidInput as error:
        return list(error.faults)
    return []


def damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Spoils files of a folder, each in a way of its own, and tells their names."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    noise.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-4000])
    noise.save(folder / "chunk.png")
    whole = bytearray((folder / "chunk.png").read_bytes())
    last = whole.rfind(b"IDAT")
    whole[last : last + 4] = bytes(4)  # no chunk's name, which Pillow calls a SyntaxError
    (folder / "chunk.png").write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    Image.new("RGB", (400, 300)).save(folder / "bomb.png")  # more than twice as many
    (folder / "memory.png").symlink_to("/proc/self/mem")  # it is there, and reading it is an error of the disk
    return {"cut.jpg", "chunk.png", "bomb.png", "memory.png"}


def test_each_damaged_image_is_named_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults_of(folder) == []
    images._chosen.cache_clear()
    names = damage(folder, monkeypatch)
    with pytest.raises(InvalidInput) as caught:
        Material(weights=folder / "nowhere", images=folder).check(("resnet18",), ("int8-static",))
    first, *faults = caught.value.faults
    assert "nowhere" in first
    assert {Path(fault.partition(" cannot be read as an image: ")[0]).name for fault in faults} == names
    for fault in faults:
        with pytest.raises(InvalidInput, match="cannot be read as an image"):
            images._decoded(Path(fault.partition(" cannot")[0]))  # the quick look finds what the reading finds


@pytest.mark.parametrize(
    ("precisions", "sets"),
    [
        (("fp32",), ()),
        (("fp32", "int8-dynamic"), ("agreement",)),
        (("amp",), ("agreement",)),
        (("fp32", "int8-static"), ("calibration", "agreement")),
    ],
)
def test_only_images_that_a_precision_needs_are_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, precisions: tuple[str, ...], sets: tuple[images.Role, ...]
) -> None:
    decoded: list[Path] = []
    read = images._decoded
    monkeypatch.setattr(images, "_decoded", lambda file, **how: decoded.append(file) or read(file, **how))
    told: list[tuple[int, int]] = []
    Material(images=folder).check(("resnet18",), precisions, lambda done, of: told.append((done, of)))
    assert decoded == files_of(str(folder), sets)
    assert told == [(done, len(decoded)) for done in range(len(decoded))]
    assert len(files_of(str(folder), MOST)) == 10
    with pytest.raises(InvalidInput, match="does not exist"):  # the folder itself is looked at in any case
        Material(images=folder / "nowhere").check(("resnet18",), precisions)


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import psutil
from PIL import Image
from selector.backbones import catalog
from selector.profiling import forks, images
from selector.profiling.material import Material

folder = Path(sys.argv[1])
for name in "ab":
    Image.new("L", (9000, 9000)).save(folder / f"{name}.png", compress_level=1)
catalog.backbone("resnet18")
room = psutil.Process().memory_info().vms + (100 << 20)  # an image in RGB takes 324 MB
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for look in (
    lambda: Material(images=folder).check((), ("int8-static",)),
    lambda: next(images.ImageSet("agreement", str(folder)).each("resnet18", 32)),
):
    try:
        look()
    except Exception as error:
        print(forks.classify_error(error)[0])
"""


def test_an_image_for_which_there_is_no_memory_is_not_at_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["out-of-memory"] * 2), done.stderr


def test_weights_that_cannot_be_read_are_named_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").symlink_to("/proc/self/mem")
    (tmp_path / "resnet34.pth").write_bytes(b"weights")
    with pytest.raises(InvalidInput) as caught:
        Material(weights=tmp_path).check(("resnet18", "resnet34"), ("fp32",))
    (fault,) = caught.value.faults
    assert fault.startswith(f"the weights of resnet18 in '{tmp_path}' cannot be read: ")
