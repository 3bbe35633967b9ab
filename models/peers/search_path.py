"""Imported first: where the model's own modules and the tests' references are."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

sys.path[:0] = [str(ROOT / "models"), str(ROOT / "test" / "reference")]
