"""What the flags of other translation toolkits are called here."""

from collections.abc import Collection, Mapping

from transformer.config.run import Config
from transformer.system.errors import nearest
from transformer.system.messages import called

GPU = (
    " A GPU is used by itself where TensorFlow sees one: pip install 'transformer-reference[gpu]'; "
    "$CUDA_VISIBLE_DEVICES chooses among several"
)
RUN = ("--run", "RUN")
# Names in OpenNMT, fairseq, Marian, Sockeye and Hugging Face: flags and arguments of ours in whose place they stand (a
# script has some of them), or a setting. Settings that are called as they are here need no entry.
OTHERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--lr", "--learning-rate", "--peak-lr"), ("training.peak_learning_rate",)),
    **dict.fromkeys(
        ("--epochs", "--num-epochs", "--max-epoch", "--num-train-epochs", "--max-update", "--max-updates")
        + ("--train-steps", "--steps"),
        ("--max-steps", "--max-minutes"),
    ),
    **dict.fromkeys(("--batch-size", "--mini-batch", "--batch"), ("data.batch_tokens",)),
    **dict.fromkeys(("--model", "--model-dir", "--models"), (*RUN, "--preset")),
    **dict.fromkeys(("--checkpoint", "--ckpt", "--path", "--model-path"), ("--init-from", *RUN)),
    **dict.fromkeys(("--resume", "--restore-file", "--from-pretrained", "--train-from"), ("--init-from", *RUN)),
    **dict.fromkeys(("--output-dir", "--save-dir", "--save", "--out-dir"), ("--output", "OUT", "--run")),
    **dict.fromkeys(("--out", "--output-file", "-o", "--save-path"), ("--output", "OUT", "--run")),
    **dict.fromkeys(
        ("--file", "--input-file", "-i", "--src", "--text", "--filename"), ("--input", "--source", "--tsv", "HYP")
    ),
    **dict.fromkeys(("--tgt", "--trg", "--ref", "--reference"), ("--target", "REF")),
    **dict.fromkeys(("--train", "--train-file", "--train-data", "--train-sets"), ("--source", "--tsv", "--dataset")),
    **dict.fromkeys(("--src-lang", "--source-lang", "-s"), ("--source-language",)),
    **dict.fromkeys(("--tgt-lang", "--target-lang", "-t", "--language"), ("--target-language",)),
    **dict.fromkeys(("--beam", "--num-beams", "-b"), ("--beam-size",)),
    **dict.fromkeys(("--nbest", "--num-return-sequences"), ("--n-best",)),
    **dict.fromkeys(("--lenpen", "--alpha", "--normalize"), ("--length-penalty",)),
    **dict.fromkeys(("--fp16", "--bf16", "--amp", "--mixed-precision"), ("--precision",)),
    **dict.fromkeys(("--layers", "--num-hidden-layers", "--enc-layers"), ("model.num_layers",)),
    **dict.fromkeys(("--heads", "--nhead"), ("model.num_heads",)),
    **dict.fromkeys(("--hidden-size", "--dim", "--rnn-size", "--dim-model"), ("model.d_model",)),
    **dict.fromkeys(("--dropout",), ("model.dropout_rate",)),
    **dict.fromkeys(("--vocab-size",), ("text.vocabulary_size",)),
    **dict.fromkeys(("--warmup", "--warmup-updates"), ("training.warmup_steps",)),
    **dict.fromkeys(("--update-freq", "--accum-count", "--gradient-accumulation-steps"), ("training.accumulate",)),
    **dict.fromkeys(("--early-stopping",), ("training.patience",)),
}
GPU_FLAGS = ("--gpu", "--gpus", "--gpu-ranks", "--device", "--devices", "--cuda", "--num-gpus", "--use-gpu")
HELP = ("-h", "--help")


def meaning(flag: str, known: Collection[str]) -> str:
    """Return what to do instead of giving a flag that is unknown, with a space before it, or an empty string.

    Args:
        flag: as it was given, without a value.
        known: the flags of the script, and what it calls its arguments without a flag.
    """
    name = flag.lower().replace("_", "-")
    if name in GPU_FLAGS:
        return f"{GPU}."
    if name in known:
        return f" Did you mean '{name}'?"
    offered = OTHERS.get(name, ())
    flags = [f"'{other}'" for other in offered if other in known and other.startswith("-")]
    if flags:
        return f" Did you mean {' or '.join(flags)}?"
    if bare := [other for other in offered if other in known]:
        return f" Give {bare[0]} without a flag."
    typo = nearest(name, [other for other in known if other.startswith("--") and other not in HELP])
    setting = next((other for other in offered if "." in other), "") or _settings().get(name, "")
    if setting:
        command = "" if "--set" in known else f"{called('train')} "
        return f" Give {command}--set {setting}=VALUE."
    return typo


def _settings() -> Mapping[str, str]:
    """Return every setting, such as `training.warmup_steps`, by the flag that it would have."""
    sections = Config().to_dict().items()
    return {"--" + name.replace("_", "-"): f"{section}.{name}" for section, values in sections for name in values}
