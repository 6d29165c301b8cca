"""The registered models fit themselves to the data, learn, and depend on torch's generator alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from sample_shapes import Shape
from torch import nn
from torch.nn import functional

from trainerd.contracts.errors import SpecificationRefused
from trainerd.contracts.spec import Model
from trainerd.training.components import build_model

CLASS_INDEX = Shape((), torch.int64)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where other tests want the processors too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(name: str, inputs: Shape, targets: Shape, /, **args: Any) -> nn.Module:
    return build_model(Model(name=name, args=args), inputs, targets)


@pytest.mark.parametrize(
    ("name", "inputs", "targets", "args", "output"),
    [
        ("mlp", Shape((16,)), Shape((1,)), {}, (5, 1)),
        ("mlp", Shape((16,)), Shape(()), {}, (5,)),
        ("mlp", Shape(()), Shape((1,)), {}, (5, 1)),
        ("mlp", Shape((2, 3, 4)), Shape((4, 2)), {"hidden": [8], "dropout": 0.1, "activation": "gelu"}, (5, 4, 2)),
        ("mlp", Shape((1, 8, 8), torch.uint8), CLASS_INDEX, {"classes": 10, "hidden": []}, (5, 10)),
        ("cnn", Shape((3, 40)), Shape((2,)), {}, (5, 2)),
        ("cnn", Shape((1, 8, 8)), CLASS_INDEX, {"classes": 10, "blocks": 2, "dropout": 0.2}, (5, 10)),
        ("cnn", Shape((1, 7, 6, 5)), Shape((2, 2)), {"norm": "none"}, (5, 2, 2)),
        ("cnn", Shape((2, 9, 7)), Shape((3, 9, 7)), {}, (5, 3, 9, 7)),
        ("cnn", Shape((2, 9, 7), torch.int16), Shape((9, 7), torch.int64), {"classes": 4}, (5, 4, 9, 7)),
        ("unet3d", Shape((1, 16, 16, 16)), Shape((1, 16, 16, 16)), {}, (5, 1, 16, 16, 16)),
        (
            "unet3d",
            Shape((2, 9, 11, 6)),
            Shape((3, 9, 11, 6)),
            {"channels": 4, "depth": 3, "norm": "none"},
            (5, 3, 9, 11, 6),
        ),
        ("unet3d", Shape((1, 5, 8, 8)), Shape((5, 8, 8), torch.int64), {"classes": 3, "depth": 1}, (5, 3, 5, 8, 8)),
    ],
)
def test_a_model_fits_the_shapes_of_its_data(
    name: str, inputs: Shape, targets: Shape, args: dict[str, Any], output: tuple[int, ...]
) -> None:
    model = build(name, inputs, targets, **args)
    result = model(inputs.batch(5))
    assert result.shape == output
    assert result.dtype == torch.float32
    result.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("name", "shape"), [("mlp", (16,)), ("cnn", (1, 8, 8)), ("unet3d", (1, 8, 8, 8))])
def test_weights_follow_from_the_seed_alone(name: str, shape: tuple[int, ...]) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(name, Shape(shape), Shape((2, *shape[1:]))).parameters()).detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_unet_begins_as_the_identity_where_it_corrects_its_input() -> None:
    volume = Shape((1, 9, 8, 7))
    x = volume.batch(2)
    assert torch.equal(build("unet3d", volume, volume)(x), x)


def test_a_unet_learns_to_remove_noise() -> None:
    torch.manual_seed(0)
    volume = Shape((1, 8, 8, 8))
    model = build("unet3d", volume, volume, channels=4)
    clean = torch.linspace(-1, 1, 8).expand(16, 1, 8, 8, 8)
    noisy = clean + 0.5 * torch.randn(clean.shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = functional.mse_loss(model(noisy), clean)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.5 * functional.mse_loss(noisy, clean).item()


def test_padding_of_odd_sizes_is_cropped_again() -> None:
    """A model for odd sizes takes even ones too; what is there in both must not depend on a fixed size."""
    model = build("unet3d", Shape((1, 9, 9, 9)), Shape((2, 9, 9, 9)), norm="none").eval()
    assert model(torch.randn(1, 1, 12, 13, 14)).shape == (1, 2, 12, 13, 14)


@pytest.mark.parametrize(
    ("name", "inputs", "targets", "args", "key", "said"),
    [
        ("mpl", Shape((4,)), Shape((1,)), {}, "model.name", "did you mean mlp?"),
        ("mlp", Shape((4,)), Shape((1,)), {"hiden": [8]}, "model.args.hiden", "did you mean hidden?"),
        ("mlp", Shape((4,)), Shape((1,)), {"hidden": [8, "x"]}, "model.args.hidden.1", "found 'x'"),
        ("mlp", Shape((4,)), Shape((1,)), {"hidden": [8, -1]}, "model.args.hidden.1", "greater than 0"),
        ("mlp", Shape((4,)), Shape((1,)), {"hidden": 8}, "model.args.hidden", "found 8"),
        ("mlp", Shape((4,)), Shape((1,)), {"dropout": 1.5}, "model.args.dropout", "less than 1"),
        ("mlp", Shape((4,)), Shape((1,)), {"activation": "rely"}, "model.args.activation", "'relu'"),
        ("mlp", Shape((4,)), Shape((1,)), {"inputs": 3}, "model.args.inputs", "takes no argument inputs"),
        ("cnn", Shape((4,)), Shape((1,)), {}, "model.args", "found [4]"),
        ("unet3d", Shape((1, 8, 8)), Shape((1, 8, 8)), {}, "model.args", "found inputs [1, 8, 8]"),
        ("unet3d", Shape((1, 8, 8, 8)), Shape((1,)), {}, "model.args", "outputs [1]"),
    ],
)
def test_a_mistake_in_a_registered_model_is_located(
    name: str, inputs: Shape, targets: Shape, args: dict[str, Any], key: str, said: str
) -> None:
    with pytest.raises(SpecificationRefused) as refused:
        build(name, inputs, targets, **args)
    (finding,) = refused.value.findings
    assert finding.key == key
    assert said in str(finding)


def test_all_mistakes_in_arguments_are_reported_at_once() -> None:
    with pytest.raises(SpecificationRefused) as refused:
        build("mlp", Shape((4,)), Shape((1,)), hiden=[8], dropout=2, classes=0)
    assert {finding.key for finding in refused.value.findings} == {
        "model.args.hiden",
        "model.args.dropout",
        "model.args.classes",
    }
