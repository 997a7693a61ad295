"""Train a small network on drawn digits: a real training program in one or two seconds, with numpy alone.

    python sweeps/digits.py --optimizer sgd --lr 0.1 --momentum 0.9 --seed 0
    python sweeps/digits.py --optimizer adam --lr 0.003 --beta2 0.99 --seed 0

The digits are drawn from a 3x5 font onto 8x8 pixels, moved, dimmed and covered with noise; the same seed gives the same
digits, the same network and the same metrics. After each epoch a line is added to ``digits.metrics`` in the task's folder
(``$HPCSWEEP_TASK_DIR``, or here when it is run by hand).
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

FONT = """
### .#. ### ### #.# ### ### ### ### ###
#.# ##. ..# ..# #.# #.. #.. ..# #.# #.#
#.# .#. ### ### ### ### ### .#. ### ###
#.# .#. #.. ..# ..# ..# #.# .#. #.# ..#
### ### ### ### ..# ### ### .#. ### ###
"""
SIZE = 8
CLASSES = 10

Network = list[np.ndarray]


def draw_digits(count: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``count`` pictures as rows of 64 pixels, and which digits they show."""
    lines = [line.split() for line in FONT.strip().splitlines()]
    glyphs = np.array([[[mark == "#" for mark in line[digit]] for line in lines] for digit in range(CLASSES)], dtype=float)
    labels = rng.integers(0, CLASSES, count)
    pictures = np.zeros((count, SIZE, SIZE))
    rows, columns = rng.integers(1, 3, count), rng.integers(1, 4, count)
    brightness = rng.uniform(0.5, 1.0, count)
    for picture, label, row, column, light in zip(pictures, labels, rows, columns, brightness, strict=True):
        picture[row : row + 5, column : column + 3] = light * glyphs[label]
    pictures += rng.normal(0.0, noise, pictures.shape)
    return pictures.reshape(count, -1), labels


def make_network(widths: list[int], rng: np.random.Generator) -> Network:
    """Weights and biases of a fully connected network."""
    network = []
    for inputs, outputs in pairwise(widths):
        network += [rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)), np.zeros(outputs)]
    return network


def run_network(network: Network, pictures: np.ndarray) -> list[np.ndarray]:
    """The activations of each layer; the last are the probabilities of the digits."""
    layers = [pictures]
    for weights, biases in zip(network[:-2:2], network[1:-2:2], strict=True):
        layers.append(np.maximum(layers[-1] @ weights + biases, 0.0))
    scores = layers[-1] @ network[-2] + network[-1]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return [*layers, scores / scores.sum(axis=1, keepdims=True)]


def find_gradient(network: Network, pictures: np.ndarray, labels: np.ndarray, decay: float) -> Network:
    """The gradient of the mean cross entropy, and of ``decay`` times the squared weights."""
    layers = run_network(network, pictures)
    error = layers[-1].copy()
    error[np.arange(len(labels)), labels] -= 1.0
    error /= len(labels)
    gradient = []
    for place in range(len(network) - 2, -1, -2):
        inputs = layers[place // 2]
        gradient = [inputs.T @ error + decay * network[place], error.sum(axis=0), *gradient]
        error = (error @ network[place].T) * (inputs > 0)
    return gradient


def measure(network: Network, pictures: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross entropy, and the share of digits that are read right."""
    probabilities = run_network(network, pictures)[-1]
    with np.errstate(divide="ignore"):
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    return loss, (probabilities.argmax(axis=1) == labels).mean()


class Sgd:
    """Stochastic gradient descent with momentum."""

    def __init__(self, network: Network, options: argparse.Namespace) -> None:
        self.lr, self.momentum = options.lr, options.momentum
        self.velocity = [np.zeros_like(part) for part in network]

    def step(self, network: Network, gradient: Network) -> None:
        """Change ``network`` in place."""
        for place, slope in enumerate(gradient):
            self.velocity[place] = self.momentum * self.velocity[place] - self.lr * slope
            network[place] += self.velocity[place]


class Adam:
    """Adam (Kingma and Ba, 2015)."""

    def __init__(self, network: Network, options: argparse.Namespace) -> None:
        self.lr, self.beta2 = options.lr, options.beta2
        self.beta1 = 0.9
        self.steps = 0
        self.means = [np.zeros_like(part) for part in network]
        self.squares = [np.zeros_like(part) for part in network]

    def step(self, network: Network, gradient: Network) -> None:
        """Change ``network`` in place."""
        self.steps += 1
        scale = self.lr * np.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        for place, slope in enumerate(gradient):
            self.means[place] += (1 - self.beta1) * (slope - self.means[place])
            self.squares[place] += (1 - self.beta2) * (slope**2 - self.squares[place])
            network[place] -= scale * self.means[place] / (np.sqrt(self.squares[place]) + 1e-8)


OPTIMIZERS = {"sgd": Sgd, "adam": Adam}


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--momentum", type=float, default=0.0, help="of sgd")
    parser.add_argument("--beta2", type=float, default=0.999, help="of adam")
    parser.add_argument("--decay", type=float, default=0.0, help="weight decay")
    parser.add_argument("--layers", type=int, nargs="*", default=[64], help="widths of the hidden layers")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation of each pixel")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, and write a line of metrics after each epoch."""
    options = parse_options()
    rng = np.random.default_rng(options.seed)
    pictures, labels = draw_digits(3000, options.noise, rng)
    val_pictures, val_labels = draw_digits(1000, options.noise, rng)
    network = make_network([SIZE * SIZE, *options.layers, CLASSES], rng)
    optimizer = OPTIMIZERS[options.optimizer](network, options)
    folder = Path(os.environ.get("HPCSWEEP_TASK_DIR", "."))
    # Line by line on disk, so that `hpcsweep collect` sees how far a running task is.
    with (folder / "digits.metrics").open("w", buffering=1) as metrics:
        metrics.write("epoch train_loss val_loss val_acc\n")
        for epoch in range(1, options.epochs + 1):
            for batch in np.split(rng.permutation(len(labels)), range(options.batch, len(labels), options.batch)):
                optimizer.step(network, find_gradient(network, pictures[batch], labels[batch], options.decay))
            train_loss, _ = measure(network, pictures, labels)
            val_loss, val_acc = measure(network, val_pictures, val_labels)
            metrics.write(f"{epoch} {train_loss:.6g} {val_loss:.6g} {val_acc:.4g}\n")
            print(f"epoch {epoch}: val_loss {val_loss:.4f}, val_acc {val_acc:.3f}", flush=True)


if __name__ == "__main__":
    main()
