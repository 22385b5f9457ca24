"""What pydantic refuses, in our words: a cause, and a remedy."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

#: Cause and remedy of what pydantic refuses, by the type of its error. The rest is told in
#: pydantic's words.
WORDS = {
    "told": ("{cause}", "{remedy}"),
    "greater_than": ("{number} is out of range", "give a number above {gt:g}"),
    "greater_than_equal": ("{number} is out of range", "give {ge:g} or more"),
    "less_than": ("{number} is out of range", "give a number below {lt:g}"),
    "less_than_equal": ("{number} is out of range", "give {le:g} or less"),
    "finite_number": ("{number} is not finite", "give a finite number"),
    **dict.fromkeys(("float_type", "float_parsing"), ("{value} is not a number", "give a number")),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
        ("{value} is not a whole number", "give a whole number"),
    ),
    **dict.fromkeys(
        ("bool_type", "bool_parsing"), ("{value} is neither true nor false", "give true or false")
    ),
    **dict.fromkeys(
        ("string_type", "path_type"), ("{value} is not text", "give text between quotes")
    ),
    "literal_error": ("{value} is not known", "give {expected}"),
    "list_type": ("{value} is not a list", 'give a list, such as ["observation.fil"]'),
    "too_short": ("is empty", "name at least one"),
    "string_too_short": ("is empty", "give a name"),
    "string_unicode": ("is not UTF-8", "rename it"),
    "missing": ("is not given", "give it"),
    "model_type": ("{value} is not a section", "give its keys under [{key}]"),
}


def told(cause: str, remedy: str) -> PydanticCustomError:
    """Make the error of a validator of our own."""
    return PydanticCustomError("told", "{cause}; {remedy}", {"cause": cause, "remedy": remedy})


def worded(error: Mapping[str, Any]) -> tuple[str, str]:
    """Say in our words what one of pydantic's errors is: its cause and its remedy."""
    kind = "finite_number" if str(error["input"]).lower() == "nan" else error["type"]
    cause, remedy = WORDS.get(kind, ("{msg}", "correct it"))
    key, value = ".".join(map(str, error["loc"])), error["input"]
    words = {
        "value": _short(repr(value)),
        "number": f"{value:g}" if isinstance(value, float) else _short(str(value)),
        "key": key,
        "msg": error["msg"].removeprefix("Value error, ").removesuffix("."),
        **error.get("ctx", {}),
    }
    return cause.format_map(words), remedy.format_map(words)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
