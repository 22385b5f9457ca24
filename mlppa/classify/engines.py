"""What computes a network: ONNX Runtime on a CPU, TensorFlow on an accelerator.

On a CPU the first starts in a fraction of a second, where importing TensorFlow takes many,
and needs less time for an image. Both give the same probabilities, as the tests hold.
"""

import contextlib
import gc
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
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


def count_accelerators() -> int:
    """Count the graphics processors on the bus, whether or not a driver works for them."""
    count = 0
    for device in Path("/sys/bus/pci/devices").glob("*"):
        with contextlib.suppress(OSError):  # one that was just taken out
            is_display = (device / "class").read_text().startswith("0x03")
            count += is_display and (device / "vendor").read_text().strip() == "0x10de"
    return count


def finds_accelerator() -> bool:
    """Whether TensorFlow can use one: it has to be imported to know."""
    _, tf = import_keras()
    return bool(tf.config.list_physical_devices("GPU"))


def with_onnx(card: ModelCard, threads: int = 1) -> Network:
    """Load a network into ONNX Runtime, on threads of the CPU.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    """
    onnxruntime = import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    path = verified(card, ONNX)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _refusals(state) as error:
        raise _unfit(path, "is no network that can be computed") from error
    inputs = session.get_inputs()
    _check_inputs(path, [i.shape[1:] for i in inputs], card)
    feeds = feeds_of(card)

    def network(images: Float32Array, numbers: Float32Array) -> Float32Array:
        given = feeds(images, numbers)
        (out,) = session.run(None, {i.name: one for i, one in zip(inputs, given, strict=True)})
        return np.asarray(out)[:, -1]

    return network


def _refusals(state: Any) -> tuple[type[Exception], ...]:
    """Give what ONNX Runtime raises where a file is no graph, or one that it cannot compute."""
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    return tuple(getattr(state, name) for name in names)


def with_tensorflow(card: ModelCard, batch: int, device: Device) -> Network:
    """Load a network onto a device and compile it as one function of fixed shape.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    EnvironmentFault
        Where the device is not there.
    """
    _, tf = import_keras()
    place = _place(tf, device)
    with tf.device(place):
        model = load_keras(card)
    signature = [tf.TensorSpec((batch, *one.shape[1:]), tf.float32) for one in model.inputs]
    feeds = feeds_of(card)

    @tf.function(input_signature=[signature])  # type: ignore[untyped-decorator]
    def compiled(given: Any) -> Any:
        return model(given, training=False)

    def network(images: Float32Array, features: Float32Array) -> Float32Array:
        given = feeds(images, features)
        short = batch - len(given[0])
        whole = [np.pad(one, [(0, short)] + [(0, 0)] * (one.ndim - 1)) for one in given]
        with tf.device(place):
            return np.asarray(compiled(whole))[: batch - short, -1]

    return network


def load_keras(card: ModelCard) -> Any:
    """Load a network as Keras has it, if it holds plain layers only.

    Raises
    ------
    ModelError
        Where the weights are missing, are not those of the card, or do not fit it.
    """
    weights = verified(card, WEIGHTS)
    refuse_untrusted(weights)
    keras, _ = import_keras()
    try:
        model = keras.saving.load_model(weights, compile=False, safe_mode=True)
    except (OSError, TypeError, ValueError) as error:
        raise _unfit(weights, f"cannot be loaded ({error})") from error
    _check_inputs(weights, [list(tensor.shape)[1:] for tensor in model.inputs], card)
    return model


def feeds_of(card: ModelCard) -> Callable[[Float32Array, Float32Array], list[Float32Array]]:
    """Choose what a network takes of images (n, res, res) and features (n, nfeatures)."""

    def feeds(images: Float32Array, features: Float32Array) -> list[Float32Array]:
        given = [images[..., None]] if card.res else []
        return [*given, features] if card.features else given

    return feeds


def refuse_untrusted(path: Path) -> None:
    """Look into a file of Keras for what is not a plain layer, before anything is loaded.

    Raises
    ------
    ModelError
        Where it holds code (a Lambda, a pickle) or layers that Keras does not have.
    """
    try:
        with zipfile.ZipFile(path) as content:
            config = json.loads(content.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unfit(path, f"is not a file of Keras 3 ({error})") from error
    for found in _layers(config):
        module, name = found.get("module"), found.get("class_name")
        if module not in PLAIN or name in FOREIGN or (PLAIN[module] and name not in PLAIN[module]):
            cause = f"holds {name} of {module}: code, that nobody has checked"
            raise ModelError(path, cause, "use plain layers of Keras only")


#: What may be loaded: all of these modules, or only what is named of them.
PLAIN: Mapping[str | None, tuple[str, ...]] = {
    "keras": ("DTypePolicy",),
    "keras.layers": (),
    "keras.initializers": (),
    "keras.regularizers": (),
    "keras.src.models.functional": ("Functional",),
    "keras.src.ops.nn": (),
    "keras.src.ops.numpy": (),
    None: ("__keras_tensor__", "__slice__"),
}

#: Layers that run what is not Keras'.
FOREIGN = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


def _layers(config: object) -> Iterator[dict[str, Any]]:
    """Give every object that a configuration of Keras would make."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _unfit(path: Path, cause: str) -> ModelError:
    return ModelError(path, cause, "restore the folder of the model, or train it again")


def _check_inputs(path: Path, shapes: list[list[int]], card: ModelCard) -> None:
    wanted = [[card.res, card.res, 1]] if card.res else []
    wanted += [[len(card.features)]] if card.features else []
    if shapes != wanted:
        cause = f"its inputs are {shapes}, and those of the card {wanted}"
        raise ModelError(path, cause, "correct the card or the weights")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, which tells its maker nothing: a telescope calls nobody."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


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


def forget_networks() -> None:
    """Let Keras free what earlier networks took: it would keep them as long as it runs."""
    keras, _ = import_keras()
    keras.backend.clear_session()
    gc.collect()


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
