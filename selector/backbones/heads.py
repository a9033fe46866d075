"""Classifiers for a task of one's own. Needs torch and timm."""

from timm.layers.classifier import ClassifierHead
from timm.models.vgg import VGG
from torch import nn

from selector.backbones.catalog import DOCUMENT_DROPOUT
from selector.errors import InvalidInput


def replace_classifier(model: nn.Module, classes: int) -> nn.Module:
    """Give `model` a fresh classifier of `classes` outputs, in place (practice P3); the rest stays as it is.

    The new layer is trainable and drawn from torch's random state. Returns the model. Raises InvalidInput for fewer
    than one class and for a model that has no such classifier.
    """
    _check(classes)
    reset = getattr(model, "reset_classifier", None)
    if not callable(reset):
        raise InvalidInput(f"{type(model).__name__} has no classifier to replace; timm's models have")
    reset(classes)
    return model


def use_document_head(model: nn.Module, classes: int) -> nn.Module:
    """Give a VGG the document's head (practice P4) in place of its own.

    No hidden fully connected layers; instead global average pooling of the last convolution's features, dropout 0.5
    and one linear layer of `classes` outputs, drawn from torch's random state.

    Returns the model. Raises InvalidInput for fewer than one class and for a model that is no VGG.
    """
    _check(classes)
    if not isinstance(model, VGG):
        raise InvalidInput(f"the document's head is for VGG, not for {type(model).__name__}")
    weight = next(model.features.parameters())
    model.pre_logits = nn.Identity()  # type: ignore[assignment] # timm itself drops its hidden layers so
    model.head = ClassifierHead(
        model.num_features,
        classes,
        pool_type="avg",
        drop_rate=DOCUMENT_DROPOUT,
        device=weight.device,
        dtype=weight.dtype,
    )
    model.head.train(model.training)
    model.head_hidden_size = model.head.num_features
    model.num_classes = classes
    return model


def _check(classes: int) -> None:
    if classes < 1:
        raise InvalidInput(f"{classes} classes: a classifier has at least one")
