from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from features.encoders import bundled


@pytest.mark.parametrize(
    ("original", "renamed"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_mean", "bn1.running_mean"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.2._bn0.bias", "blocks.1.1.bn1.bias"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_bn1.weight", "bn2.weight"),
        ("_fc.bias", "classifier.bias"),
    ],
)
def test_a_parameter_is_found_under_its_name_in_timm(original: str, renamed: str) -> None:
    assert bundled.rename(original) == renamed


@pytest.mark.parametrize("key", ["_blocks.16._bn1.bias", "_blocks.0._expand_conv.weight", "_se.weight", "fc"])
def test_a_parameter_that_the_network_lacks_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match="no parameter of tf_efficientnet_lite0 corresponds"):
        bundled.rename(key)


def test_every_parameter_of_the_network_comes_from_the_file() -> None:
    network = bundled.image_classifier()
    state = bundled.image_state()
    assert set(network.state_dict()) == set(state)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_logits_are_those_of_the_original_network() -> None:
    original = torch.load(bundled.image_file(), weights_only=True)
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = original_logits(original, pixels)
        network = bundled.image_classifier()
        given = network(pixels)
        features = bundled.image_network()(pixels)
        classified = features @ original["_fc.weight"].T + original["_fc.bias"]
    assert expected.std() > 0.5
    torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(classified, expected, rtol=1e-3, atol=1e-3)


def original_logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 from the paper's table, straight from the file's names, with TensorFlow's padding."""

    def conv(x: Tensor, name: str, *, stride: int = 1, depthwise: bool = False) -> Tensor:
        weight = state[f"{name}.weight"]
        size = weight.shape[-1]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
        before = missing // 2
        x = functional.pad(x, (before, missing - before, before, missing - before))
        return functional.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * weight + bias

    x = functional.relu6(norm(conv(x, "_conv_stem", stride=2), "_bn0"))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for row, stride in enumerate(strides):
        name, given = f"_blocks.{row}", x
        if row:
            x = functional.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
        x = functional.relu6(norm(conv(x, f"{name}._depthwise_conv", stride=stride, depthwise=True), f"{name}._bn1"))
        x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
        if x.shape == given.shape:
            x = x + given
    x = functional.relu6(norm(conv(x, "_conv_head"), "_bn1"))
    return x.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
