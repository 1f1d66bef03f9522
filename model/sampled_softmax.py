"""Training on a sample of the vocabulary, with tied weights and Adam.

A step works on the words of its batch and on others drawn by frequency: a network whose vocabulary is that sample. Its
gradient is `network.gradients`, unchanged; only the bias of each drawn word is raised by -log of its chance of having
been drawn, so that it stands for its likes as well. The sum over the sample of exp(logit) is then, on average, exactly
the sum over the vocabulary (Horvitz and Thompson 1952; for softmax: Bengio and Senécal 2003, Jean et al. 2015).

Words of the batch are there for certain, so they stand for themselves alone. Each other word is drawn on its own
(Poisson sampling): that makes its chance known exactly, whatever the sample's size turns out to be.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.configs import Config
from model.corpus import Ids
from model.network import State, Tensor, Weights, dropout_masks, gradients
from model.tensorflow import tf

SMOOTHING = 0.75  # words are drawn by frequency to this power (Mikolov et al. 2013)
DROPPED = 1 << 30  # added to a seed: which words are dropped has nothing to do with which units are
BETA_1, BETA_2, EPSILON = 0.9, 0.99, 1e-8


class Samples(NamedTuple):
    """The vocabularies of some steps one after the other: step n has those from `ends[n]` to `ends[n + 1]`."""

    words: Ids  # [sum of M]
    corrections: NDArray[np.float32]  # [sum of M]: what is added to each word's bias
    ends: Ids  # [steps + 1]
    x: Ids  # [steps, T, B]: places in the step's vocabulary
    y: Ids


class Moments(NamedTuple):
    """Running means of the gradient and of its square, one for each weight, as Adam keeps them; else nothing."""

    first: Any  # like `Weights`
    second: Any


def drawing_chances(counts: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Each word's chance of being drawn: proportional to frequency^0.75, at most 1, `size` in sum."""
    weights = np.maximum(counts, 1) ** SMOOTHING
    if size >= len(weights):
        return np.ones(len(weights))
    found: NDArray[np.float64] = weights * (size / weights.sum())
    while (found > 1).any():
        certain = found >= 1
        found = np.where(certain, 1.0, weights * ((size - certain.sum()) / weights[~certain].sum()))
    return found


def draw_samples(chance: NDArray[np.float64], x: Ids, y: Ids, seed: int, first: int) -> Samples:
    """A vocabulary for each of the [steps, T, B] segments; a function of `seed` and of the step's number."""
    words, corrections, ends = [], [], [0]
    local_x, local_y = np.empty_like(x), np.empty_like(y)
    place = np.empty(len(chance), np.int32)
    for n in range(len(x)):
        batch = np.zeros(len(chance), bool)
        batch[x[n]] = batch[y[n]] = True
        drawn = np.random.default_rng((seed, first + n)).random(len(chance)) < chance
        chosen = np.flatnonzero(batch | drawn)
        place[chosen] = np.arange(len(chosen))
        local_x[n], local_y[n] = place[x[n]], place[y[n]]
        words.append(chosen)
        corrections.append(np.where(batch[chosen], 0.0, -np.log(chance[chosen])))
        ends.append(ends[-1] + len(chosen))
    return Samples(
        np.concatenate(words).astype(np.int32),
        np.concatenate(corrections).astype(np.float32),
        np.array(ends, np.int32),
        local_x,
        local_y,
    )


def unigram_bias(counts: NDArray[np.int64]) -> Tensor:
    """The softmax's bias, [1, V], from which a network of small weights begins as the unigram model."""
    return tf.constant(np.log(np.maximum(counts, 1) / counts.sum())[None], tf.float32)


def zero_moments(weights: Weights) -> Moments:
    """Adam's state before the first step."""
    zeros = tf.nest.map_structure(tf.zeros_like, weights)
    return Moments(zeros, zeros)


def word_masks(config: Config, seed: tuple[int, Tensor], words: Tensor, x: Tensor) -> Tensor:
    """[N, 1] factors for the inputs: 1/words_kept where a batch's word is kept, 0 wherever it is dropped."""
    kept = tf.random.stateless_uniform(tf.shape(words), tf.stack([seed[0] + DROPPED, seed[1]])) < config.words_kept
    return tf.gather(tf.cast(kept, tf.float32) / config.words_kept, tf.reshape(x, [-1]))[:, None]


def sampled_step(
    config: Config,
    weights: Weights,
    moments: Moments,
    state: State,
    vocabulary: tuple[Tensor, Tensor],
    x: Tensor,
    y: Tensor,
    rate: Tensor,
    seed: tuple[int, Tensor],
) -> tuple[Weights, Moments, State, Tensor]:
    """One step of Adam on a sampled vocabulary, given as word ids and corrections; `x` and `y` are places in it.

    Rows of words that are not in the sample stay as they are, and so do their moments ("lazy" Adam).
    """
    words, corrections = vocabulary
    masks = None
    if min(config.keep, config.words_kept) < 1:
        masks = dropout_masks(config, seed)
        if config.words_kept < 1:
            masks = tf.concat([masks[:1] * word_masks(config, seed, words, x), masks[1:]], 0)
    rows = tf.gather(weights.embedding, words)
    bias = tf.gather(weights.softmax[0], words)
    softmax = tf.concat([tf.transpose(rows), [bias + corrections]], 0)
    small = weights._replace(embedding=rows, softmax=softmax)
    loss, after, grads = gradients(small, state, x, y, masks, config.bfloat16)
    looked_up = tf.math.unsorted_segment_sum(grads.embedding, tf.reshape(x, [-1]), tf.shape(words)[0])
    rows_grad = looked_up + tf.transpose(grads.softmax[:-1])
    tied = grads._replace(embedding=rows_grad, softmax=grads.softmax[-1:])
    clip = tf.minimum(1.0, config.max_norm / tf.linalg.global_norm(tf.nest.flatten(tied)))
    place = words[:, None]
    number = tf.cast(seed[1] + 1, tf.float32)
    rate *= tf.sqrt(1 - BETA_2**number) / (1 - BETA_1**number)

    def adam(weight: Tensor, grad: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad *= clip
        first += (1 - BETA_1) * (grad - first)
        second += (1 - BETA_2) * (grad * grad - second)
        return weight - rate * first / (tf.sqrt(second) + EPSILON), first, second

    def of_sample(part: Weights) -> Weights:
        return part._replace(embedding=tf.gather(part.embedding, words), softmax=tf.gather(part.softmax, words, axis=1))

    def back(part: Weights, fresh: Weights) -> Weights:
        return fresh._replace(
            embedding=tf.tensor_scatter_nd_update(part.embedding, place, fresh.embedding),
            softmax=tf.tensor_scatter_nd_update(part.softmax[0], place, fresh.softmax[0])[None],
        )

    old = [small._replace(softmax=bias[None]), tied, of_sample(moments.first), of_sample(moments.second)]
    fresh = [adam(*parts) for parts in zip(*(tf.nest.flatten(part) for part in old), strict=True)]
    packed = [tf.nest.pack_sequence_as(old[0], parts) for parts in zip(*fresh, strict=True)]
    return (
        back(weights, packed[0]),
        Moments(back(moments.first, packed[1]), back(moments.second, packed[2])),
        after,
        loss,
    )
