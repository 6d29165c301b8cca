"""What a configuration names is imported, is of the kind asked for, and is called only with arguments that fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sample_shapes import Shape
from torch import nn

from trainerd.contracts.errors import Finding, SpecificationRefused
from trainerd.contracts.spec import Loss, Metric, Model
from trainerd.training.components import build_loss, build_measures, build_model, import_from

Write = Callable[[str], None]
INPUTS, TARGETS = Shape((4,)), Shape((1,))


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes the user's nets.py beside a configuration, which imports from there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_from(tmp_path)

    def write(text: str) -> None:
        (tmp_path / "nets.py").write_text(text)

    yield write
    sys.modules.pop("nets", None)


def refusal_of(target: str, **args: object) -> Finding:
    with pytest.raises(SpecificationRefused) as refused:
        build_model(Model(target=target, args=args), INPUTS, TARGETS)
    (finding,) = refused.value.findings
    return finding


def test_a_target_is_built_with_its_arguments_only(user_module: Write) -> None:
    user_module(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, width):\n"
        "        super().__init__(4, width)\n"
    )
    model = build_model(Model(target="nets:Net", args={"width": 3}), INPUTS, TARGETS)
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_a_name_may_lie_inside_another(user_module: Write) -> None:
    user_module("from torch import nn\nclass Zoo:\n    class Net(nn.Identity):\n        pass\n")
    assert isinstance(build_model(Model(target="nets:Zoo.Net"), INPUTS, TARGETS), nn.Identity)


def test_a_target_that_is_not_a_module_subclass_is_refused_uncalled(user_module: Write, tmp_path: Path) -> None:
    witness = tmp_path / "called"
    user_module(
        f"def make():\n    open({str(witness)!r}, 'w')\n"
        "class Plain:\n    def __init__(self):\n        make()\n"
        "net = 3\n"
    )
    for name, found in (("make", "a function"), ("Plain", "class Plain(object)"), ("net", "an instance of int")):
        finding = refusal_of(f"nets:{name}")
        assert (finding.key, finding.expected, finding.found) == ("model.target", "a torch.nn.Module subclass", found)
    assert not witness.exists()


def test_a_missing_package_is_named_with_the_interpreter_and_the_installation() -> None:
    finding = refusal_of("nosuchpackage.nets:Net")
    assert finding.key == "model.target"
    assert "there is no module nosuchpackage" in finding.message
    assert f"{sys.executable} -m pip install nosuchpackage" in finding.message


def test_a_missing_module_of_a_package_that_is_there_names_the_nearest() -> None:
    finding = refusal_of("torch.optm:Adam")
    assert "package torch has no module optm" in finding.message
    assert finding.suggestion == "optim"
    assert "pip install" not in finding.message


def test_a_package_that_the_users_module_misses_is_told_apart_from_the_module(
    user_module: Write, tmp_path: Path
) -> None:
    user_module("import torch\nimport nosucheinops\n")
    finding = refusal_of("nets:Net")
    assert f"No module named 'nosucheinops' ({tmp_path}/nets.py:2)" in finding.message
    assert "pip install nosucheinops" in finding.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nx.missing\n", "AttributeError: 'int' object has no attribute 'missing' ({}/nets.py:2)"),
        ("from torch import nothing_like_it\n", "nets.py:1)"),
        ("def broken(:\n", "SyntaxError: invalid syntax ({}/nets.py:1)"),
        ("import sys\nsys.exit('no')\n", "SystemExit: no ({}/nets.py:2)"),
    ],
)
def test_an_error_inside_the_users_module_shows_its_last_line_and_place(
    user_module: Write, tmp_path: Path, text: str, said: str
) -> None:
    user_module(text)
    finding = refusal_of("nets:Net")
    assert finding.message.startswith("importing nets fails: ")
    assert said.format(tmp_path) in finding.message


def test_a_name_that_the_module_lacks_gets_the_nearest_one(user_module: Write) -> None:
    user_module("class DenoisingNet:\n    pass\n")
    assert refusal_of("nets:DenoiseNet").suggestion == "DenoisingNet"


def test_arguments_are_held_against_the_signature_before_the_call(user_module: Write, tmp_path: Path) -> None:
    user_module(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width, *, depth=2):\n"
        "        raise KeyError\n"
    )
    with pytest.raises(SpecificationRefused) as refused:
        build_model(Model(target="nets:Net", args={"widht": 3}), INPUTS, TARGETS)
    unknown, missing = refused.value.findings
    assert (unknown.key, unknown.suggestion) == ("model.args.widht", "width")
    assert missing.message == "nets:Net needs an argument width"


def test_an_error_in_the_users_constructor_shows_its_place(user_module: Write, tmp_path: Path) -> None:
    user_module("from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        nn.Linear(-1, 2)\n")
    finding = refusal_of("nets:Net")
    assert finding.key == "model.args"
    assert f"({tmp_path}/nets.py:4)" in finding.message


def test_the_configurations_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["elsewhere", str(tmp_path)])
    import_from(tmp_path)
    import_from(tmp_path)
    assert sys.path[:2] == [str(tmp_path), "elsewhere"]


def test_mse_and_mae_are_means_over_all_elements() -> None:
    output, target = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    assert build_loss(Loss(name="mse"))(output, target).item() == 2.5
    assert build_measures([Metric(name="mae")])["mae"](output, target).item() == 1.5


def test_cross_entropy_takes_any_integer_type_and_probabilities() -> None:
    output = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    loss = build_loss(Loss(name="cross_entropy"))
    expected = torch.log1p(torch.exp(torch.tensor(-2.0)))
    for target in (torch.tensor([0, 1], dtype=torch.uint8), torch.tensor([0, 1]), torch.eye(2)):
        assert loss(output, target).item() == pytest.approx(expected.item())
    smoothed = build_loss(Loss(name="cross_entropy", args={"label_smoothing": 0.5}))
    assert smoothed(output, torch.tensor([0, 1])) > loss(output, torch.tensor([0, 1]))


def test_accuracy_counts_positions() -> None:
    accuracy = build_measures([Metric(name="accuracy")])["accuracy"]
    output = torch.tensor([[[0.0, 9.0], [1.0, 1.0]]])  # classes along the second axis, two positions
    assert accuracy(output, torch.tensor([[1, 1]])).item() == 0.5


def test_a_loss_may_be_a_function_with_arguments_or_a_module_class(user_module: Write) -> None:
    user_module("def huber(output, target, delta=1.0):\n    return (output - target).abs().mean() * delta\n")
    output, target = torch.ones(2, 1), torch.zeros(2, 1)
    assert build_loss(Loss(target="nets:huber", args={"delta": 3.0}))(output, target).item() == 3.0
    assert build_loss(Loss(target="torch.nn:L1Loss"))(output, target).item() == 1.0
    assert build_loss(Loss(target="torch.nn.functional:l1_loss"))(output, target).item() == 1.0
    with pytest.raises(SpecificationRefused, match=r"loss\.args\.dleta.*did you mean delta"):
        build_loss(Loss(target="nets:huber", args={"dleta": 3.0}))


def test_metrics_are_named_and_names_are_not_taken_twice(user_module: Write) -> None:
    user_module("def bias(output, target):\n    return (output - target).mean()\n")
    assert list(build_measures([Metric(name="mae"), Metric(target="nets:bias")])) == ["mae", "bias"]
    with pytest.raises(SpecificationRefused, match=r"metrics\.1: the name mae is taken"):
        build_measures([Metric(name="mae"), Metric(name="mae")])
    with pytest.raises(SpecificationRefused, match=r"metrics\.0\.name.*did you mean accuracy"):
        build_measures([Metric(name="acuracy")])
