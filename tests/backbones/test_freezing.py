import copy
import pickle

import pytest
import timm
import torch
from torch import nn

from selector.backbones import catalog
from selector.backbones.blocks import blocks, classifier
from selector.backbones.catalog import Family
from selector.backbones.depth import NAMED_DEPTHS, FreezeDepth
from selector.backbones.freezing import freeze, split
from selector.backbones.heads import replace_classifier, use_document_head
from selector.backbones.layers import block_outputs
from selector.errors import InvalidInput

SIDE = 64
ONE_OF_EACH = ("resnet18d", "vgg11_bn", "tf_efficientnet_b0", "mobilenetv2_035", "mobilenetv3_small_050")


def images(n: int = 2, side: int = SIDE) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def statistics(modules: list[nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{i}.{name}": buffer.clone()
        for i, module in enumerate(modules)
        for name, buffer in module.named_buffers()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("name", catalog.names())
def test_prefix_and_tail_are_the_whole(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    assert [block.name for block in blocks(model)] == [block.name for block in catalog.backbone(name).blocks]
    x = images(1)
    with torch.no_grad():
        whole = model(x)
    assert torch.isfinite(whole).all()
    shapes = block_outputs(name, SIDE)
    for text in NAMED_DEPTHS:
        depth = FreezeDepth(text)
        prefix, tail = split(model, depth)
        features = prefix(x)
        assert features.grad_fn is None
        frozen = depth.frozen_blocks(len(shapes))
        if frozen:
            channels, height, width = shapes[frozen - 1]
            assert tuple(features.shape) in ((1, channels, height, width), (1, channels))
        assert torch.equal(tail(features), whole), text


@pytest.mark.parametrize("text", NAMED_DEPTHS)
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_frozen_part_comes_unchanged_through_a_training_step(name: str, text: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False)
    before = list(model.state_dict())
    depth = FreezeDepth(text)
    found = freeze(model, depth)
    model.train()
    chain = [block.module for block in blocks(model)]
    frozen, thawed = chain[: found.frozen_blocks], chain[found.frozen_blocks :]
    weights = [p.clone() for module in frozen for p in module.parameters()]
    kept, moving = statistics(frozen), statistics(thawed)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(images(4)), torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()

    assert all(torch.equal(kept[key], value) for key, value in statistics(frozen).items())
    assert all(torch.equal(a, b) for a, b in zip(weights, (p for m in frozen for p in m.parameters()), strict=True))
    assert all(p.grad is None for module in frozen for p in module.parameters())
    assert all(p.grad is not None for module in [*thawed, classifier(model)] for p in module.parameters())
    assert all(not torch.equal(moving[key], value) for key, value in statistics(thawed).items())
    assert list(model.state_dict()) == before


@pytest.mark.parametrize("text", ["80%", "head"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_training_the_tail_on_cached_features_trains_the_model(name: str, text: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=3)
    prefix, tail = split(model.train(), FreezeDepth(text))
    x = images(4)
    features = prefix(x)
    tail.train()
    assert not any(module.training for module in prefix.modules())
    optimizer = torch.optim.SGD(tail.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(tail(features), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    assert all(p.grad is not None for p in tail.parameters())
    model.eval()
    tail.eval()
    assert torch.equal(prefix(x), features)
    assert torch.equal(model(x), tail(features))


def test_no_autograd_runs_through_the_prefix_even_for_images_that_want_gradients() -> None:
    prefix, tail = split(timm.create_model("resnet18", pretrained=False).eval(), FreezeDepth("last-3"))
    x = images(1).requires_grad_()
    assert not prefix(x).requires_grad
    assert tail(prefix(x)).requires_grad


def test_freezing_again_thaws_what_the_new_depth_leaves_free() -> None:
    model = timm.create_model("mobilenetv3_small_050", pretrained=False)
    assert freeze(model, FreezeDepth("head")).frozen_blocks == 13
    model.train()
    assert not any(isinstance(m, nn.BatchNorm2d) and m.training for m in model.modules())
    freeze(model, FreezeDepth("none"))
    assert all(p.requires_grad for p in model.parameters())
    assert all(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    model.eval()
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_frozen_model_is_frozen_itself(copied) -> None:
    model = timm.create_model("resnet18", pretrained=False)
    freeze(model, FreezeDepth("head"))
    twin = copied(model)
    twin.train()
    assert not twin.bn1.training
    assert not twin.layer4[1].bn2.training
    twin.bn1.train()
    assert not twin.bn1.training
    assert not model.bn1.training


@pytest.mark.parametrize(
    ("text", "frozen"), [("none", 0), ("last-3", 14), ("80%", 13), ("50%", 8), ("5", 5), ("head", 17)]
)
def test_any_depth_freezes_its_number_of_blocks(text: str, frozen: int) -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet50", pretrained=False)
    found = freeze(model, FreezeDepth.parse(text))
    assert (found.name, found.frozen_blocks, found.total_blocks) == (text, frozen, 17)
    trainable = [any(p.requires_grad for p in block.module.parameters()) for block in blocks(model)]
    assert trainable == [False] * frozen + [True] * (17 - frozen)
    assert all(p.requires_grad for p in classifier(model).parameters())


def test_dropout_of_a_split_model_follows_the_models_mode() -> None:
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, drop_rate=0.5).eval()
    _, tail = split(model, FreezeDepth("head"))
    features = torch.ones(1, 1024)
    assert torch.equal(tail(features), tail(features))
    tail.train()
    assert not torch.equal(tail(features), tail(features))


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Linear has no known blocks"):
        freeze(nn.Linear(2, 2), FreezeDepth("none"))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_classifier_is_replaced_and_nothing_else(name: str) -> None:
    model = timm.create_model(name, pretrained=False).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    freeze(model, FreezeDepth("head"))
    assert replace_classifier(model, 7)(images(1)).shape == (1, 7)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.rpartition(".")[0] for key in changed} <= {"fc", "classifier", "head.fc"}
    assert changed
    assert [p.requires_grad for p in classifier(model).parameters()] == [True, True]


@pytest.mark.parametrize("name", [b.name for b in catalog.backbones(Family.VGG) if b.name.endswith(("11", "11_bn"))])
def test_the_documents_head_pools_the_last_convolution(name: str) -> None:
    original = timm.create_model(name, pretrained=False).eval()
    features = original.features(images(1))
    model = use_document_head(original, 5)
    assert model.head.drop.p == 0.5
    x = images(1)
    assert torch.allclose(model(x), model.head.fc(features.mean((2, 3))), atol=1e-6)
    hidden = catalog.backbone(name).blocks[-1].params  # the last convolution and the hidden layers, now gone
    assert sum(p.numel() for p in model.parameters()) < catalog.backbone(name).params - hidden + 3e6
    for text in NAMED_DEPTHS:
        prefix, tail = split(model, FreezeDepth(text))
        assert torch.equal(tail(prefix(x)), model(x))


def test_heads_refuse_what_they_cannot_do() -> None:
    with pytest.raises(InvalidInput, match="0 classes"):
        replace_classifier(timm.create_model("resnet18", pretrained=False), 0)
    with pytest.raises(InvalidInput, match="the document's head is for VGG, not for ResNet"):
        use_document_head(timm.create_model("resnet18", pretrained=False), 5)
