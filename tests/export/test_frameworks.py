"""Tests that frameworks apply the plan's numbers in every step, also after a checkpoint."""

import importlib.util
import os
import pickle
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import torch

import lrsearch
from lrsearch.errors import RequestError
from lrsearch.export import MODULES, to_module

os.environ.setdefault("KERAS_BACKEND", "torch")

T = 30
PLAIN = lrsearch.Schedule(peak=0.3, warmup=0.2, decay="rex", bend=0.4, floor=0.01)
OPPOSED = lrsearch.Schedule(peak=0.2, warmup=0.3, momentum=0.95, momentum_rule="opposed")
GROWING = lrsearch.Schedule(peak=0.2, batch_growth=4, coupling=1)
SCHEDULES = [PLAIN, OPPOSED, lrsearch.Schedule(peak=1e-4, decay="step", cycles=2, smoothing=0.1)]


def need_timm(monkeypatch):
    """Make timm's schedulers importable without torchvision, or skip the test."""
    found = importlib.util.find_spec("timm")
    if found is None:
        pytest.skip("timm is not installed: it requires torchvision")
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):
        bare = types.ModuleType("timm")
        bare.__path__ = list(found.submodule_search_locations)
        monkeypatch.setitem(sys.modules, "timm", bare)


def module(form, schedule, monkeypatch, **words):
    """Execute an exported file without lrsearch, and return its names."""
    text = to_module(form, schedule.plan(T), schedule, **words)
    with monkeypatch.context() as patch:
        for name in [n for n in sys.modules if n.partition(".")[0] == "lrsearch"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "lrsearch", None)
        names = {"__name__": "exported"}
        exec(compile(text, f"{form}.py", "exec"), names)
    return types.SimpleNamespace(**names)


def sgd(kind=torch.optim.SGD, lr=0.5, **words):
    """Return an optimizer with three groups of rates 1 : 1/10 : 3 and parameters at 0."""
    groups = [
        {"params": [torch.zeros(1, dtype=torch.float64, requires_grad=True)], "lr": lr * r}
        for r in (1.0, 0.1, 3.0)
    ]
    return kind(groups, **words)


def rate_of(optimizer):
    """Return the rates of one step: minus the parameters after gradient 1 from 0."""
    for group in optimizer.param_groups:
        (parameter,) = group["params"]
        parameter.grad = torch.ones_like(parameter)
        with torch.no_grad():
            parameter.zero_()
    optimizer.step()
    return [-group["params"][0].item() for group in optimizer.param_groups]


def torch_makers(monkeypatch):
    return {
        "object": lambda o, s: lrsearch.export.to_torch(s.plan(T), o),
        "file": lambda o, s: module("torch", s, monkeypatch).make_scheduler(o),
        "transformers": lambda o, s: lrsearch.export.to_transformers(s.plan(T), o),
        "lightning": lambda o, s: module("lightning", s, monkeypatch).configure(o)["lr_scheduler"][
            "scheduler"
        ],
    }


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("maker", ["object", "file", "transformers", "lightning"])
def test_torch_applies_the_plan_bit_for_bit_and_groups_keep_their_ratio(
    schedule, maker, monkeypatch
):
    plan = schedule.plan(T)
    optimizer = sgd()
    scheduler = torch_makers(monkeypatch)[maker](optimizer, schedule)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
    for lr in plan.lr:
        for group in optimizer.param_groups:
            group["momentum"] = 0.0  # without momentum, a step shows its rate
        applied = rate_of(optimizer)
        assert applied[0] == lr
        assert applied[1] == lr * (0.05 / 0.5)
        assert applied[2] == lr * (1.5 / 0.5)
        scheduler.step()
    assert scheduler.get_last_lr()[0] == plan.lr[-1]  # after the last step, the last rate stays


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("at", [0, 1, 11, T - 1])
def test_torch_continues_from_a_checkpoint_in_either_order_of_loading(order, at, monkeypatch):
    make, plan = torch_makers(monkeypatch)["file"], OPPOSED.plan(T)
    optimizer = sgd(momentum=0.5)
    scheduler = make(optimizer, OPPOSED)
    for _ in range(at):
        rate_of(optimizer)
        scheduler.step()
    saved = optimizer.state_dict(), scheduler.state_dict()
    assert not any(isinstance(value, tuple) for value in saved[1].values())  # no table
    optimizer = sgd(lr=123.0, momentum=0.5)
    if order == "before":
        optimizer.load_state_dict(saved[0])
    scheduler = make(optimizer, OPPOSED)
    if order == "after":
        optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    for t in range(at, T):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == [plan.lr[t], plan.lr[t] * (0.05 / 0.5), plan.lr[t] * (1.5 / 0.5)]
        assert {group["momentum"] for group in optimizer.param_groups} == {plan.momentum[t]}
        rate_of(optimizer)
        scheduler.step()


def test_a_varying_momentum_is_set_and_a_constant_momentum_is_not():
    plan = OPPOSED.plan(T)
    for kind, seen in (
        (torch.optim.SGD, lambda group: group["momentum"]),
        (torch.optim.AdamW, lambda group: group["betas"][0]),
    ):
        optimizer = sgd(kind)
        scheduler = lrsearch.export.to_torch(OPPOSED.plan(T), optimizer)
        for mu in plan.momentum:
            assert {seen(group) for group in optimizer.param_groups} == {mu}
            rate_of(optimizer)
            scheduler.step()
    optimizer = sgd(momentum=0.3)
    lrsearch.export.to_torch(PLAIN.plan(T), optimizer)
    assert optimizer.param_groups[0]["momentum"] == 0.3
    with pytest.warns(UserWarning, match="Adagrad has no momentum"):
        lrsearch.export.to_torch(OPPOSED.plan(T), sgd(torch.optim.Adagrad))


def test_after_the_last_step_the_last_rate_stays_with_one_warning():
    optimizer = sgd()
    scheduler = lrsearch.export.to_torch(PLAIN.plan(T), optimizer)
    for _ in range(T):
        rate_of(optimizer)
        scheduler.step()
    with pytest.warns(UserWarning, match=f"the schedule has {T} steps and is over"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == PLAIN.plan(T).lr[-1]


def test_a_tensor_learning_rate_is_changed_in_place():
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.5))
    tensor = optimizer.param_groups[0]["lr"]
    scheduler = lrsearch.export.to_torch(PLAIN.plan(T), optimizer)
    state = scheduler.state_dict()
    for lr in PLAIN.plan(T).lr[:5]:
        assert tensor.item() == np.float32(lr)
        parameter.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    scheduler.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] is tensor
    assert tensor.item() == np.float32(PLAIN.plan(T).lr[0])


def test_to_torch_applies_a_plan_and_rejects_a_schedule():
    plan = OPPOSED.plan(T)
    optimizer = sgd()
    scheduler = lrsearch.export.to_torch(plan, optimizer)
    for t in range(T):
        assert optimizer.param_groups[0]["lr"] == plan.lr[t]
        assert optimizer.param_groups[0]["momentum"] == plan.momentum[t]
        rate_of(optimizer)
        scheduler.step()
    with pytest.raises(RequestError, match=r"takes a Plan, not Schedule; give schedule\.plan"):
        lrsearch.export.to_torch(OPPOSED, optimizer)


def test_the_state_of_another_scheduler_is_rejected_and_pickling_works():
    optimizer = sgd()
    scheduler = lrsearch.export.to_torch(PLAIN.plan(T), optimizer)
    foreign = torch.optim.lr_scheduler.LambdaLR(sgd(), lambda t: 1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd(), 10)
    alone = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    for other in (foreign, cosine, lrsearch.export.to_torch(PLAIN.plan(T), alone)):
        with pytest.raises(ValueError, match="not a state of a PlannedLR with 3"):
            scheduler.load_state_dict(other.state_dict())
    longer = lrsearch.export.to_torch(PLAIN.plan(2 * T), sgd())
    longer.load_state_dict(scheduler.state_dict())
    assert longer.get_last_lr()[0] == PLAIN.plan(2 * T).lr[0]
    assert pickle.loads(pickle.dumps(scheduler)).get_last_lr() == scheduler.get_last_lr()


def test_a_different_momentum_gives_a_warning_and_files_name_the_momentum():
    schedule = lrsearch.Schedule(peak=0.1, momentum=0.9)
    with pytest.warns(UserWarning, match=r"searched with momentum 0\.9; this optimizer has 0"):
        lrsearch.export.to_torch(schedule.plan(T), sgd())
    lrsearch.export.to_torch(schedule.plan(T), sgd(momentum=0.9))
    assert "Searched with momentum (beta1) 0.9" in to_module("torch", schedule.plan(T), schedule)
    assert "Searched with momentum (beta1) 0.8" in to_module(
        "keras", PLAIN.with_momentum(0.8).plan(T)
    )


def test_a_first_group_with_learning_rate_zero_is_rejected():
    with pytest.raises(ValueError, match="first parameter group has learning rate 0"):
        lrsearch.export.to_torch(PLAIN.plan(T), sgd(lr=0.0))


@pytest.mark.parametrize("form", MODULES)
def test_a_growing_batch_is_rejected_unless_it_is_ignored(form):
    with pytest.raises(
        RequestError, match=r"batch of this schedule grows from 8 to 27, .*ignore_batch"
    ):
        to_module(form, GROWING.plan(T, 8))
    text = to_module(form, GROWING.plan(T, 8), GROWING, ignore_batch=True)
    assert f"of {len(GROWING.plan(T, 8))} steps" in text
    assert len(GROWING.plan(T, 8)) < T


@pytest.mark.parametrize("form", ["optax", "keras"])
def test_a_varying_momentum_is_rejected_if_the_framework_cannot_set_it(form):
    with pytest.raises(RequestError, match=r"momentum of this schedule varies.*ignore_momentum"):
        to_module(form, OPPOSED.plan(T))
    assert to_module(form, OPPOSED.plan(T), OPPOSED, ignore_momentum=True)
    make = getattr(lrsearch.export, f"to_{form}")
    with pytest.raises(RequestError, match=r"momentum of this schedule varies.*ignore_momentum"):
        make(OPPOSED.plan(T))


@pytest.mark.parametrize("form", MODULES)
def test_a_file_needs_no_lrsearch_and_passes_the_linter(form, tmp_path):
    text = to_module(form, OPPOSED.plan(T), OPPOSED, ignore_momentum=True)
    path = tmp_path / "schedule.py"
    path.write_text(text)
    assert "lrsearch." not in text.replace("by lrsearch.", "")
    assert "import lrsearch" not in text
    assert repr(OPPOSED) in text
    for command in (["format", "--check"], ["check", "--select", "E,F,I,B,UP"]):
        command = [sys.executable, "-m", "ruff", *command, "--line-length", "99", "-q", path]
        subprocess.run(command, timeout=60, check=True)


# --- transformers ---------------------------------------------------------------------------


class Tiny(torch.nn.Module):
    """A model for the Trainer of transformers."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, x, labels):
        return {"loss": (self.line(x)[..., 0] - labels).square().mean()}


def train_by_trainer(folder, make, steps, resume=False, **words):
    """Return the rates of all groups before every step of the Trainer's loop."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    seen = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
            seen.append([group["lr"] for group in optimizer.param_groups])

    torch.manual_seed(0)
    model = Tiny()
    groups = [{"params": [model.line.weight]}, {"params": [model.line.bias], "lr": 0.1}]
    optimizer = torch.optim.AdamW(groups, lr=0.2)
    data = [{"x": torch.randn(2), "labels": torch.tensor(1.0)} for _ in range(64)]
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        save_strategy="steps",
        save_steps=10,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        **words,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        optimizers=(optimizer, make(optimizer)),
        callbacks=[Watch()],
    )
    trainer.train(resume_from_checkpoint=resume)
    return seen


@pytest.mark.filterwarnings("ignore")  # warnings of transformers
def test_transformers_trainer_applies_the_plan_and_resumes(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    plan = PLAIN.plan(T)
    exported = module("transformers", PLAIN, monkeypatch)
    seen = train_by_trainer(tmp_path, exported.make_scheduler, T)
    assert seen == [[lr, lr * 0.5] for lr in plan.lr]
    resumed = train_by_trainer(
        tmp_path, exported.make_scheduler, T, resume=str(tmp_path / "checkpoint-10")
    )
    assert resumed == seen[10:]


SHAPES = {
    "cosine": {},
    "cosine_with_min_lr": {"floor": 0.1},
    "cosine_with_restarts": {"cycles": 4},
    "constant": {"decay": "constant"},
    "constant_with_warmup": {"decay": "constant", "warmup": 0.1},
    "linear": {"decay": "polynomial"},
    "polynomial": {"decay": "polynomial", "power": 2.0, "floor": 0.05},
    "inverse_sqrt": {"decay": "power_law", "power": 0.5, "rate": 40.0},
    "warmup_stable_decay": {"decay": "root", "power": 0.5, "hold": 0.6, "floor": 0.02},
}


@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("name", SHAPES)
def test_the_arguments_of_get_scheduler_draw_the_same_shape(name, warmup):
    transformers = pytest.importorskip("transformers")
    if warmup and name.startswith("constant"):
        name = "constant_with_warmup"
    if not warmup and name == "constant_with_warmup":
        name = "constant"
    schedule = lrsearch.Schedule(peak=0.3, **{**SHAPES[name], "warmup": warmup})
    words = lrsearch.export.transformers_arguments(schedule, 100)
    assert words["name"] == name
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=schedule.peak)
    theirs = transformers.get_scheduler(optimizer=optimizer, **words)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    warm, ours = round(100 * warmup), schedule.plan(100).lr
    np.testing.assert_allclose(rates[warm:], ours[warm:], rtol=1e-12, atol=1e-15)
    if warm and name != "warmup_stable_decay":  # transformers is one step late and starts at 0
        np.testing.assert_allclose(rates[1:warm], ours[: warm - 1], rtol=1e-12)
        assert rates[0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"decay": "rex"},
        {"smoothing": 0.1},
        {"cycles": 3, "cycle_growth": 2.0},
        {"cycles": 3},  # 100 steps are not divisible by 3
        {"decay": "cosine", "power": 2.0},
        {"hold": 0.5, "decay": "exponential"},
        {"decay": "polynomial", "cycles": 2},
    ],
)
def test_a_shape_that_transformers_lacks_has_no_arguments(changes):
    schedule = lrsearch.Schedule(peak=0.3, **changes)
    assert lrsearch.export.transformers_arguments(schedule, 100) is None
    assert "GET_SCHEDULER = None" in to_module("transformers", schedule.plan(100), schedule)


# --- Lightning ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # warnings of Lightning
def test_lightning_applies_the_plan_once_per_step_and_resumes(tmp_path, monkeypatch):
    lightning = pytest.importorskip("lightning")
    exported = module("lightning", PLAIN, monkeypatch)

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.line, self.seen = torch.nn.Linear(2, 1), []

        def training_step(self, batch, index):
            return self.line(batch[0]).square().mean()

        def on_before_optimizer_step(self, optimizer):
            self.seen.append(optimizer.param_groups[0]["lr"])

        def configure_optimizers(self):
            return exported.configure(torch.optim.SGD(self.parameters(), lr=0.7))

    def fit(steps, checkpoint=None):
        model = Model()
        trainer = lightning.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        data = torch.utils.data.TensorDataset(torch.randn(28, 2))
        loader = torch.utils.data.DataLoader(data, batch_size=4)  # 7 steps per epoch
        trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=False)
        return trainer, model

    plan = PLAIN.plan(T)
    trainer, model = fit(11)
    assert model.seen == plan.lr[:11].tolist()
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    _, resumed = fit(T, tmp_path / "last.ckpt")
    assert resumed.seen == plan.lr[11:].tolist()


# --- timm -----------------------------------------------------------------------------------


def test_timm_applies_the_plan_in_every_step(monkeypatch):
    need_timm(monkeypatch)
    plan = OPPOSED.plan(T)
    for make in (
        lambda o: lrsearch.export.to_timm(OPPOSED.plan(T), o),
        lambda o: module("timm", OPPOSED, monkeypatch).make_scheduler(o),
    ):
        optimizer = sgd(momentum=0.5)
        optimizer.param_groups[2]["lr_scale"] = 0.25
        scheduler = make(optimizer)
        for t in range(T):
            rates = [group["lr"] for group in optimizer.param_groups]
            assert rates[:2] == [plan.lr[t], plan.lr[t] * (0.05 / 0.5)]
            assert rates[2] == pytest.approx(plan.lr[t] * 3 * 0.25, rel=1e-15)
            assert optimizer.param_groups[0]["momentum"] == plan.momentum[t]
            rate_of(optimizer)
            scheduler.step_update(t + 1)
        again = make(sgd(lr=9.0, momentum=0.5))
        again.load_state_dict(scheduler.state_dict())
        again.step_update(11)
        assert again.optimizer.param_groups[0]["lr"] == plan.lr[11]


# --- optax and Keras, in float32 ------------------------------------------------------------


def test_optax_applies_the_plan_to_one_ulp_and_resumes(monkeypatch):
    optax = pytest.importorskip("optax")
    import jax
    import jax.numpy as jnp

    exported = module("optax", PLAIN, monkeypatch).learning_rate
    for learning_rate in (lrsearch.export.to_optax(PLAIN.plan(T)), exported):
        optimizer = optax.sgd(learning_rate)
        state, applied = optimizer.init(jnp.zeros(1)), []
        update = jax.jit(optimizer.update)
        for t in range(T):
            if t == 11:  # a checkpoint as NumPy arrays
                leaves, tree = jax.tree.flatten(state)
                state = jax.tree.unflatten(tree, [np.asarray(leaf) for leaf in leaves])
            updates, state = update(jnp.ones(1), state)
            applied.append(-float(updates[0]))
        np.testing.assert_array_max_ulp(
            np.float32(applied), PLAIN.plan(T).lr.astype(np.float32), maxulp=1
        )
        assert float(learning_rate(10 * T)) == np.float32(PLAIN.plan(T).lr[-1])


def test_a_momentum_that_rises_from_0_is_refused_for_rmsprop_which_would_stop_later():
    rising = lrsearch.Schedule(
        peak=1.0, momentum=0.9, momentum_rule="critical_heavy_ball", curvature=1.0
    ).plan(T)
    assert rising.momentum[0] == 0.0 < rising.momentum[-1]
    with pytest.raises(ValueError, match="starts at 0 and rises, which RMSprop cannot do; use"):
        lrsearch.export.to_torch(rising, sgd(torch.optim.RMSprop))
    scheduler = lrsearch.export.to_torch(OPPOSED.plan(T), rmsprop := sgd(torch.optim.RMSprop))
    for _ in range(T):
        rate_of(rmsprop)
        scheduler.step()
    falling = sgd()
    scheduler = lrsearch.export.to_torch(rising, falling)
    for momentum in rising.momentum:
        assert [group["momentum"] for group in falling.param_groups] == [momentum] * 3
        rate_of(falling)
        scheduler.step()


def test_optax_takes_a_varying_momentum_through_inject_hyperparams(monkeypatch):
    optax = pytest.importorskip("optax")
    import jax.numpy as jnp

    exported = module("optax", OPPOSED, monkeypatch, ignore_momentum=True)
    ours = (
        lrsearch.export.to_optax(OPPOSED.plan(T), ignore_momentum=True),
        lrsearch.export.to_optax_momentum(OPPOSED.plan(T)),
    )
    plan = OPPOSED.plan(T)
    for rate, momentum in (ours, (exported.learning_rate, exported.momentum)):
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate, momentum=momentum)
        state = optimizer.init(jnp.zeros(1))
        for t in range(T):
            _, state = optimizer.update(jnp.ones(1), state)
            assert float(state.hyperparams["momentum"]) == np.float32(plan.momentum[t])
            assert float(state.hyperparams["learning_rate"]) == np.float32(plan.lr[t])


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # a warning of Keras
def test_keras_applies_the_plan_to_one_ulp_and_a_saved_model_continues(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    plan = PLAIN.plan(T).lr.astype(np.float32)
    exported = module("keras", PLAIN, monkeypatch).make_schedule()
    for schedule in (lrsearch.export.to_keras(PLAIN.plan(T)), exported):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((1,)), layer])
        model.compile(keras.optimizers.SGD(schedule), loss="mse")

        def step(model):
            """Return the rate of one step: minus the weight after gradient 1 from 0."""
            variable = model.trainable_variables[0]
            variable.assign(np.zeros((1, 1), "float32"))
            model.optimizer.apply([keras.ops.ones((1, 1))], [variable])
            return -float(keras.ops.convert_to_numpy(variable.value)[0, 0])

        applied = [step(model) for _ in range(11)]
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
        applied += [step(model) for _ in range(11, T)]
        np.testing.assert_array_max_ulp(np.float32(applied), plan, maxulp=1)
        assert float(schedule(10 * T)) == plan[-1]
