"""What an exported model answers to the test images; shared by the jobs that look at them."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selector.tuning.data.dataset import Sample
from selector.tuning.data.images import read_rgb
from selector.tuning.data.split import Split
from selector.tuning.jobs.common import Task
from selector.tuning.predict import Predictor

FEWEST = 16
"""Images that are answered however little time there is: a model is not handed over without a look at it."""


def samples_of_test(task: Task) -> list[Sample]:
    """The test images in an order of their own: the first of them stand for all where the time allows no more."""
    test = [s for s in task.dataset.samples if s.split == Split.TEST]
    return [test[i] for i in np.random.default_rng(0).permutation(len(test))]


def onnx_logits(
    folder: Path, precision: str, paths: Sequence[str], threads: int, *, until: float | None = None
) -> npt.NDArray[np.float32]:
    """Logits [n, views, classes] of the model in `folder`, images side by side on `threads` threads.

    Of fewer than there are paths, `FEWEST` at least, where the time until `until` (monotonic seconds) ends before.
    """
    predictor = Predictor(folder, precision=precision, threads=1)

    def answer(number: int) -> npt.NDArray[np.float32] | None:
        if until is not None and number >= FEWEST and time.monotonic() >= until:
            return None
        views = predictor.views.render(
            read_rgb(Path(paths[number])), predictor.preprocess, name="", first=0, last=predictor.views.views
        )
        return predictor.logits(np.stack(list(views)))

    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(answer, range(len(paths))))
    # one that was begun in time may stand behind one that was not
    first = next((i for i, logits in enumerate(answers) if logits is None), len(answers))
    return np.stack([logits for logits in answers[:first] if logits is not None])
