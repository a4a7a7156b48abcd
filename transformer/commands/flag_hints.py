"""What the flags of other translation toolkits are called here."""

from collections.abc import Collection, Mapping

from transformer.config.run import Config
from transformer.system.errors import nearest
from transformer.system.messages import called

GPU = (
    " A GPU is used by itself where TensorFlow sees one: pip install 'transformer-reference[gpu]'; "
    "$CUDA_VISIBLE_DEVICES chooses among several"
)
# Flags and arguments of ours (a script has some of them), or a setting, and the names that OpenNMT, fairseq, Marian,
# Sockeye and Hugging Face have for them. Settings that are called as they are here need no entry.
_TABLE = """
training.peak_learning_rate: --lr --learning-rate --peak-lr
--max-steps --max-minutes: --epochs --num-epochs --max-epoch --num-train-epochs
--max-steps --max-minutes: --max-update --max-updates --train-steps --steps
data.batch_tokens: --batch-size --mini-batch --batch
--run RUN --preset: --model --model-dir --models
--init-from --run RUN: --checkpoint --ckpt --path --model-path --resume --restore-file --from-pretrained --train-from
--output OUT --run: --output-dir --save-dir --save --out-dir --out --output-file -o --save-path
--input --source --tsv HYP: --file --input-file -i --src --text --filename
--target REF: --tgt --trg --ref --reference
--source --tsv --dataset: --train --train-file --train-data --train-sets
--source-language: --src-lang --source-lang -s
--target-language: --tgt-lang --target-lang -t --language
--beam-size: --beam --num-beams -b
--n-best --samples: --nbest --num-return-sequences --num-samples
--max-tokens --max-length: --max-new-tokens
--length-penalty: --lenpen --alpha --normalize
--precision: --fp16 --bf16 --amp --mixed-precision
model.num_layers: --layers --num-hidden-layers --enc-layers
model.num_heads: --heads --nhead
model.d_model: --hidden-size --dim --rnn-size --dim-model
model.dropout_rate: --dropout
text.vocabulary_size: --vocab-size
training.warmup_steps: --warmup --warmup-updates
training.accumulate: --update-freq --accum-count --gradient-accumulation-steps
training.patience: --early-stopping
"""
OTHERS = {
    flag: tuple(ours.split())
    for ours, _, theirs in (row.partition(": ") for row in _TABLE.strip().splitlines())
    for flag in theirs.split()
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
