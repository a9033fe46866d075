"""The one registry of metrics: unit, direction, format and meaning of every figure the product shows.

Tables, tooltips, thresholds and the JSON read it; nothing else knows a unit. Add a metric here and nowhere else.
"""

from dataclasses import dataclass
from typing import Literal

from selector.errors import UnknownName


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure is. `digits` are the decimals in tables; `says` is one line for people."""

    name: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    digits: int
    says: str
    says_zh: str


LATENCY_P50 = Metric(
    "latency_ms_p50",
    "ms",
    "lower",
    2,
    "median latency of one inference, batch 1 unless said",
    "单次推理延迟中位数(默认批大小 1)",
)
LATENCY_P90 = Metric(
    "latency_ms_p90",
    "ms",
    "lower",
    2,
    "upper bound of the 90th percentile of latency, at least 64 samples",
    "推理延迟 90 分位数的上界(至少 64 个样本)",
)
TIME_PER_SAMPLE = Metric(
    "ms_per_sample",
    "ms",
    "lower",
    4,
    "time per image when many are computed at once; not a latency",
    "批量推理时每张图像耗时(不是延迟)",
)
LOAD = Metric(
    "load_ms",
    "ms",
    "lower",
    0,
    "time to load or build the model in its runtime",
    "在运行时中加载或构建模型的时间",
)
FIRST_INFERENCE = Metric(
    "first_inference_ms", "ms", "lower", 1, "the first inference after loading", "加载后的首次推理时间"
)
MEMORY_RSS = Metric(
    "memory_rss_peak_bytes",
    "B",
    "lower",
    0,
    "peak resident memory of the inference process",
    "推理进程的峰值常驻内存",
)
ENERGY = Metric(
    "energy_mj",
    "mJ",
    "lower",
    1,
    "energy of the whole processor or GPU for one inference, its idle share included",
    "单次推理时整个处理器或 GPU 的能耗(含空闲功耗)",
)
ARTIFACT = Metric("artifact_bytes", "B", "lower", 0, "size of the model file", "模型文件大小")
BUILD = Metric(
    "build_ms",
    "ms",
    "lower",
    0,
    "time to build the model for its runtime, once, before it can be loaded",
    "为运行时构建模型的时间(一次性,在加载之前)",
)
AGREEMENT_TOP1 = Metric(
    "agreement_top1",
    "%",
    "higher",
    1,
    "images for which a lossy precision names the same class as fp32",
    "有损精度与 fp32 给出相同类别的图像占比",
)
COSINE_LOGITS = Metric(
    "cosine_logits",
    "",
    "higher",
    4,
    "cosine of a lossy precision's logits with those of fp32, mean over images",
    "有损精度与 fp32 的 logits 余弦相似度(图像均值)",
)
TRAIN_STEP = Metric(
    "train_step_ms",
    "ms",
    "lower",
    1,
    "one training step (forward, backward, update) at a freeze depth",
    "在某冻结深度下一次训练步的时间",
)
TRAIN_MEMORY = Metric(
    "train_memory_rss_peak_bytes",
    "B",
    "lower",
    0,
    "peak resident memory while training at a freeze depth",
    "在某冻结深度下训练时的峰值常驻内存",
)
TRAIN_MEMORY_ALLOCATED = Metric(
    "train_memory_allocated_peak_bytes",
    "B",
    "lower",
    0,
    "peak of the accelerator's memory that torch's tensors took while training at a freeze depth",
    "在某冻结深度下训练时 torch 张量占用的显存峰值",
)
TRAIN_MEMORY_RESERVED = Metric(
    "train_memory_reserved_peak_bytes",
    "B",
    "lower",
    0,
    "peak of the accelerator's memory that torch's allocator held while training at a freeze depth",
    "在某冻结深度下训练时 torch 分配器保留的显存峰值",
)
TRAIN_MEMORY_DEVICE = Metric(
    "train_memory_device_peak_bytes",
    "B",
    "lower",
    0,
    "peak memory of the accelerator while training at a freeze depth",
    "在某冻结深度下训练时加速器的峰值显存",
)
PARAMS = Metric("params", "", "lower", 0, "parameters", "参数量")
PARAMS_TRAINABLE = Metric(
    "params_trainable",
    "",
    "lower",
    0,
    "parameters that are trained at a freeze depth",
    "在某冻结深度下可训练的参数量",
)
MACS_TORCHVISION = Metric(
    "macs_torchvision",
    "MACs",
    "lower",
    0,
    "multiply-accumulates of convolutions and matrix products (torchvision's convention)",
    "乘加次数(torchvision 口径:卷积与矩阵乘)",
)
MACS_FVCORE = Metric(
    "macs_fvcore",
    "MACs",
    "lower",
    0,
    "multiply-accumulates with BatchNorm and pooling counted as fvcore does",
    "乘加次数(fvcore 口径,计入 BatchNorm 等)",
)
MACS_TRAINING = Metric(
    "macs_training",
    "MACs",
    "lower",
    0,
    "multiply-accumulates of forward and backward for one image at a freeze depth",
    "在某冻结深度下单张图像前向加反向的乘加次数",
)
MACS_BACKWARD = Metric(
    "macs_backward",
    "MACs",
    "lower",
    0,
    "multiply-accumulates of the backward pass for one image at a freeze depth",
    "在某冻结深度下单张图像反向传播的乘加次数",
)
PREFIX_CACHE = Metric(
    "prefix_cache_bytes",
    "B",
    "lower",
    0,
    "what a cache of the frozen prefix's output takes for one image, in fp32",
    "缓存冻结前缀的输出时单张图像所占空间(fp32)",
)
ACTIVATIONS = Metric(
    "activations",
    "",
    "lower",
    0,
    "elements that convolutions and linear layers put out (timm's convention)",
    "卷积与线性层输出的元素数",
)
IMAGENET_TOP1 = Metric(
    "imagenet_top1",
    "%",
    "higher",
    1,
    "top-1 accuracy on ImageNet's validation set",
    "ImageNet 验证集 top-1 准确率",
)
ACCURACY = Metric("accuracy", "%", "higher", 1, "top-1 accuracy on the task's test images", "任务测试集 top-1 准确率")
TRAIN_SECONDS = Metric(
    "train_seconds", "s", "lower", 0, "wall-clock seconds of the whole fine-tuning", "整个微调的用时"
)

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        LATENCY_P50,
        LATENCY_P90,
        TIME_PER_SAMPLE,
        LOAD,
        FIRST_INFERENCE,
        MEMORY_RSS,
        ENERGY,
        ARTIFACT,
        BUILD,
        AGREEMENT_TOP1,
        COSINE_LOGITS,
        TRAIN_STEP,
        TRAIN_MEMORY,
        TRAIN_MEMORY_ALLOCATED,
        TRAIN_MEMORY_RESERVED,
        TRAIN_MEMORY_DEVICE,
        PARAMS,
        PARAMS_TRAINABLE,
        MACS_TORCHVISION,
        MACS_FVCORE,
        MACS_TRAINING,
        MACS_BACKWARD,
        PREFIX_CACHE,
        ACTIVATIONS,
        IMAGENET_TOP1,
        ACCURACY,
        TRAIN_SECONDS,
    )
}


def metric(name: str) -> Metric:
    """The metric called `name`. Raises UnknownName."""
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS, listing="selector evidence list --metrics")
    return METRICS[name]
