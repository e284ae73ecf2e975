#!/bin/sh
# Makes the real results in results/ again: real_results.sh DATA WEIGHTS [PART]...
# DATA holds tensorflow_datasets/cifar100 and VOCdevkit/VOC2012, WEIGHTS is the file of
# MobileNetV2 0.35 without its top. Parts: voc cifar convnet path unet. Each goes on where it
# was stopped. On two CPU cores with nothing beside: voc under an hour, the others hours.
set -eu
data=$1 weights=$2
shift 2
vt="${VISION_TUNER:-vision-tuner}"

finish() {
    $vt finalize "$@"
    $vt export "$1"
    $vt report "$1"
}

voc() { # U-Net on the pretrained encoder, larger images than the default
    $vt search voc2012-mobilenet --name voc2012-mobilenet-192 --data-dir "$data" \
        --weights "$weights" --image-size 192 --epochs 27 --trials 9 \
        --fix upsampling=bilinear --fix optimizer=adam --fix schedule=cosine \
        --fix batch_size=8 --max-flops 568e6
    finish voc2012-mobilenet-192 --top 3 --seeds 2 --tta flip
}

cifar() { # the upper block learns; what is frozen is computed once for two augmented passes
    $vt search cifar100-vgg16 --name cifar100-mobilenet --data-dir "$data" \
        --weights "$weights" --fix backbone=mobilenet_v2 --fix unfrozen_blocks=1 \
        --fix input_size=128 --fix augmentation=flip_crop --fix mixing=none \
        --fix erasing_probability=0 --fix pooling=global --fix dense_units=0 \
        --fix dropout_rate=0.2 --fix learning_rate=0.002 --fix batch_size=128 \
        --fix label_smoothing=0.1 --fix optimizer=adam --fix schedule=cosine \
        --fix backbone_rate_fraction=0.3 --fix head_first_fraction=0 \
        --augmented-passes 2 --tuner random --trials 1 --epochs 6 --max-flops 1e9
    finish cifar100-mobilenet --top 1 --seeds 2
}

convnet() { # from scratch, six questions of design
    $vt search cifar100-convnet --name cifar100-convnet-scratch --data-dir "$data" \
        --limit-train 10000 --epochs 12 --trials 24 \
        --fix stem_stride=2 --fix stages=3 --fix width_growth=2.0 \
        --fix normalization=batch --fix activation=relu --fix downsampling=stride \
        --fix squeeze_excitation=false --fix stochastic_depth_rate=0 \
        --fix dropout_rate=0 --fix mixing=none --fix erasing_probability=0 \
        --fix batch_size=64 --fix label_smoothing=0 --fix weight_averaging=false \
        --fix optimizer=adamw --fix weight_decay=0.01 --fix schedule=cosine \
        --fix warmup_fraction=0.05
    finish cifar100-convnet-scratch --top 3 --seeds 2
}

path() { # from a plain network to the default one, a choice of design at a time
    $vt compare cifar100-convnet --name cifar100-convnet-path --data-dir "$data" \
        --limit-train 5000 --epochs 8 --fix weight_averaging=false --seeds 3 \
        --path --from default --start normalization=none --start residual=false \
        --start augmentation=none --start schedule=constant \
        --start downsampling=max_pool
    $vt report cifar100-convnet-path
}

unet() { # from scratch
    $vt search voc2012-unet --name voc2012-unet-96 --data-dir "$data" --image-size 96 \
        --epochs 27 --trials 9
    finish voc2012-unet-96 --top 3 --seeds 2
}

[ $# -gt 0 ] || set -- voc cifar convnet path unet
for part in "$@"; do
    "$part"
done
