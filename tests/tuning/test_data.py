import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from selector.errors import InvalidInput
from selector.tuning.data.dataset import load_dataset
from selector.tuning.data.images import UnreadableImage, inspect, read_rgb
from selector.tuning.data.split import Split, join_units, stratified
from selector.tuning.data.told import sentences
from selector.tuning.jobs.common import save_dataset


def picture(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def fill(folder: Path, first: int, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        picture(seed).save(folder / f"{seed}.png")


class TestImages:
    def test_an_exif_rotated_image_is_turned_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture(0).save(tmp_path / "a.png", exif=exif)
        facts = inspect(tmp_path / "a.png")
        assert (facts.width, facts.height) == (16, 20)
        assert facts.handled == ("EXIF rotation",)
        assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.png")), np.rot90(np.asarray(picture(0)), -1))

    def test_sixteen_bits_are_scaled_and_not_clipped(self, tmp_path: Path) -> None:
        ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
        Image.fromarray(ramp).save(tmp_path / "a.png")
        rgb = np.asarray(read_rgb(tmp_path / "a.png"))
        assert np.array_equal(rgb[..., 0].ravel(), np.arange(256))

    def test_integers_whose_range_is_not_known_are_refused(self, tmp_path: Path) -> None:
        ramp = np.arange(256, dtype=np.int32).reshape(16, 16)
        for name, values in {"eight": ramp, "wide": ramp * 1000, "negative": ramp - 9}.items():
            Image.fromarray(values).save(tmp_path / f"{name}.tif")
            with pytest.raises(UnreadableImage, match=f"from {values.min()} to {values.max()}, whose range is unknown"):
                inspect(tmp_path / f"{name}.tif")
        Image.fromarray(ramp * 257).save(tmp_path / "sixteen.tif")
        assert np.array_equal(np.asarray(read_rgb(tmp_path / "sixteen.tif"))[..., 0].ravel(), np.arange(256))
        dark = f"P5 16 16 {2**16 - 1}\n".encode() + ramp.astype(">u2").tobytes()
        (tmp_path / "dark.pgm").write_bytes(dark)  # the file says how deep it is
        assert inspect(tmp_path / "dark.pgm").largest_of_16 == 255

    @pytest.mark.parametrize("mode", ["CMYK", "P", "L", "LA", "RGBA", "1", "YCbCr"])
    def test_every_mode_becomes_rgb(self, tmp_path: Path, mode: str) -> None:
        suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
        picture(0).convert("L").convert("RGB").convert("L" if mode == "LA" else mode).convert(mode).save(
            tmp_path / f"a.{suffix}"
        )
        assert read_rgb(tmp_path / f"a.{suffix}").mode == "RGB"

    def test_transparency_lies_on_white(self, tmp_path: Path) -> None:
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
        assert np.asarray(read_rgb(tmp_path / "a.png")).min() == 255

    def test_of_an_animation_the_first_frame_is_taken(self, tmp_path: Path) -> None:
        red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
        red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
        assert read_rgb(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)
        assert "animated" in inspect(tmp_path / "a.gif").handled

    def test_what_cannot_be_read_says_why(self, tmp_path: Path) -> None:
        picture(0, (200, 200)).save(tmp_path / "whole.jpg")
        (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
        (tmp_path / "text.png").write_text("not an image")
        (tmp_path / "empty.png").write_bytes(b"")
        Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
        Image.new("F", (9, 9)).save(tmp_path / "float.tif")
        for name, says in {
            "cut.jpg": "damaged",
            "text.png": "not an image",
            "empty.png": "not an image",
            "dot.png": "1×1 pixels",
            "float.tif": "floating point",
        }.items():
            with pytest.raises(UnreadableImage, match=says):
                inspect(tmp_path / name)

    def test_the_same_picture_in_two_formats_has_one_digest(self, tmp_path: Path) -> None:
        picture(0).save(tmp_path / "a.png")
        picture(0).save(tmp_path / "b.bmp")
        assert inspect(tmp_path / "a.png").digest == inspect(tmp_path / "b.bmp").digest


class TestDataset:
    def test_a_folder_with_all_sorts_of_faults_loses_nothing_good(self, tmp_path: Path) -> None:
        fill(tmp_path / "猫", 0, 10)
        fill(tmp_path / "狗", 100, 10)
        (tmp_path / "空").mkdir()
        fill(tmp_path / "single", 200, 1)
        for i in range(3):
            (tmp_path / "猫" / f"坏{i}.png").write_bytes(b"broken")
        Image.new("RGB", (1, 1)).save(tmp_path / "狗" / "点.png")
        (tmp_path / "狗" / "notes.txt").write_text("hello")
        data = load_dataset(tmp_path)
        assert data.classes == ("single", "狗", "猫")
        assert len(data.samples) == 21
        assert sorted(Path(item.path).name for item in data.left_out) == sorted(
            ["坏0.png", "坏1.png", "坏2.png", "点.png", "notes.txt"]
        )
        assert any("'空' has no usable image" in note for note in data.notes)
        assert any("'single' has 1 image" in note for note in data.notes)
        assert sentences(data)[0].startswith("21 images in 3 classes (single 1, 狗 10, 猫 10)")
        assert sentences(data)[0].endswith("the largest class has 10 × the images of the smallest")
        assert any("坏0.png: not an image that can be read" in sentence for sentence in sentences(data))
        assert [s.split for s in data.samples if data.classes[s.label] == "single"] == [Split.TRAIN]

    def test_too_little_is_refused_with_every_reason(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 5)
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "x.png").write_bytes(b"")
        with pytest.raises(InvalidInput) as error:
            load_dataset(tmp_path)
        assert "two classes" in str(error.value)
        assert "x.png" in str(error.value)
        with pytest.raises(InvalidInput, match="does not exist"):
            load_dataset(tmp_path / "nowhere")

    def test_the_split_is_stratified_seeded_and_whole(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 50)
        fill(tmp_path / "b", 100, 10)
        one, again, other = load_dataset(tmp_path), load_dataset(tmp_path), load_dataset(tmp_path, seed=1)
        assert one.summary().counts == {
            "a": {"train": 30, "validation": 10, "test": 10},
            "b": {"train": 6, "validation": 2, "test": 2},
        }
        assert one.summary().imbalance == 5
        assert one.split_digest == again.split_digest != other.split_digest
        assert one.digest == other.digest

    def test_splits_that_nothing_can_be_learned_from_are_refused(self, tmp_path: Path) -> None:
        fill(tmp_path / "i", 0, 12)
        rows = [(f"i/{i}.png", "ab"[i % 2]) for i in range(12)]
        table = tmp_path / "t.csv"
        table.write_text("path,label,group\n" + "".join(f"{path},{label},g\n" for path, label in rows))
        with pytest.raises(InvalidInput, match="left for the test split") as error:
            load_dataset(table)
        assert len(error.value.faults) == 3
        table.write_text("path,label,split\n" + "".join(f"{path},{label},test\n" for path, label in rows))
        with pytest.raises(InvalidInput, match="left for the train split"):
            load_dataset(table)
        split = {"a": "train", "b": "test"}
        table.write_text("path,label,split\n" + "".join(f"{path},{label},{split[label]}\n" for path, label in rows))
        with pytest.raises(InvalidInput, match="holds one class alone, a"):
            load_dataset(table)

    def test_given_splits_that_are_weaker_than_they_look_are_told(self, tmp_path: Path) -> None:
        fill(tmp_path / "i", 0, 30)
        rows = [(i, "abc"[i % 3], ("train", "test", "val")[i // 10]) for i in range(30)]
        lines = [f"i/{i}.png,{label},{split},g{i % 10}" for i, label, split in rows if (label, split) != ("c", "train")]
        (tmp_path / "t.csv").write_text("path,label,split,group\n" + "\n".join(lines))
        notes = " ".join(load_dataset(tmp_path / "t.csv").notes)
        assert "no image of c is trained on" in notes
        assert "10 groups lie in more than one of the given splits" in notes

    def test_images_beside_the_class_folders_are_named(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 5)
        fill(tmp_path / "b", 50, 5)
        picture(99).save(tmp_path / "stray.png")
        (item,) = load_dataset(tmp_path).left_out
        assert (Path(item.path).name, item.why) == ("stray.png", "lies in no class's folder")

    def test_copies_of_a_picture_lie_in_one_split(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 20)
        fill(tmp_path / "b", 100, 20)
        for i in range(6):
            picture(0).save(tmp_path / "a" / f"copy{i}.bmp")
        data = load_dataset(tmp_path)
        splits: dict[str, set[Split]] = {}
        for sample in data.samples:
            splits.setdefault(sample.digest, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values())
        assert any("6 exact duplicates" in note for note in data.notes)

    def test_the_users_own_split_is_kept_and_copies_leave_the_training(self, tmp_path: Path) -> None:
        for split, first in (("train", 0), ("val", 50), ("test", 70)):
            fill(tmp_path / split / "a", first, 8)
            fill(tmp_path / split / "b", first + 200, 8)
        picture(70).save(tmp_path / "train" / "a" / "leak.png")
        data = load_dataset(tmp_path)
        assert {s: len(data.positions(s)) for s in Split} == {Split.TRAIN: 16, Split.VALIDATION: 16, Split.TEST: 16}
        assert [Path(item.path).name for item in data.left_out] == ["leak.png"]

    def test_fewer_bits_in_sixteen_are_told(self, tmp_path: Path) -> None:
        def save(name: str, seed: int, largest: int) -> None:
            (tmp_path / name).mkdir(exist_ok=True)
            values = np.random.default_rng(seed).integers(0, largest, (16, 20), endpoint=True, dtype=np.uint16)
            values[0, 0] = largest
            Image.fromarray(values).save(tmp_path / name / f"{seed}.png")

        for seed in range(12):
            save("ab"[seed % 2], seed, 4095 if seed else 2000)
        (note,) = [n for n in load_dataset(tmp_path).notes if "too dark" in n]
        assert "no value of 12 images is above 4095, as of 12 bits in 16: they are seen 16 times" in note
        save("a", 12, 40_000)
        assert not [n for n in load_dataset(tmp_path).notes if "too dark" in n]

    def test_what_an_archive_leaves_beside_the_splits_is_no_class(self, tmp_path: Path) -> None:
        for first, split in ((0, "train"), (50, "val"), (70, "test")):
            fill(tmp_path / split / "a", first, 8)
            fill(tmp_path / split / "b", first + 200, 8)
        (tmp_path / "__MACOSX" / "train" / "a").mkdir(parents=True)
        (tmp_path / "__MACOSX" / "train" / "a" / "._0.png").write_bytes(b"fork")
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / "readme.txt").write_text("hello")
        data = load_dataset(tmp_path)
        assert data.classes == ("a", "b")
        assert len(data.positions(Split.TEST)) == 16
        assert [Path(item.path).name for item in data.left_out] == ["readme.txt"]
        fill(tmp_path / "calibration", 900, 3)
        with pytest.raises(InvalidInput, match=r"holds test, train, val with folders .* beside them images in calibra"):
            load_dataset(tmp_path)

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        for first, name in ((0, "train"), (50, "bus"), (70, "car")):
            fill(tmp_path / name, first, 5)
        assert load_dataset(tmp_path).classes == ("bus", "car", "train")
        (tmp_path / "two").mkdir()
        for split in ("val", "test"):
            (tmp_path / "two" / split).mkdir()
            fill(tmp_path / "two" / split / "a", 0, 4)
        with pytest.raises(InvalidInput, match=r"holds test, val with folders .* and no train"):
            load_dataset(tmp_path / "two")

    def test_a_class_that_is_not_tested_is_named(self, tmp_path: Path) -> None:
        fill(tmp_path / "i", 0, 40)
        lines = [f"i/{i}.png,{'abc'[i % 3]},{'one' if i % 3 == 2 else f'g{i}'}" for i in range(40)]
        (tmp_path / "t.csv").write_text("path,label,group\n" + "\n".join(lines))
        notes = [n for n in load_dataset(tmp_path / "t.csv").notes if "classes alone" in n]
        assert [note.split(":")[0] for note in notes] == [
            "no image of c is in the validation split",
            "no image of c is in the test split",
        ]
        assert all(note.endswith("over the other 2 of 3 classes alone") for note in notes)

    def test_names_that_are_not_utf8_are_told_and_cost_no_search(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 6)
        fill(tmp_path / "b", 50, 6)
        strange = os.fsencode(tmp_path / "a") + b"/" + "完好.png".encode("gbk")
        os.rename(tmp_path / "a" / "0.png", strange)
        data = load_dataset(tmp_path)
        (item,) = data.left_out
        assert item.path.endswith(r"a/\udccd\udcea\udcba\udcc3.png")
        assert "as GBK it reads '完好.png'; rename it" in item.why
        save_dataset(data, tmp_path / "data.json")
        assert len(json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))["samples"]) == 11
        os.rename(tmp_path / "b", os.fsencode(tmp_path) + b"/" + "缺陷".encode("gbk"))
        with pytest.raises(InvalidInput, match=r"class folder .*udccf.*as GBK it reads '缺陷'"):
            load_dataset(tmp_path)
        with pytest.raises(InvalidInput, match="its name is not UTF-8"):
            load_dataset(Path(os.fsdecode(strange)).parent / os.fsdecode(b"\xff\xff"))

    def test_a_picture_under_two_labels_is_told(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", 0, 5)
        fill(tmp_path / "b", 0, 5)
        assert any("different labels" in note for note in load_dataset(tmp_path).notes)

    def test_tables_with_split_and_group(self, tmp_path: Path) -> None:
        fill(tmp_path / "images", 0, 60)
        rows = [{"path": f"images/{i}.png", "label": "ab"[i % 2], "group": f"g{i // 6}"} for i in range(60)]
        with (tmp_path / "t.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "label", "group"])
            writer.writeheader()
            writer.writerows(rows)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
        data = load_dataset(tmp_path / "t.csv")
        assert load_dataset(tmp_path / "t.parquet").split_digest == data.split_digest
        for group in range(10):
            assert len({s.split for s in data.samples[group * 6 : group * 6 + 6]}) == 1
        assert all(len(data.positions(split)) >= 6 for split in Split)

    def test_faults_of_a_table_are_told_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("path,label,split\na.png,,train\n,b,\nc.png,b,dev\n")
        with pytest.raises(InvalidInput) as error:
            load_dataset(tmp_path / "t.csv")
        assert len(error.value.faults) == 3
        (tmp_path / "semicolons.csv").write_text("path;label\na.png;a\n")
        with pytest.raises(InvalidInput, match="separate columns with commas"):
            load_dataset(tmp_path / "semicolons.csv")
        (tmp_path / "gone.csv").write_text("path,label\na.png,a\n")
        with pytest.raises(InvalidInput, match=r"gone.csv has 0 usable images[^$]*a.png: no such file"):
            load_dataset(tmp_path / "gone.csv")
        (tmp_path / "u.csv").write_text("file,label\n")
        with pytest.raises(InvalidInput, match="no column 'path'; it has file, label"):
            load_dataset(tmp_path / "u.csv")


def test_units_join_over_any_shared_key() -> None:
    units = join_units(["g", None, "g", None], ["x", "y", "z", "y"])
    assert units[0] == units[2] != units[1] == units[3]


def test_no_class_lacks_a_split_that_it_can_fill() -> None:
    labels = [0] * 100 + [1] * 3 + [2] * 2
    fractions = {Split.TRAIN: 0.8, Split.VALIDATION: 0.1, Split.TEST: 0.1}
    splits = stratified(labels, list(range(105)), fractions, seed=0)
    assert set(splits[100:103]) == set(Split)
    assert set(splits[103:]) == {Split.TRAIN, Split.TEST}
    assert splits[:100].count(Split.TRAIN) == 80
