"""Models with their pretrained weights. Needs torch and timm.

Weights are looked for in an explicit folder, then in the folder that `SELECTOR_WEIGHTS` names, then in the hub's cache
on this machine, then on the hub. A folder holds files named after the timm id. Files are read safely: tensors only, no
code. They must fit the model exactly.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from selector.backbones.catalog import backbone
from selector.backbones.heads import replace_classifier
from selector.errors import InvalidInput, WeightsUnavailable

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_COUNTER = "num_batches_tracked"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Created:
    """A model in eval mode, and where its weights come from: a file, the hub, or "random initialisation"."""

    model: nn.Module
    origin: str
    pretrained: bool


def create(
    name: str,
    *,
    classes: int | None = None,
    weights: Path | None = None,
    random_init: bool = False,
    seed: int = 0,
) -> Created:
    """The backbone `name` with its pretrained weights, or with random ones if `random_init`.

    `classes` gives it a fresh classifier of so many outputs, drawn like random weights from `seed`; torch's own random
    state is left alone. Raises UnknownName; InvalidInput for a `weights` folder that does not exist or a file that
    does not fit; WeightsUnavailable, naming every place where it looked.
    """
    backbone(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(name, pretrained=False).eval()
        origin = "random initialisation" if random_init else _load(model, name, weights)
        if classes is not None:
            replace_classifier(model, classes)
    return Created(model.eval(), origin, pretrained=not random_init)


def load_state(model: nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Fill `model` from `state`: the same names (timm), or other names for the same tensors in the same order.

    That holds for torchvision's files of all families too. What differs there is kept up with: linear layers that timm
    runs as convolutions, and files from before the norms counted their batches. Raises InvalidInput where a tensor is
    missing, left over or of another shape.
    """
    own = model.state_dict()
    if not any(name.endswith(_COUNTER) for name in state):  # training alone reads it: its value does not matter
        state = _with_counters(own, state)
    matched = {name: state[name] for name in own} if set(state) == set(own) else _in_order(own, state, source)
    matched = {name: _as_convolution(tensor, own[name].shape) for name, tensor in matched.items()}
    misfits = [
        f"{source}: {name} has shape {tuple(tensor.shape)}, the model wants {tuple(own[name].shape)}"
        for name, tensor in matched.items()
        if tensor.shape != own[name].shape
    ]
    if misfits:
        raise InvalidInput(misfits[:10])
    model.load_state_dict(matched, strict=True)


def _in_order(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Weights that another library saved: its names differ, but the order of tensors and their last words agree."""
    # scale, shift, mean and variance of a norm have one shape: only their names tell them apart
    alike = len(own) == len(state) and all(
        a.rpartition(".")[2] == b.rpartition(".")[2] for a, b in zip(own, state, strict=True)
    )
    if not alike:
        missing = [name for name in own if name not in state]
        extra = [name for name in state if name not in own]
        raise InvalidInput(
            f"{source} does not fit the model: {len(missing)} tensors are missing{_examples(missing)}, "
            f"{len(extra)} are left over{_examples(extra)}"
        )
    return dict(zip(own, state.values(), strict=True))


def _with_counters(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` with a norm's batch counter after each running variance, as far as the model has counters."""
    counters = iter([(name, tensor) for name, tensor in own.items() if name.endswith(_COUNTER)])
    filled: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        filled[name] = tensor
        if name.endswith("running_var") and (counter := next(counters, None)) is not None:
            filled[name.removesuffix("running_var") + _COUNTER] = counter[1]
    return filled


def _as_convolution(tensor: torch.Tensor, wanted: torch.Size) -> torch.Tensor:
    """A linear layer's matrix as the kernel of the convolution that computes the same from a map of that size."""
    same = tensor.ndim == 2 and len(wanted) == 4 and tensor.shape[0] == wanted[0] and tensor.numel() == wanted.numel()
    return tensor.reshape(wanted) if same else tensor


def _examples(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})" if names else ""


def _load(model: nn.Module, name: str, weights: Path | None) -> str:
    """Fill `model` from the first place that has its weights and return that place."""
    if weights is not None and not weights.is_dir():
        raise InvalidInput(f"weights folder {str(weights)!r} does not exist")
    looked: list[str] = []
    for file, origin in _places(model, name, weights, looked):
        load_state(model, read_state(file), source=origin)
        return origin
    raise WeightsUnavailable(
        f"no pretrained weights for {name}. Looked in: {'; '.join(looked)}. "
        f"Put a file {name}.safetensors (or {', '.join(SUFFIXES[1:])}) into a folder and pass it with --weights, "
        "or pass --random-init if untrained weights will do"
    )


def _places(model: nn.Module, name: str, weights: Path | None, looked: list[str]) -> Iterator[tuple[Path, str]]:
    """Files with the weights of `name`, nearest first. Notes in `looked` each place that has none, and why."""
    configured = os.environ.get("SELECTOR_WEIGHTS")
    folders = [("--weights", weights), ("SELECTOR_WEIGHTS", Path(configured).expanduser() if configured else None)]
    for label, folder in folders:
        if folder is None:
            looked.append(f"{label} (not given)")
            continue
        for suffix in SUFFIXES:
            file = folder / f"{name}{suffix}"
            if file.is_file():
                yield file, str(file)
        looked.append(f"{label} {str(folder)!r} (no file {name} with {' '.join(SUFFIXES)})")
    config = model.pretrained_cfg
    repository = config.get("hf_hub_id") if isinstance(config, dict) else None
    if not repository:
        looked.append("the hub (timm publishes no weights for it)")
        return
    yield from _hub(str(repository), looked)


def _hub(repository: str, looked: list[str]) -> Iterator[tuple[Path, str]]:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    for file in _HUB_FILES:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            yield Path(cached), f"hub cache {repository}"
    looked.append(f"the hub's cache (no {repository})")
    reasons = []
    for file in _HUB_FILES:
        try:
            yield Path(hf_hub_download(repository, file)), f"hub {repository}"
        except OSError as error:  # every failure of the hub's client to reach, find or store a file is one
            reasons.append(str(error).strip().splitlines()[0])
    looked.append(f"the hub {repository} ({reasons[0]})")


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name. Raises InvalidInput for a file that is not one; runs no code from it."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidInput(f"{str(file)!r} cannot be read as weights: {str(error).strip().splitlines()[0]}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InvalidInput(f"{str(file)!r} holds no plain dictionary of tensors")
    return dict(content)
