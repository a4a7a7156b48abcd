"""What happens to a run when its process, its files or its owner's patience come to an end."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from safetensors import safe_open
from shared_graphs import Trainer, give_back
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.arrays import model_variables
from transformer.checkpoints.run_directory import BEST, LAST, PREVIOUS, RunDirectory
from transformer.system.errors import UserError

pytestmark = pytest.mark.slow  # runs are trained, interrupted and resumed

LENGTH = {"max_steps": 12, "validate_every": 6, "log_every": 5}
RECIPE = {"schedule": "inverse_sqrt", "peak_learning_rate": 0.01, "averaging": 0.8}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return a function from settings of [training] to a trainer, in a new directory or in a given one."""
    folder = tmp_path_factory.mktemp("interruption")
    data = write_corpus(folder)

    def make_trainer(run=None, **training):
        if run:
            give_back()  # whoever trained there before has ended
        config = tiny_config(folder, data, model={"dropout_rate": 0.2}, training={**LENGTH, **RECIPE, **training})
        return Trainer(config, run or RunDirectory(tmp_path_factory.mktemp("run") / "run"))

    return make_trainer


@pytest.fixture(scope="module")
def whole(make):
    """An undisturbed run."""
    trainer = make()
    trainer.train()
    give_back()
    return trainer


def metrics(run):
    lines = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second", "waiting_for_data")}
        for line in lines
    ]


def arrays(path):
    with safe_open(str(path), framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def same_arrays(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def signalled(trainer, number, at):
    """Send this process a signal during a step."""
    step = trainer.steps.train

    def train_step(batches):
        if trainer.state.step + 1 == at:
            os.kill(os.getpid(), number)
        return step(batches)

    trainer.steps.train = train_step


@pytest.mark.parametrize(
    "number, raised, code",
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)],
)
def test_a_signal_saves_the_step_at_hand_and_the_run_goes_on_as_if_nothing_had_been(
    make, whole, capsys, number, raised, code
):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    trainer = make()
    signalled(trainer, number, at=8)  # between two reports, two validations, and inside an epoch
    with pytest.raises(raised) as ended:
        trainer.train()
    assert code is None or ended.value.code == code
    assert f"{number.name} after step 8: everything is saved" in capsys.readouterr().err
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed = make(trainer.run)
    assert resumed.state.step == 8
    resumed.train()
    assert metrics(trainer.run) == metrics(whole.run)
    for which in (LAST, BEST):
        same_arrays(trainer.run.weights(which), whole.run.weights(which))


def test_exit_codes_of_the_process(tmp_path):
    """`train.py` answers SIGTERM with code 143 and one line, and its run continues."""
    data = write_corpus(tmp_path)
    config = tiny_config(tmp_path, data, training={"max_steps": 10**6, "validate_every": 10**6, "log_every": 1})
    lines = [
        f"[{section}]" + "".join(f"\n{k} = {json.dumps(v)}" for k, v in values.items())
        for section, values in config.to_dict().items()
    ]
    (tmp_path / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, str(ROOT / "train.py"), "--config", "config.toml", "--run", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, bufsize=1)
    told = []
    for line in process.stderr:
        told.append(line)
        if line.startswith("step 3 "):
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 143, told
    assert "SIGTERM after step" in told[-1] and "Traceback" not in "".join(told)
    assert RunDirectory(tmp_path / "run").weights(LAST).exists()


def test_the_directory_belongs_to_one_process_at_a_time(make):
    trainer = make()  # holds its directory from the moment it is made
    code = (
        "import sys\n"
        "from transformer.checkpoints.run_directory import RunDirectory\n"
        "from transformer.system.errors import UserError\n"
        "try:\n    RunDirectory(sys.argv[1]).lock()\n"
        "except UserError as error:\n    print(error)\n"
    )

    def locked_elsewhere():
        command = [sys.executable, "-c", code, str(trainer.run.path)]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "another process is training" in locked_elsewhere()
    with pytest.raises(UserError, match="another process is training .*choose another --run"):
        make(RunDirectory(trainer.run.path))
    trainer.train()
    assert locked_elsewhere() == ""


@pytest.mark.parametrize("damage", ["cut", "torn", "gone"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(make, whole, capsys, damage):
    trainer = make()
    trainer.train()
    last = trainer.run.weights(LAST)
    content = last.read_bytes()
    if damage == "cut":
        last.write_bytes(content[: len(content) // 2])
    elif damage == "torn":  # a page that never reached the disk
        last.write_bytes(content[:-8192] + bytes(4096) + content[-4096:])
    else:
        last.unlink()
    (trainer.run.path / ".last.safetensors.123").write_bytes(content[:99])  # a killed process was writing it
    capsys.readouterr()
    resumed = make(trainer.run)
    told = capsys.readouterr().err
    assert resumed.state.step == 6
    assert damage == "gone" or ("last.safetensors is damaged" in told and "Going on from previous" in told)
    assert not list(trainer.run.path.glob(".*"))
    resumed.train()
    assert metrics(trainer.run) == metrics(whole.run)
    for which in (LAST, PREVIOUS, BEST):
        same_arrays(trainer.run.weights(which), whole.run.weights(which))


def test_checkpoints_between_validations(make):
    trainer = make(save_every=4, max_steps=9, validate_every=9)
    signalled(trainer, signal.SIGKILL, at=10**6)
    saved, save = [], trainer.save
    trainer.save = lambda: (saved.append(trainer.state.step), save())
    trainer.train()
    assert saved == [4, 8, 9]


def scripted(trainer, losses):
    """Let validations score what a list says: losses, or pairs of a loss and BLEU."""
    scores = iter(losses)

    def score(state):
        loss, *bleu = value if isinstance(value := next(scores), tuple) else (value,)
        return {"loss": loss, **({"bleu": bleu[0]} if bleu else {})}

    trainer.validation.score = score


def test_patience_ends_the_run_and_survives_an_interruption(make, capsys):
    trainer = make(max_steps=100, validate_every=2, patience=2)
    scripted(trainer, [3.0, 2.0, 2.5, 2.1])
    signalled(trainer, signal.SIGTERM, at=7)
    with pytest.raises(SystemExit):
        trainer.train()
    assert (trainer.state.best_step, trainer.state.worse) == (4, 1)
    resumed = make(trainer.run, max_steps=100, validate_every=2, patience=2)
    scripted(resumed, [2.1, 1.0])
    assert resumed.train().step == 8  # the fourth validation is the second in a row that is no better than 2.0
    assert resumed.state.best_step == 4
    capsys.readouterr()
    make(trainer.run, max_steps=100, validate_every=2, patience=2).train()
    assert (
        "is complete after 8 steps: neither weights nor loss got better in training.patience = 2 validations; "
        "raise training.patience to go on"
    ) in capsys.readouterr().err


@pytest.mark.parametrize(
    "scores, best",
    [
        (
            [(6.0, 0.75), (5.04, 0.0), (5.5, 2.9)],
            4,
        ),  # below 3 BLEU the loss decides: what scores by chance is no translation
        ([(5.0, 0.0), (4.0, 0.0), (3.0, 0.0)], 6),  # so it does where BLEU is 0 throughout
        ([(5.0, 2.9), (6.0, 3.0), (4.0, 2.9)], 4),  # from 3 on BLEU decides
        ([(2.0, 20.0), (1.5, 19.0), (1.8, 20.0)], 6),  # a tie: less loss than the best weights, not than any
        ([(2.0, 20.0), (2.0, 20.0), (2.1, 20.0)], 2),  # the first of equals
    ],
)
def test_chance_and_ties_in_bleu_are_decided_by_the_loss(make, scores, best):
    trainer = make(max_steps=6, validate_every=2)
    scripted(trainer, scores)
    assert trainer.train().best_step == best
    with safe_open(str(trainer.run.weights(BEST)), framework="numpy") as file:
        assert json.loads(file.metadata()["saved"])["metadata"] == {"step": best}


def test_patience_counts_validations_where_neither_bleu_nor_loss_gets_better(make, capsys):
    trainer = make(max_steps=100, validate_every=2, patience=2)
    # BLEU is chance while the loss falls; then BLEU rises and the loss too; then neither gets better, twice.
    scripted(trainer, [(6.0, 0.5), (5.0, 0.1), (4.0, 0.0), (3.0, 0.4), (3.5, 9.0), (3.4, 11.0), (3.1, 10.0)])
    signalled(trainer, signal.SIGTERM, at=15)
    with pytest.raises(SystemExit):  # what it counts by is in the checkpoint
        trainer.train()
    capsys.readouterr()
    resumed = make(trainer.run, max_steps=100, validate_every=2, patience=2)
    scripted(resumed, [(3.2, 10.9)])
    assert (resumed.train().step, resumed.state.best_step) == (16, 12)
    told = capsys.readouterr().err
    assert "16 steps are done: neither weights nor loss got better in training.patience = 2 validations" in told


@pytest.mark.parametrize(
    "length, why",
    [
        ({"max_steps": 3}, "3 steps are done: training.max_steps = 3 is reached"),
        ({"max_minutes": 1e-9}, "1 steps are done: training.max_minutes = 1e-09 are over"),
    ],
)
def test_the_end_says_why_it_ended(make, capsys, length, why):
    trainer = make(**length)
    trainer.train()
    assert why in capsys.readouterr().err
    assert make(trainer.run, **length).train().step == trainer.state.step
    name = next(iter(length)).replace("_", "-")
    assert f"; raise --{name} to go on" in capsys.readouterr().err


@pytest.mark.parametrize("which, steps", [("last", [4, 6, 8]), ("best", [2, 4, 8])])
def test_the_mean_of_kept_weights_is_taken_where_it_scores_better(make, which, steps):
    trainer = make(max_steps=8, validate_every=2, averaging=0.0, average_checkpoints=3, average_which=which)
    seen, update_best = {}, trainer.validation.update_best

    def judge_and_note(scores, state):
        seen[state.step] = {name: variable.numpy() for name, variable in model_variables(trainer.model).items()}
        update_best(scores, state)

    trainer.validation.update_best = judge_and_note
    scripted(trainer, [2.0, 1.0, 3.0, 1.5, 0.9])
    trainer.train()
    last = metrics(trainer.run)[-1]
    assert (last["event"], last["loss"], last["checkpoints"], last["best_step"]) == ("average", 0.9, 3, 8)
    assert [int(path.stem) for path in trainer.run.all_kept_weights()] == steps
    for name, kept in arrays(trainer.run.weights(BEST)).items():
        np.testing.assert_allclose(kept, np.mean([seen[step][name] for step in steps], axis=0), atol=1e-6)
    for name, variable in model_variables(trainer.model).items():
        np.testing.assert_array_equal(variable.numpy(), seen[8][name])  # the run itself goes on from its own weights


def test_a_worse_mean_is_not_taken_and_an_interrupted_end_is_made_up_for(make):
    settings = {"max_steps": 4, "validate_every": 2, "averaging": 0.0, "average_checkpoints": 2}
    trainer = make(**settings)
    scripted(trainer, [2.0, 1.0])
    with pytest.raises(StopIteration):  # the process dies before it has scored the mean
        trainer.train()
    kept = trainer.run.weights(BEST).read_bytes()
    resumed = make(trainer.run, **settings)
    scripted(resumed, [1.1])
    resumed.train()
    assert metrics(trainer.run)[-1]["event"] == "average"
    assert trainer.run.weights(BEST).read_bytes() == kept
    scripted(resumed, [])
    resumed.train()  # complete


def test_selection_by_loss_where_bleu_is_measured_too(make):
    trainer = make(select_by="loss")
    trainer.state.step = 1
    trainer.validation.update_best({"loss": 2.0, "bleu": 10.0}, trainer.state)
    trainer.state.step = 2
    trainer.validation.update_best({"loss": 2.1, "bleu": 20.0}, trainer.state)
    assert (trainer.state.best_step, trainer.state.best_score) == (1, -2.0)


def test_a_run_starts_from_the_weights_and_the_vocabulary_of_another(make, whole, tmp_path, capsys):
    trainer = make(init_from=str(whole.run.path))
    assert "weights loaded\n" in capsys.readouterr().err
    assert trainer.data.task.vocabularies.fingerprint() == whole.data.task.vocabularies.fingerprint()
    for name, value in arrays(whole.run.weights(BEST)).items():
        np.testing.assert_array_equal(model_variables(trainer.model)[name].numpy(), value)
    trainer.train()
    assert trainer.state.step == 12
    assert "weights loaded" not in str(capsys.readouterr().err)
    make(trainer.run, init_from=str(whole.run.path), max_steps=13).train()  # goes on from its own weights
    assert "weights loaded" not in capsys.readouterr().err


def test_what_does_not_fit_is_left_and_told(make, whole, capsys):
    config = whole.config.override({"model": {"dff": 48}, "training": {"init_from": str(whole.run.path)}})
    Trainer(config, RunDirectory(whole.run.path.parent / "wider"))
    told = capsys.readouterr().err
    assert "6 start anew: model/encoder/layer1/ffn/inner/kernel" in told
    narrow = {"d_model": 8, "dff": 16, "num_heads": 1}
    run = RunDirectory(whole.run.path.parent / "narrow")
    with pytest.raises(UserError, match="no weight of .* fits: model.d_model is 8 here and 16 there"):
        Trainer(config.override({"model": narrow}), run)
    assert not run.path.exists()


def test_three_kills_change_nothing(tmp_path):
    """The benchmark of 20 kills, in small."""
    command = [sys.executable, str(ROOT / "benchmarks" / "resume_exactness.py"), "--kills", "3", "--max-steps", "100"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["identical"] and result["kills"] == 3
