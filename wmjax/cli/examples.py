"""Command lines to copy: what `wmjax` alone shows, and the end of each verb's help. A test parses every one."""

from collections.abc import Sequence

Lines = Sequence[tuple[str, str]]  # what it does, and the command line

FRONT: Lines = (
    ("see the whole story, in about a minute", "wmjax demo"),
    ("make a secret key", "wmjax keygen --image 8x8x1 --classes 10 --out my"),
    ("train a model that knows it", "wmjax embed --data digits --out run --key my.age"),
    ("ask one suspect", "wmjax verify --key my.age SUSPECT"),
    ("ask a folder of models", "wmjax audit ZOO --keys KEYS"),
    ("check somebody's claim", "wmjax judge claim.json --suspect SUSPECT"),
)

EXAMPLES: dict[str, Lines] = {
    "demo": (("look at wmjax-demo/report.html when it is done", "wmjax demo"),),
    "keygen": (
        ("for a model of 32x32 colour pictures", "wmjax keygen --image 32x32x3 --classes 10 --out my"),
        (
            "that students cannot wash off",
            "wmjax keygen --scheme spread --base run --source cifar10 --triggers 3000 --out my",
        ),
        (
            "dated, so that nobody can say it came later",
            "wmjax keygen --image 8x8x1 --classes 10 --out my --timestamp https://TSA",
        ),
    ),
    "embed": (
        ("train a marked model", "wmjax embed --data digits --model cnn --out run --key my.age --identity my.identity"),
        ("mark a model that is trained already", "wmjax embed --data digits --from clean --out run --key my.age"),
        ("after an interruption", "wmjax embed --data digits --out run --key my.age --resume"),
    ),
    "verify": (
        ("a run, or any model's file", "wmjax verify --key my.age model.onnx"),
        ("bare weights", "wmjax verify --key my.age weights.safetensors --model resnet18"),
        (
            "a service",
            "wmjax verify --key my.age v1+https://models.example/v1/models/m --max-queries 200 --token-file token",
        ),
    ),
    "audit": (
        ("every model of a folder", "wmjax audit zoo --keys keys --out audit"),
        ("after an interruption", "wmjax audit zoo --keys keys --out audit --resume"),
        ("a quarter of it, on one of four machines", "wmjax audit zoo --keys keys --out audit --shard 1/4"),
        ("the quarters together", "wmjax audit --merge audit"),
    ),
    "attack": (
        ("what thieves try, quickly", "wmjax attack run --key my.age --identity my.identity --out attacks"),
        (
            "two attacks alone",
            "wmjax attack run --key my.age --identity my.identity --out attacks --suite prune,quantise",
        ),
    ),
    "commit": (
        (
            "have it time-stamped",
            "wmjax commit my.commitment.json --timestamp https://TSA --tsa tsa.pem",
        ),
        (
            "sign a folder that anyone can verify",
            "wmjax commit my.commitment.json --release release --signer my.signer.pem",
        ),
    ),
    "claim": (
        (
            "for a judge who drew the nonce",
            "wmjax claim --key my.age --identity my.identity theirs.onnx --nonce-from nonce --out claim.json --reveal",
        ),
    ),
    "judge": (
        ("read what a claim proves by itself", "wmjax judge claim.json"),
        (
            "ask the suspect yourself, and write verdict.html",
            "wmjax judge claim.json --nonce-from nonce.txt --suspect suspect.onnx --tsa tsa.pem --out verdict",
        ),
        (
            "two claims on one model",
            "wmjax judge a.json b.json --suspect suspect.onnx --original a.onnx --original b.onnx",
        ),
    ),
    "pack": (("a folder, to be audited again and again", "wmjax pack zoo packed"),),
    "export": (("what may be published", "wmjax export run release"),),
    "prepare": (("CIFAR-10, in ~/tensorflow_datasets", "wmjax prepare cifar10"),),
    "show": (
        ("a file that was found somewhere", "wmjax show claim.json"),
        ("for a program", "wmjax show my.age --json"),
    ),
    "doctor": (("before asking for help", "wmjax doctor"),),
    "completion": (
        (
            "in bash",
            "mkdir -p ~/.local/share/bash-completion/completions && "
            "wmjax completion bash > ~/.local/share/bash-completion/completions/wmjax",
        ),
        ("in zsh, in a folder of $fpath", "mkdir -p ~/.zfunc && wmjax completion zsh > ~/.zfunc/_wmjax"),
    ),
}


def front() -> str:
    """What `wmjax` alone shows."""
    lines = ["Prove whose a neural network is. Six things to do:", "", *shown(FRONT), ""]
    more = "wmjax show FILE says what a file is, wmjax doctor what is installed.", "wmjax VERB --help has examples."
    return "\n".join([*lines, "wmjax --help lists all verbs.", *more, ""])


def epilog(verb: str) -> str:
    """The end of a verb's help."""
    return "\n".join(["examples:", *shown(EXAMPLES[verb])]).replace("%", "%%")


def shown(lines: Lines) -> list[str]:
    """Each command line under what it does."""
    return [text for what, line in lines for text in (f"  {what}:", f"    {line}")]
