"""What each knob is and where it comes from, in a line each, for tables of a space."""

from typing import NamedTuple


class Knob(NamedTuple):
    """What a knob does, and the source of the choice it offers."""

    about: str
    source: str


KNOBS: dict[str, Knob] = {
    # === Network ===
    "stages": Knob("resolutions, each half the one before", "He et al. 2016"),
    "blocks_per_stage": Knob("blocks of two convolutions", "He et al. 2016"),
    "base_filters": Knob(
        "width of the first stage or level", "Zagoruyko & Komodakis 2016"
    ),
    "width_growth": Knob(
        "width of a stage over that of the one before", "Radosavovic et al. 2020"
    ),
    "stem_stride": Knob(
        "2 works at half the image's size from the first convolution on; a quarter of "
        "the cost",
        "He et al. 2016; Chollet 2021, section 9.2",
    ),
    "convolution": Knob("standard, or depthwise separable", "Chollet 2017"),
    "convolutions_per_level": Knob(
        "convolutions between two changes of size", "Ronneberger et al. 2015 (2)"
    ),
    "residual": Knob("adds the input of a block to its output", "He et al. 2016"),
    "normalization": Knob(
        "of a batch, of groups of channels, or none",
        "Ioffe & Szegedy 2015; Wu & He 2018",
    ),
    "activation": Knob(
        "after each convolution", "Hendrycks & Gimpel 2016; Ramachandran et al. 2017"
    ),
    "downsampling": Knob(
        "halving by a strided convolution or by max pooling", "Springenberg et al. 2015"
    ),
    "squeeze_excitation": Knob("weighs channels by the whole image", "Hu et al. 2018"),
    "stochastic_depth_rate": Knob(
        "how often the deepest branch is dropped, others less", "Huang et al. 2016"
    ),
    "dropout_rate": Knob("share of values dropped", "Srivastava et al. 2014"),
    "depth": Knob("halvings; each must leave 4 pixels", "Ronneberger et al. 2015"),
    "skip": Knob("joins encoder and decoder at each level", "Ronneberger et al. 2015"),
    "upsampling": Knob(
        "how a decoder doubles its size", "Odena et al. 2016; Shi et al. 2016"
    ),
    "transpose_kernel": Knob(
        "multiples of the stride, which paint no checkerboards", "Odena et al. 2016"
    ),
    "decoder_filters": Knob(
        "width of the decoder's coarsest level, halved at each finer one",
        "TensorFlow's segmentation tutorial (512)",
    ),
    "backbone": Knob("network pretrained on ImageNet", "keras.applications"),
    "alpha": Knob("width multiplier of MobileNetV2", "Sandler et al. 2018"),
    "input_size": Knob(
        "edge in pixels of what the backbone sees; cost grows with its square",
        "Touvron et al. 2019; 224 is what the backbones were trained at",
    ),
    "pooling": Knob(
        "from backbone to head: global average or all positions", "Lin et al. 2014"
    ),
    "dense_units": Knob(
        "units of the head's hidden layer, 0 for none", "Chollet 2021, section 8.3"
    ),
    "unfrozen_blocks": Knob(
        "upper blocks, of 5, that learn; 0 extracts features only",
        "Chollet 2021, section 8.3",
    ),
    "backbone_rate_fraction": Knob(
        "learning rate of 1 or 2 unfrozen blocks over the head's",
        "Howard & Ruder 2018; Chollet 2021 (0.01)",
    ),
    "deep_backbone_rate_fraction": Knob(
        "the same where 3 blocks or more learn: general features move less",
        "Howard & Ruder 2018 (2.6 times less a layer)",
    ),
    "head_first_fraction": Knob(
        "share of the epochs in which only the head learns", "Chollet 2021, section 8.3"
    ),
    # === Data ===
    "augmentation": Knob(
        "random changes of training images, from none to strong",
        "He et al. 2016 (flip, crop); Cubuk et al. 2020 (rand_augment)",
    ),
    "mixing": Knob(
        "mixes pairs of images and their labels", "Zhang et al. 2018; Yun et al. 2019"
    ),
    "erasing_probability": Knob(
        "how often a random rectangle is painted over", "Zhong et al. 2020"
    ),
    # === Training ===
    "loss": Knob(
        "cross-entropy, Dice, their sum, focal or Tversky",
        "Isensee et al. 2021; Milletari et al. 2016; Lin et al. 2017; "
        "Salehi et al. 2017",
    ),
    "batch_size": Knob("images a step", "Masters & Luschi 2018; Goyal et al. 2017"),
    "label_smoothing": Knob(
        "share of a label spread over all classes", "Szegedy et al. 2016"
    ),
    "weight_averaging": Knob(
        "the weights at the end of an epoch are their moving average (EMA)",
        "Polyak & Juditsky 1992; Izmailov et al. 2018",
    ),
    "optimizer": Knob(
        "adam, adamw, rmsprop, or sgd with Nesterov momentum 0.9",
        "Kingma & Ba 2015; Loshchilov & Hutter 2019; Sutskever et al. 2013",
    ),
    "learning_rate": Knob(
        "largest learning rate of adam, adamw and rmsprop", "Bengio 2012 (log-uniform)"
    ),
    "sgd_learning_rate": Knob(
        "largest learning rate of sgd",
        "Bengio 2012 (log-uniform); He et al. 2016 (0.1)",
    ),
    "weight_decay": Knob("decoupled, of adamw", "Loshchilov & Hutter 2019"),
    "sgd_weight_decay": Knob(
        "decoupled, of sgd; ten times what it would be in the gradient",
        "Zagoruyko & Komodakis 2016 (5e-4 in the gradient)",
    ),
    "schedule": Knob(
        "learning rate over the trial's whole life",
        "Loshchilov & Hutter 2017; He et al. 2016 (step); Smith & Topin 2018",
    ),
    "warmup_fraction": Knob(
        "share of the steps of a linear rise at the start", "Goyal et al. 2017"
    ),
}
