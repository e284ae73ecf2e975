"""The smallest networks that are still searched, for tests that drive searches."""

from search.records import Value

# Only rates and smoothing are left to draw, so that all trials share one graph.
ONE_GRAPH: dict[str, Value] = {
    "stem_stride": 2,
    "stages": 2,
    "blocks_per_stage": 1,
    "base_filters": 16,
    "width_growth": 1.5,
    "convolution": "standard",
    "residual": False,
    "normalization": "batch",
    "activation": "relu",
    "downsampling": "stride",
    "squeeze_excitation": False,
    "dropout_rate": 0.0,
    "augmentation": "none",
    "mixing": "none",
    "erasing_probability": 0.0,
    "batch_size": 16,
    "weight_averaging": False,
    "optimizer": "adamw",
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
SMALL_UNET: dict[str, Value] = {
    "depth": 2,
    "base_filters": 8,
    "stem_stride": 2,
    "convolutions_per_level": 1,
    "upsampling": "bilinear",
}


def fixed(values: dict[str, Value]) -> list[str]:
    """Return the words that fix knobs on a command line."""
    return [w for knob, v in values.items() for w in ("--fix", f"{knob}={v}".lower())]
