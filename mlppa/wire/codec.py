"""Messages to bytes and back, their topics, and their JSON Schemas."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from ..errors import InputError
from .messages import (
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    Message,
    ReplayHeader,
    ReplayRequest,
)

#: Every published schema, by the name of its file in `docs/schema`.
MODELS: dict[str, type[BaseModel]] = {
    "detection-1": DetectionMessage,
    "coverage-1": CoverageMessage,
    "health-1": HealthMessage,
    "injection-1": InjectionMessage,
    "replay-request-1": ReplayRequest,
    "replay-1": ReplayHeader,
}

type _Kind = (
    type[DetectionMessage] | type[CoverageMessage] | type[InjectionMessage] | type[HealthMessage]
)

_MESSAGES: dict[object, _Kind] = {
    "mlppa.detection/1": DetectionMessage,
    "mlppa.coverage/1": CoverageMessage,
    "mlppa.injection/1": InjectionMessage,
    "mlppa.health/1": HealthMessage,
}


def encode(message: BaseModel) -> bytes:
    """Give the one JSON text of a message: fields in the order of its model, no spaces."""
    fields = message.model_dump(by_alias=True)
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(data: bytes) -> Message:
    """Read a message of any known version; fields that it should not have are ignored.

    Raises
    ------
    InputError
        Not JSON, of an unknown schema, or with a field missing or wrong.
    """
    fields = _fields(data)
    name = fields.get("schema")
    model = _MESSAGES.get(name if isinstance(name, str) else None)
    if model is None:
        raise InputError(
            "message",
            f"the schema {name!r} is not known (but {', '.join(map(str, _MESSAGES))})",
            "read it with a newer mlppa, or correct who sends it",
        )
    return _validated(model, fields)


def read[T: BaseModel](model: type[T], data: bytes) -> T:
    """Read one kind of message; fields that it should not have are ignored.

    Raises
    ------
    InputError
        Not JSON, or with a field missing or wrong; the field is named.
    """
    return _validated(model, _fields(data))


def _validated[T: BaseModel](model: type[T], fields: dict[str, Any]) -> T:
    known = {field.alias or name for name, field in model.model_fields.items()}
    try:
        return model.model_validate({k: v for k, v in fields.items() if k in known})
    except ValidationError as error:
        flaws = "; ".join(
            f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}".removeprefix(": ")
            for flaw in error.errors(include_url=False)
        )
        raise InputError("message", flaws, "correct who sends it") from error


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise InputError("message", f"not JSON ({error})", "correct who sends it") from error
    if not isinstance(fields, dict):
        raise InputError("message", "not a JSON object", "correct who sends it")
    return fields


def topic(message: Message) -> bytes:
    """Give the topic under which a message is published."""
    if isinstance(message, DetectionMessage):
        return f"{'inj' if message.injected else 'det'}.{message.stream}".encode()
    kinds = {CoverageMessage: "cov", InjectionMessage: "inj", HealthMessage: "health"}
    return f"{kinds[type(message)]}.{message.stream}".encode()


def message_id(message: Message) -> str:
    """Give what names a message within its stream: the same data give the same name."""
    if isinstance(message, DetectionMessage):
        return message.id
    if isinstance(message, InjectionMessage):
        return f"inj-{message.mjd:.9f}-dm{message.dm:.2f}"
    if isinstance(message, HealthMessage):
        return f"health-{message.created}-{message.state}-{message.rung}"
    # The sample index alone would repeat when a live stream begins anew at 0.
    return f"cov-{message.mjd_start:.9f}-{message.start}-{message.stop}"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schema of every message, by file name.

    They allow fields that are not named, as a reader must.
    """
    schemas = {}
    for name, model in MODELS.items():
        # What we are asked may leave out what has a default; what we write has it all.
        schema = model.model_json_schema(
            mode="validation" if model is ReplayRequest else "serialization"
        )
        schema.pop("additionalProperties")
        schemas[f"{name}.json"] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **schema,
        }
    return schemas


def write_json_schemas(folder: Path | str) -> None:
    """Write `json_schemas` as files, after a change of the models.

    ``python -c "import mlppa.wire as w; w.write_json_schemas('docs/schema')"``
    """
    for name, schema in json_schemas().items():
        Path(folder, name).write_text(json.dumps(schema, indent=2) + "\n")
