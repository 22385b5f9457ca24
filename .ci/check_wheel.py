"""Check that a wheel holds every model of the checkout, byte for byte."""

import sys
from pathlib import Path
from zipfile import ZipFile

models = Path(__file__).parents[1] / "models"
with ZipFile(sys.argv[1]) as wheel:
    inside = {name: wheel.read(name) for name in wheel.namelist()}
missing = [
    str(path)
    for path in models.rglob("*")
    if path.is_file()
    and inside.get(f"mlppa/_models/{path.relative_to(models).as_posix()}") != path.read_bytes()
]
if missing:
    sys.exit(f"not in {sys.argv[1]}: {', '.join(missing)}")
