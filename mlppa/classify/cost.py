"""What a network costs: layers, parameters, operations, and how fast this machine does them."""

import time
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import numpy as np

from ..data import Float32Array
from .card import ONNX, ModelCard, verified

#: Side of the matrices whose product shows what a processor can do.
PEAK_SIDE = 768

#: Images a call when a network is timed, and calls.
BATCH = 32
CALLS = 30


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation of a network.

    Parameters
    ----------
    kind
        What it does, in ONNX' words.
    shape
        Of what it gives for one image.
    parameters
        Numbers that were learnt.
    flop
        Additions and multiplications for one image.
    """

    kind: str
    shape: tuple[int, ...]
    parameters: int
    flop: int


def layers(card: ModelCard) -> list[Layer]:
    """Give the operations of a network that have parameters or that reduce an image.

    Raises
    ------
    ModelError
        Where the weights are missing or not those of the card.
    """
    import onnx

    graph = onnx.load(verified(card, ONNX))
    for given in graph.graph.input:
        given.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    sizes = {one.name: tuple(one.dims) for one in inferred.initializer}
    # weights of 16 bit are made 32-bit ones first
    casts = (node for node in inferred.node if node.op_type == "Cast")
    sizes |= {node.output[0]: sizes[node.input[0]] for node in casts if node.input[0] in sizes}
    known = [*inferred.value_info, *inferred.output, *inferred.input]
    shapes = {one.name: _shape(one) for one in known}
    # what a dense layer adds is an operation of its own
    added = {n.input[0]: n.input[1] for n in inferred.node if n.op_type == "Add"}
    return [
        _layer(node, [*node.input[1:], added.get(node.output[0], "")], sizes, shapes)
        for node in inferred.node
        if node.op_type in _TOLD
    ]


_TOLD = ("Conv", "Gemm", "MatMul", "MaxPool", "GlobalAveragePool", "BatchNormalization")


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _layer(
    node: Any,
    learnt: list[str],
    sizes: dict[str, tuple[int, ...]],
    shapes: dict[str, tuple[int, ...]],
) -> Layer:
    weights = [sizes[name] for name in learnt if name in sizes]
    shape = shapes.get(node.output[0], ())[1:]
    flop = 0
    if node.op_type == "Conv" and weights:
        flop = 2 * prod(weights[0][1:]) * prod(shape)
    elif node.op_type in ("Gemm", "MatMul") and weights:
        flop = 2 * prod(weights[0])
    return Layer(node.op_type, shape, sum(map(prod, weights)), flop)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an image costs.

    Parameters
    ----------
    flop
        Operations.
    peak_flop_per_s
        What one core of this machine does of them in a product of matrices.
    dt_s
        Measured on one core, in batches of `BATCH`; the median.
    """

    flop: int
    peak_flop_per_s: float
    dt_s: float

    @property
    def ideal_s(self) -> float:
        """How long the operations would take at the peak."""
        return self.flop / self.peak_flop_per_s

    @property
    def share_of_peak(self) -> float:
        """What part of the peak the network reaches."""
        return self.ideal_s / self.dt_s


def random_inputs(card: ModelCard, count: int) -> tuple[Float32Array, Float32Array]:
    """Give images and features to time a network with: what is in them does not matter."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((count, card.res, card.res), np.float32)
    return images, rng.uniform(1, 9, (count, len(card.features))).astype(np.float32)


def cost(card: ModelCard) -> Cost:
    """Count and measure: takes about a second.

    Raises
    ------
    ModelError
        Where the weights are missing or not those of the card.
    """
    from .engines import with_onnx

    network = with_onnx(card)
    images, features = random_inputs(card, BATCH)
    spent = []
    for _ in range(CALLS):
        start = time.perf_counter()
        network(images, features)
        spent.append(time.perf_counter() - start)
    flop = sum(layer.flop for layer in layers(card))
    return Cost(flop, peak_flop_per_s(), median(spent) / BATCH)


def peak_flop_per_s() -> float:
    """Measure what one core does in a product of matrices, by the same engine."""
    from onnx import TensorProto, helper

    from .engines import import_onnxruntime

    onnxruntime = import_onnxruntime()
    side = [PEAK_SIDE, PEAK_SIDE]
    names = [helper.make_tensor_value_info(name, TensorProto.FLOAT, side) for name in "abc"]
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "peak", names[:2], names[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    numbers = {name: np.ones(side, np.float32) for name in "ab"}
    spent = []
    for _ in range(12):
        start = time.perf_counter()
        session.run(None, numbers)
        spent.append(time.perf_counter() - start)
    return 2 * PEAK_SIDE**3 / min(spent)
