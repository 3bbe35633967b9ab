import pytest
import torch

from seg_sam.bundle import script
from seg_sam.model import SegSam
from seg_sam.prompt_raster import PromptRaster
from synthetic import MICRO, MICRO_SAM, lively


@pytest.fixture(scope="module", params=[MICRO, MICRO_SAM], ids=["micro", "micro_sam"])
def model(request):
    torch.manual_seed(0)
    return lively(SegSam(request.param))


def random_prompts(count: int, points: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count, points), generator=generator)
    labels[1::2, -1] = -1
    return torch.rand(count, points, 2, generator=generator) * 63, labels


def conditioned(model: SegSam, classes: int, images: int = 1):
    generator = torch.Generator().manual_seed(classes)
    decoder = model.decoder()
    features = model.image_encoder(torch.randn(images, 3, 64, 64, generator=generator))
    sentences = torch.randn(classes, 3, 256, generator=generator)
    vectors = decoder.embed_classes(sentences, torch.ones(classes, 3, dtype=torch.bool))
    return decoder, features, *decoder.condition(features, vectors)


@torch.no_grad()
def test_class_tokens_do_not_depend_on_which_other_classes_are_asked(model):
    decoder = model.decoder()
    features = model.image_encoder(torch.randn(1, 3, 64, 64))
    sentences, valid = torch.randn(5, 3, 256), torch.ones(5, 3, dtype=torch.bool)
    together, _ = decoder.condition(features, decoder.embed_classes(sentences, valid))
    some, _ = decoder.condition(features, decoder.embed_classes(sentences[[3, 1]], valid[[3, 1]]))
    assert (some - together[:, [3, 1]]).abs().max() < 1e-5
    assert (together[:, 3] - together[:, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_masks_alone_are_those_of_the_whole_decode(model):
    decoder, features, tokens, summary = conditioned(model, classes=3)
    points, labels = random_prompts(4, 2)
    scripted = torch.jit.script(decoder)
    for mask in (None, torch.randn(4, 1, model.config.mask_size, model.config.mask_size)):
        logits, iou, *_ = decoder.decode(features, tokens, summary, points, labels, mask)
        for module in (decoder, scripted):
            alone = module.decode_binary(features, points, labels, mask)
            assert torch.allclose(alone[0], logits, atol=1e-5) and torch.allclose(alone[1], iou, atol=1e-5)


@torch.no_grad()
def test_sentences_that_a_card_does_not_have_are_not_read(model):
    decoder = model.decoder()
    sentences = torch.randn(2, 4, 256)
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])
    changed = sentences.clone()
    changed[0, 2:] = 9.0
    vectors, again = decoder.embed_classes(sentences, valid), decoder.embed_classes(changed, valid)
    assert torch.equal(vectors, again)
    alone = decoder.embed_classes(sentences[:1, :2], valid[:1, :2])
    assert (vectors[0] - alone[0]).abs().max() < 1e-5


@torch.no_grad()
def test_class_vectors_in_half_precision_are_near_those_in_full(model):
    sentences, valid = torch.randn(2, 3, 256), torch.tensor([[True, False, False], [True, True, True]])
    full = model.text_to_vision.embed_classes(sentences, valid)
    half = lively(SegSam(model.config)).text_to_vision
    half.load_state_dict(model.text_to_vision.state_dict())
    assert (half.half().embed_classes(sentences.half(), valid).float() - full).abs().max() < 2e-2


@pytest.mark.parametrize("with_masks", [False, True], ids=["no_mask", "masks"])
@torch.no_grad()
def test_a_prompt_gives_the_same_alone_and_among_others(model, with_masks):
    decoder, features, tokens, summary = conditioned(model, 3)
    points, labels = random_prompts(5, 3)
    side = model.config.mask_size
    masks = torch.randn(5, 1, side, side) if with_masks else None
    together = decoder.decode(features, tokens, summary, points, labels, masks)
    for i in range(5):
        one = slice(i, i + 1)
        mask = None if masks is None else masks[one]
        alone = decoder.decode(features, tokens, summary, points[one], labels[one], mask)
        for a, b in zip(alone, together, strict=True):
            assert (a[0] - b[i]).abs().max() < 1e-4
    assert (together[0][0] - together[0][1]).abs().max() > 1e-2


@torch.no_grad()
def test_prompts_of_several_images_go_to_their_own_image(model):
    decoder, features, tokens, summary = conditioned(model, 3, images=2)
    points, labels = random_prompts(6, 2)
    together = decoder.decode(features, tokens, summary, points, labels, None)
    for image in range(2):
        own, rows = [f[image : image + 1] for f in features], slice(3 * image, 3 * image + 3)
        alone = decoder.decode(
            own, tokens[image : image + 1], summary[image : image + 1], points[rows], labels[rows], None
        )
        for a, b in zip(alone, together, strict=True):
            assert (a - b[rows]).abs().max() < 1e-4


@torch.no_grad()
def test_any_number_of_prompts_points_and_classes_runs_through_one_scripted_file(model, tmp_path):
    script(model.image_encoder, tmp_path / "encoder.pt", "float32")
    script(model.decoder(), tmp_path / "decoder.pt", "float32")
    encoder, scripted = torch.jit.load(tmp_path / "encoder.pt"), torch.jit.load(tmp_path / "decoder.pt")
    side, co_tokens = model.config.mask_size, model.config.num_co_tokens
    for prompts, points, classes, masks in [(1, 2, 1, False), (3, 1, 4, True), (7, 6, 2, False), (2, 2, 9, True)]:
        decoder, features, tokens, summary = conditioned(model, classes)
        xy, labels = random_prompts(prompts, points)
        mask = torch.randn(prompts, 1, side, side) if masks else None
        expected = decoder.decode(features, tokens, summary, xy, labels, mask)
        got = scripted.decode(features, tokens, summary, xy, labels, mask)
        shapes = [tuple(t.shape) for t in got]
        assert shapes == [
            (prompts, 4, side, side),
            (prompts, 4),
            (prompts, 1, side, side),
            (prompts, classes + 1),
            (prompts, co_tokens, classes + 1),
        ]
        for a, b in zip(got, expected, strict=True):
            assert (a - b).abs().max() < 1e-4
    images = torch.randn(3, 3, 64, 64)
    for a, b in zip(encoder(images), model.image_encoder(images), strict=True):
        assert (a - b).abs().max() < 1e-4


@torch.no_grad()
def test_every_kind_of_label_changes_the_prompt(model):
    points = torch.tensor([[[20.0, 30.0]]])
    seen = [model.prompt_encoder(points, torch.tensor([[label]]), None)[0] for label in (-1, 0, 1, 2, 3)]
    for i, a in enumerate(seen):
        for b in seen[:i]:
            assert (a - b).abs().max() > 1e-3
    elsewhere = model.prompt_encoder(points + 9, torch.tensor([[-1]]), None)[0]
    assert torch.equal(seen[0], elsewhere), "a padding point has no place"


def test_a_box_is_drawn_where_it_lies():
    drawn = PromptRaster(MICRO).draw(torch.tensor([[[16.0, 24.0], [47.0, 39.0]]]), torch.tensor([[2, 3]]), None)[0]
    inside, u, v, foreground, background, earlier = drawn
    assert drawn.shape == (6, 16, 16)
    rows, columns = torch.nonzero(inside > 0.5, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 9, 4, 11)
    assert u[8, 4] < -0.7 < 0.7 < u[8, 11] and abs(u[8, 8] + u[8, 7]) < 0.1
    assert v[6, 8] < -0.5 < 0.5 < v[9, 8]
    assert not foreground.any() and not background.any() and not earlier.any()


def test_points_are_drawn_by_their_label_and_padding_is_not():
    points = torch.tensor([[[9.5, 21.5], [41.5, 5.5], [30.0, 50.0]]])
    drawn = PromptRaster(MICRO).draw(points, torch.tensor([[1, 0, -1]]), None)[0]
    inside, u, v, foreground, background, _ = drawn
    assert foreground.argmax() == 5 * 16 + 2 and background.argmax() == 1 * 16 + 10
    assert foreground[12, 7] < 0.01 and background[12, 7] < 0.01
    assert not inside.any() and not u.any() and not v.any()


def test_the_focus_is_amid_the_box_and_around_foreground_points():
    raster = PromptRaster(MICRO)
    box = raster.focus(raster.draw(torch.tensor([[[16.0, 24.0], [47.0, 39.0]]]), torch.tensor([[2, 3]]), None))[0, 0]
    assert box[7:9, 7:9].min() > 0.7 and box[7, 4] < 0.1 and box[0].max() < 0.01
    points = torch.tensor([[[9.5, 21.5], [41.5, 5.5], [30.0, 50.0]]])
    spot = raster.focus(raster.draw(points, torch.tensor([[1, 0, -1]]), None))[0, 0]
    assert spot.argmax() == 5 * 16 + 2 and spot[1, 10] < 0.01 and spot[12, 7] < 0.01


@torch.no_grad()
def test_pixels_like_those_in_focus_are_told_from_others():
    upscaling = lively(SegSam(MICRO)).mask_decoder.output_upscaling
    left, right = torch.zeros(2, 1, 16, 16)
    left[..., :8], right[..., 8:] = 1, 1
    features = torch.randn(1, 8, 1, 1) * left + torch.randn(1, 8, 1, 1) * right
    a, b = upscaling.pixels_alike(features, torch.stack([left, right]))
    assert (a - b).abs().max() > 0.01, "the kernel is the focus's"
    for joined in (a, b):
        assert torch.allclose(joined[:, :, :8], joined[:, :1, :1].expand(-1, 16, 8), atol=1e-5)
        assert torch.allclose(joined[:, :, 8:], joined[:, -1:, -1:].expand(-1, 16, 8), atol=1e-5)
    other = upscaling.pixels_alike(features, left.unsqueeze(0))[0]
    assert torch.allclose(a, other, atol=1e-5), "the focus of another prompt has no part in it"


def test_a_model_without_text_refuses_another_number_of_classes_than_it_knows():
    from dataclasses import replace

    model = SegSam(replace(MICRO, text_to_vision=False, num_classes=3))
    scripted = torch.jit.script(model.decoder())
    assert scripted.embed_classes(torch.zeros(3, 1, 256), torch.ones(3, 1, dtype=torch.bool)).shape == (3, 32)
    for decoder, error in ((model.decoder(), ValueError), (scripted, torch.jit.Error)):
        with pytest.raises(error, match="all of its 3 classes"):
            decoder.embed_classes(torch.zeros(2, 1, 256), torch.ones(2, 1, dtype=torch.bool))
