"""Commands that the help of each verb shows, the simplest first; all are tested."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "studies": ("studies",),
    "data": ("data cifar100", "data flowers --image-size 96"),
    "init": ("init flowers", "init cells --file cells.toml"),
    "space": ("space cifar100-convnet", "space study.toml --tuner random --trials 8"),
    "search": (
        "search cifar100-convnet --name small --limit-train 5000 --epochs 9",
        "search cifar100-vgg16 --fix unfrozen_blocks=0 --dry-run",
        "search study.toml --budget 2h --finalize",
        "search --dataset flowers --hypermodel my_network:Patches",
        "search cifar100-convnet --tuner my_tuner:Evolution --name with-evolution",
    ),
    "trials": ("trials cifar100-convnet", "trials cifar100-convnet --json"),
    "finalize": (
        "finalize cifar100-convnet",
        "finalize voc2012-mobilenet --top 3 --seeds 2 --tta flip --use-validation",
    ),
    "compare": (
        "compare voc2012-unet --vary upsampling --seeds 3",
        "compare cifar100-vgg16 --from default --vary unfrozen_blocks --values 0,1,5",
        "compare cifar100-convnet --path",
    ),
    "export": ("export cifar100-convnet", "export cifar100-convnet --format all"),
    "predict": (
        "predict cifar100-convnet picture.jpg",
        "predict results/flowers/export/ensemble.onnx photos --top 3",
    ),
    "report": ("report", "report cifar100-convnet"),
    "board": ("board", "board cifar100-convnet --port 0"),
    "demo": ("demo", "demo --results-dir /tmp/demo"),
}


def epilog(verb: str) -> str:
    """Return the examples of a verb as the last lines of its help."""
    lines = [f"  [bold]vision-tuner {words}[/bold]" for words in EXAMPLES[verb]]
    return "\n\n".join(["Examples:", *lines])
