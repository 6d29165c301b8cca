"""A checkpoint can hold any nested state of tensors, arrays and plain values, and nothing that needs unpickling."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainerd.training.state_tree import Unsaveable, flatten, unflatten

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
trees = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(trees)
def test_plain_trees_come_back_as_they_were(tree: Any) -> None:
    tensors, document = flatten(tree, "state")
    assert not tensors
    assert unflatten(document, tensors) == tree


def test_an_optimizers_state_comes_back_with_its_integer_keys() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()

    back = unflatten(flatten(state, "optimizer")[1], flatten(state, "optimizer")[0])

    assert back["param_groups"] == state["param_groups"]
    assert list(back["state"]) == [0, 1]
    assert torch.equal(back["state"][0]["exp_avg"], state["state"][0]["exp_avg"])


def test_the_random_states_of_numpy_and_python_come_back_exactly() -> None:
    states = {"numpy": np.random.get_state(), "python": random.getstate()}
    tensors, document = flatten(states, "random")
    back = unflatten(document, tensors)
    assert back["python"] == states["python"]
    assert back["numpy"][0] == states["numpy"][0]
    assert np.array_equal(back["numpy"][1], states["numpy"][1])
    assert back["numpy"][1].dtype == states["numpy"][1].dtype


def test_an_object_that_would_need_pickling_is_refused_by_its_path() -> None:
    with pytest.raises(Unsaveable, match=r"state\.hook\.0: a builtins\.object"):
        flatten({"hook": [object()]}, "state")
