"""What computes a network: ONNX Runtime on a CPU, TensorFlow on an accelerator.

On a CPU the first starts in a fraction of a second, where importing TensorFlow takes many,
and needs less time for an image. Both give the same probabilities, as the tests hold.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data import Float32Array
from ..errors import EnvironmentFault, ModelError
from .card import ONNX, WEIGHTS, ModelCard, verified

log = logging.getLogger(__name__)

type Device = Literal["auto", "cpu", "gpu"]
type Engine = Literal["auto", "tensorflow", "onnx"]

#: Gives images (n, res, res) and their features (n, nfeatures) probabilities (n,).
type Network = Callable[[Float32Array, Float32Array], Float32Array]


def choose_engine(engine: Engine, device: Device) -> Literal["tensorflow", "onnx"]:
    """Choose what computes, without importing it.

    Raises
    ------
    EnvironmentFault
        Where ONNX Runtime is asked for an accelerator.
    """
    if engine == "onnx" and device == "gpu":
        remedy = "set the engine to tensorflow, or the device to cpu"
        raise EnvironmentFault("engine onnx", "it computes on the CPU only", remedy)
    if engine != "auto":
        return engine
    wants_accelerator = device == "gpu" or (device == "auto" and _has_accelerator())
    return "tensorflow" if wants_accelerator else "onnx"


def _has_accelerator() -> bool:
    """Whether this machine shows us one; TensorFlow would have to be imported to use it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    return not hidden and any(Path("/proc/driver/nvidia/gpus").glob("*"))


def with_onnx(card: ModelCard) -> Network:
    """Load a network into ONNX Runtime, on one thread of the CPU.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    """
    import onnxruntime

    path = verified(card, ONNX)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _check_inputs(path, [i.shape[1:] for i in session.get_inputs()], card)
    image, features = (i.name for i in session.get_inputs())

    def network(images: Float32Array, numbers: Float32Array) -> Float32Array:
        (out,) = session.run(None, {image: images[..., None], features: numbers})
        return np.asarray(out)[:, 0]

    return network


def with_tensorflow(card: ModelCard, batch: int, device: Device) -> Network:
    """Load a network onto a device and compile it as one function of fixed shape.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    EnvironmentFault
        Where the device is not there.
    """
    weights = verified(card, WEIGHTS)
    keras, tf = import_keras()
    place = _place(tf, device)
    with tf.device(place):
        model = keras.saving.load_model(weights, compile=False)
    shapes = [list(tensor.shape)[1:] for tensor in model.inputs]
    _check_inputs(weights, shapes, card)
    signature = [tf.TensorSpec((batch, *shape), tf.float32) for shape in shapes]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def compiled(images: Any, features: Any) -> Any:
        return model([images, features], training=False)

    def network(images: Float32Array, features: Float32Array) -> Float32Array:
        count = len(images)
        images = np.pad(images, [(0, batch - count), (0, 0), (0, 0)])
        features = np.pad(features, [(0, batch - count), (0, 0)])
        with tf.device(place):
            return np.asarray(compiled(images[..., None], features))[:count, 0]

    return network


def _check_inputs(path: Path, shapes: list[list[int]], card: ModelCard) -> None:
    wanted = [[card.res, card.res, 1], [len(card.features)]]
    if shapes != wanted:
        raise ModelError(path, f"its inputs are not {wanted}", "correct the card or the weights")


def import_keras() -> tuple[Any, Any]:
    """Import Keras on TensorFlow, with little said: it takes seconds, so do it late.

    Raises
    ------
    EnvironmentFault
        Where Keras is in use on another backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        import keras
        import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        cause = f"Keras runs on {keras.backend.backend()} already"
        raise EnvironmentFault("TensorFlow", cause, "use another process")
    return keras, tf


def _place(tf: Any, device: Device) -> str:
    """Choose the device; an accelerator that is asked for must be there."""
    accelerators = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not accelerators:
        cause = "TensorFlow finds no accelerator"
        raise EnvironmentFault("device gpu", cause, "mend its driver, or set the device to cpu")
    # The same numbers as on a CPU, and memory left for whoever else computes there.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for accelerator in accelerators:
        with contextlib.suppress(RuntimeError):  # in use already: it keeps its setting
            tf.config.experimental.set_memory_growth(accelerator, True)
    return "/GPU:0" if accelerators and device != "cpu" else "/CPU:0"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send to the debug log what C++ libraries write to the standard error at start."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                log.debug("%s", line)
