"""Writes the recorded metrics files beside this script, with the real writers; see README.md for the versions.

python make.py lightning tensorboard tensorboardx huggingface wandb
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def fresh(name: str) -> Path:
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def make_lightning() -> None:
    """A Trainer's CSVLogger, twice in the same folder: version_0 (two epochs), then version_1 goes on from its checkpoint."""
    import lightning
    import torch
    from lightning.pytorch.loggers import CSVLogger

    class Line(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def _loss(self, batch):
            x, y = batch
            return torch.nn.functional.mse_loss(self.layer(x), y)

        def training_step(self, batch, _):
            loss = self._loss(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, _):
            self.log("val_loss", self._loss(batch))

        def test_step(self, batch, _):
            self.log("test_loss", self._loss(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    folder = fresh("lightning")
    torch.manual_seed(0)
    x = torch.linspace(0, 1, 40).unsqueeze(1)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x + 1), batch_size=10)
    checkpoint = None
    for epochs in (2, 4):
        logger = CSVLogger(folder)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            logger=logger,
            log_every_n_steps=2,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        model = Line()
        trainer.fit(model, data, data, ckpt_path=checkpoint)
        checkpoint = Path(tempfile.mkdtemp()) / "x.ckpt"
        trainer.save_checkpoint(checkpoint)
        if epochs == 4:
            trainer.test(model, data)
    for path in folder.rglob("*.ckpt"):
        path.unlink()


def make_tensorboard() -> None:
    """torch's SummaryWriter in both styles, with histogram and text beside; twice in one folder, and add_scalars."""
    from torch.utils.tensorboard import SummaryWriter

    folder = fresh("tensorboard")
    for start in (0, 3):
        with SummaryWriter(folder / "run") as writer:
            for step in range(start, start + 5):
                writer.add_scalar("loss", 1 / (step + 1), step)
                writer.add_scalar("val/loss", 2 / (step + 1), step, new_style=True)
            writer.add_scalar("grad", math.nan, start + 4)
            writer.add_text("note", "hello", start)
            import numpy as np

            writer.add_histogram("weights", np.arange(10.0), start)
    with SummaryWriter(folder / "many") as writer:
        for step in range(3):
            writer.add_scalars("acc", {"train": 0.5 + step / 10, "val": 0.4 + step / 10}, step)


def make_tensorboardx() -> None:
    """tensorboardX: the style before tensors."""
    from tensorboardX import SummaryWriter

    folder = fresh("tensorboardx")
    with SummaryWriter(str(folder)) as writer:
        for step in range(4):
            writer.add_scalar("loss", 1 / (step + 1), step)
        writer.add_scalar("zero", 0.0, 3)


def make_huggingface() -> None:
    """A Trainer of transformers on a tiny model: evaluations, checkpoints, trainer_state.json, all_results.json."""
    import torch
    import transformers

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x=None, labels=None):
            predicted = self.layer(x)
            return {"loss": torch.nn.functional.mse_loss(predicted, labels), "logits": predicted}

    folder = fresh("huggingface")
    data = [{"x": torch.tensor([n / 40]), "labels": torch.tensor([2 * n / 40 + 1])} for n in range(40)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=10,
        logging_steps=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        learning_rate=0.1,
        report_to=[],
        use_cpu=True,
    )
    trainer = transformers.Trainer(model=Line(), args=arguments, train_dataset=data, eval_dataset=data)
    result = trainer.train()
    trainer.save_metrics("train", result.metrics)
    trainer.save_metrics("eval", trainer.evaluate())
    trainer.save_state()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name not in {"trainer_state.json", "all_results.json", "train_results.json"}:
            path.unlink()


def make_wandb() -> None:
    """wandb writes wandb-summary.json only where there is a server; without one, this is the same summary as it has it in memory."""
    import wandb

    folder = fresh("wandb")
    os.environ["WANDB_MODE"] = "offline"
    run = wandb.init(project="x", dir=tempfile.mkdtemp(), config={"lr": 0.1})
    for step in range(4):
        run.log({"loss": abs(step - 2) / 10, "val": {"acc": step / 4}, "hist": wandb.Histogram([1, 2, 3])})
    run.summary["best"] = 0.0
    summary = run.summary._as_dict()
    run.finish()
    path = folder / "wandb" / "run-20261121_051229-z45k9s8a" / "files" / "wandb-summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(summary, default=lambda value: value.to_json(run) if hasattr(value, "to_json") else dict(value)))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        globals()[f"make_{name}"]()
