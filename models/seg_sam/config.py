"""The sizes in which the model comes."""

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Config:
    """Architecture of one model. Marks: [S] as SAM has it, [D] decided here."""

    name: str = "vit_b"
    image_size: int = 1024
    resize_mode: str = "longest"
    default_window: str = "auto"  # auto | min_max: intensities taken for black and white where the caller says none
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    adapters: bool = False  # SAM-Med2D's, in every block
    conv_stem: bool = False  # [D] convolutions to the patch grid instead of one patch projection
    stem_channels: tuple[int, int, int] = (32, 64, 128)  # at strides 2, 4 and 8
    fine_masks: bool = False  # [D] stem features join the upscaling, masks come out at S/2; needs conv_stem
    raster_prompts: bool = False  # [D] prompts are also drawn as maps; needs fine_masks
    prompt_dim: int = 256
    mask_in_chans: int = 16
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_hidden_dim: int = 256
    semantic: str = "independent"  # independent | shared | none (ablation)
    text_to_vision: bool = True  # False: a learned vector for each class and no summary token (ablation)
    text_width: int = 256
    num_co_tokens: int = 16
    num_classes: int = 0  # only used without text_to_vision
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def mask_size(self) -> int:
        return self.grid * (8 if self.fine_masks else 4)

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "Config":
        lists_to_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Config(**lists_to_tuples)


_VIT_B = Config()

SIZES: dict[str, Config] = {
    "tiny": Config(
        name="tiny",
        image_size=256,
        embed_dim=192,
        depth=8,
        num_heads=3,
        global_attn_indexes=tuple(range(8)),
        conv_stem=True,
        stem_channels=(24, 48, 96),
        fine_masks=True,
        raster_prompts=True,
        prompt_dim=128,
        decoder_heads=4,
        decoder_mlp_dim=512,
        iou_hidden_dim=128,
        num_co_tokens=32,
    ),
    "vit_b": _VIT_B,
    "vit_l": replace(_VIT_B, name="vit_l", embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)),
    "vit_h": replace(_VIT_B, name="vit_h", embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)),
}
