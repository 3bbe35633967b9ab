import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def card_file(tmp_path_factory):
    from synthetic import write_cards

    return write_cards(tmp_path_factory.mktemp("cards") / "shapes.json")


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory, card_file):
    """What `train_text.py` writes, after a few steps on the synthetic cards."""
    import train_text

    out = tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--cards", str(card_file), "--out", str(out), "--steps", "3", "--vocabulary", "200"]
        patch.setattr(sys, "argv", ["train_text", *arguments])
        train_text.main()
    return out


@pytest.fixture
def run_main(monkeypatch):
    """Calls the `main` of a command with arguments, where the sizes include `micro`."""
    from seg_sam.config import SIZES
    from synthetic import MICRO

    def call(module, *arguments):
        monkeypatch.setitem(SIZES, "micro", MICRO)
        monkeypatch.setattr(sys, "argv", [module.__name__, *(str(a) for a in arguments)])
        module.main()

    return call
