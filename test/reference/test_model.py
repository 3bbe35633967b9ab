"""Our SAM parts against Hugging Face's `SamModel` with the same weights: eagerly, and through TorchScript.

pytest test/reference
"""

import os

import pytest
import torch

pytest.importorskip("transformers")
from reference import SIZES, random_sam, reference_cases, segsam_with_weights_of

SELECTED = os.environ.get("SEG_SAM_REFERENCE_SIZES", "micro,tiny").split(",")


@pytest.fixture(scope="module", params=SELECTED)
def reference(request):
    config = SIZES[request.param]
    sam = random_sam(config)
    pixels, cases = reference_cases(sam, config)
    return config, segsam_with_weights_of(sam, config), pixels, cases


@pytest.mark.parametrize("scripted", [False, True], ids=["eager", "scripted"])
@torch.inference_mode()
def test_same_embedding_and_logits(reference, scripted):
    config, model, pixels, cases = reference
    encoder, decoder = model.image_encoder, model.decoder()
    if scripted:
        encoder, decoder = torch.jit.script(encoder), torch.jit.script(decoder)
    mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
    features = encoder(((pixels.float() - mean) / std).permute(2, 0, 1).unsqueeze(0))
    assert (features[0][0] - cases[0]["embedding"]).abs().max() < 1e-4
    vectors = decoder.embed_classes(torch.randn(3, 2, config.text_width), torch.ones(3, 2, dtype=torch.bool))
    tokens, summary = decoder.condition(features, vectors)
    for case in cases:
        assert case["logits"].std() > 0.1, "the reference's logits hardly vary: nothing would be shown"
        points, labels = torch.tensor([case["points"]]), torch.tensor([case["labels"]])
        mask = case["mask"].unsqueeze(0).unsqueeze(0) if "mask" in case else None
        logits, iou, *_ = decoder.decode(features, tokens, summary, points, labels, mask)
        shown = slice(1, 4) if case["multimask"] else slice(0, 1)
        assert (logits[0, shown] - case["logits"]).abs().max() < 1e-4, case["name"]
        assert (iou[0, shown] - case["iou"]).abs().max() < 1e-4, case["name"]
