"""The LSTM language model of Zaremba, Sutskever and Vinyals (2014), with its gradient written out.

The gradient is written by hand because it is what makes the model fast: each layer's input projection and each weight's
gradient is one matrix product over all time steps, and the softmax over the vocabulary is never normalised: its
gradient works on `exp(logits)` and a scale for each row. Everything is plain TensorFlow operations, so that the same
function runs op by op (wide layers, where the matrix products are everything) and inside one XLA-compiled loop over
thousands of steps (narrow layers, where starting an operation would cost more than running it).

The factors of a training's products may be rounded to bfloat16, where the processor multiplies those faster: all sums,
and the weights, stay float32. Evaluation rounds nothing.

Shapes: T steps, B streams, H hidden units, V words, N = T·B, time before batch throughout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from model.configs import Config
from model.tensorflow import tf

Tensor = Any
MOGRIFIER = 1000  # the number of the first one's random weights


class Weights(NamedTuple):
    """All parameters. `kernels` hold a layer's input rows, then its recurrent rows; columns are the gates i, f, o, j."""

    embedding: Tensor  # [V, H]
    kernels: tuple[Tensor, ...]  # [2H, 4H] each
    biases: tuple[Tensor, ...]  # [4H] each
    softmax: Tensor  # [H + 1, V]: the last row is the bias; [1, V] where the rest is the embedding
    mogrifiers: tuple[Tensor, ...] = ()  # [H + 1, H] each, the last row is the bias; none in the published recipe


class Layer(NamedTuple):
    """One layer's part of the weights, or the gradients of it.

    A mogrifier (Melis, Kočiský and Blunsom 2020; the second of their rounds alone) scales the output before by what comes in:
    2·sigmoid(x·R + b), which all steps' inputs are multiplied for at once.
    """

    kernel: Tensor
    bias: Tensor
    mogrifier: Tensor | None


class State(NamedTuple):
    """Memory cells and outputs of each layer, carried from one batch to the next."""

    cells: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Trace(NamedTuple):
    """What one layer's backward pass needs of its forward pass, one entry a time step."""

    scales: list[Tensor]  # what the mogrifier makes of the inputs; empty without one
    gates: list[Tensor]
    candidates: list[Tensor]
    squashed: list[Tensor]
    cells: list[Tensor]  # one more: the first is the state before
    outputs: list[Tensor]  # likewise


def write_out_softmax(weights: Weights) -> Weights:
    """The same network with its softmax weights written out, where they are the embedding's (Press and Wolf 2017)."""
    if weights.softmax.shape[0] > 1:
        return weights
    return weights._replace(softmax=tf.concat([tf.transpose(weights.embedding), weights.softmax], 0))


def initial_weights(config: Config, vocabulary: int, seed: int) -> Weights:
    """Every parameter uniform in [-init, init], a function of the seed alone."""

    def uniform(number: int, *shape: int) -> Tensor:
        return tf.random.stateless_uniform(shape, (seed, number), -config.init, config.init)

    h, layers = config.hidden, range(config.layers)
    return Weights(
        embedding=uniform(0, vocabulary, h),
        kernels=tuple(uniform(2 + 2 * n, 2 * h, 4 * h) for n in layers),
        biases=tuple(uniform(3 + 2 * n, 4 * h) for n in layers),
        softmax=uniform(1, 1 if config.tied else h + 1, vocabulary),
        mogrifiers=tuple(uniform(MOGRIFIER + n, h + 1, h) for n in layers if config.mogrified),
    )


def layers_of(kernels: tuple[Tensor, ...], biases: tuple[Tensor, ...], mogrifiers: tuple[Tensor, ...]) -> list[Layer]:
    """The layers, from below."""
    return [Layer(*parts) for parts in zip(kernels, biases, mogrifiers or (None,) * len(kernels), strict=True)]


def parts_of(layers: list[Layer]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Kernels, biases and mogrifiers."""
    mogrifiers = (layer.mogrifier for layer in layers)
    return (
        tuple(layer.kernel for layer in layers),
        tuple(layer.bias for layer in layers),
        tuple(mogrifier for mogrifier in mogrifiers if mogrifier is not None),
    )


def zero_state(config: Config, batch: int) -> State:
    """The state at the beginning of a text."""
    zeros = tuple(tf.zeros([batch, config.hidden]) for _ in range(config.layers))
    return State(zeros, zeros)


def state_before(biases: tuple[Tensor, ...]) -> State:
    """The same for one stream, of layers that have these biases."""
    zeros = tuple(tf.zeros([1, bias.shape[0] // 4]) for bias in biases)
    return State(zeros, zeros)


def round_factor(factor: Tensor, bfloat16: bool) -> Tensor:
    """A factor of matrix products, as it is or rounded; one that is used more than once is rounded once."""
    return tf.cast(factor, tf.bfloat16) if bfloat16 else factor


def multiply(a: Tensor, b: Tensor, bfloat16: bool, **transposed: bool) -> Tensor:
    """The matrix product, of factors as they are or rounded."""
    if not bfloat16:
        return tf.matmul(a, b, **transposed)
    return tf.cast(tf.matmul(round_factor(a, True), round_factor(b, True), **transposed), tf.float32)


def step_cell(
    projected: Tensor, recurrent: Tensor, c: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step of one layer, from its already projected input."""
    z = projected + multiply(h, recurrent, recurrent.dtype == tf.bfloat16)
    width = 3 * h.shape[-1]
    gates, candidate = tf.sigmoid(z[:, :width]), tf.tanh(z[:, width:])
    i, f, o = tf.split(gates, 3, axis=1)
    c = f * c + i * candidate
    squashed = tf.tanh(c)
    return o * squashed, c, gates, candidate, squashed


def run_layer(x: Tensor, layer: Layer, c: Tensor, h: Tensor, steps: int, bfloat16: bool = False) -> Trace:
    """Runs one layer over [N, H] inputs."""
    kernel, bias, mogrifier = layer
    width = kernel.shape[0] // 2
    projected = tf.split(multiply(x, kernel[:width], bfloat16) + bias, steps)
    recurrent = round_factor(kernel[width:], bfloat16)
    scales = []
    if mogrifier is not None:
        scales = tf.split(2 * tf.sigmoid(multiply(x, mogrifier[:-1], bfloat16) + mogrifier[-1]), steps)
    trace = Trace(scales, [], [], [], [c], [h])
    for step in range(steps):
        h, c, *rest = step_cell(projected[step], recurrent, c, h * scales[step] if scales else h)
        for kept, value in zip(trace[1:], (*rest, c, h), strict=True):
            kept.append(value)
    return trace


def differentiate_layer(
    trace: Trace, x: Tensor, layer: Layer, d_out: Tensor, bfloat16: bool = False
) -> tuple[Tensor, Layer]:
    """The gradients of one layer's input and of its weights, from the gradient of its [N, H] outputs."""
    kernel, _, mogrifier = layer
    steps, width = len(trace.gates), kernel.shape[0] // 2
    backward = round_factor(tf.transpose(kernel[width:]), bfloat16)
    gates, candidates, squashed = (tf.concat(part, 0) for part in (trace.gates, trace.candidates, trace.squashed))
    i, f, o = tf.split(gates, 3, axis=1)
    # All that does not depend on the gradient from later steps is done for all steps at once.
    passed = tf.split(gates * (1 - gates), 3, axis=1)
    before = tf.concat(trace.cells[:-1], 0)
    slopes = tf.concat(
        [candidates * passed[0], before * passed[1], squashed * passed[2], i * (1 - candidates * candidates)], 1
    )
    d_outs, forgets, slopes, to_cell = (
        tf.split(part, steps) for part in (d_out, f, slopes, o * (1 - squashed * squashed))
    )
    d_zs, d_reads = [], []
    dh = dc = tf.zeros_like(trace.cells[0])
    for step in reversed(range(steps)):
        dh += d_outs[step]
        dc += dh * to_cell[step]
        d_z = tf.concat([dc, dc, dh, dc], 1) * slopes[step]
        d_zs.append(d_z)
        dc, d_read = dc * forgets[step], multiply(d_z, backward, bfloat16)
        d_reads.append(d_read)
        dh = d_read * trace.scales[step] if trace.scales else d_read
    d_z = tf.concat(d_zs[::-1], 0)
    read = outputs = tf.concat(trace.outputs[:-1], 0)
    d_x = multiply(d_z, kernel[:width], bfloat16, transpose_b=True)
    d_mogrifier = None
    if mogrifier is not None:
        scales = tf.concat(trace.scales, 0)
        read = outputs * scales
        d_scales = tf.concat(d_reads[::-1], 0) * outputs * scales * (1 - scales / 2)
        d_x += multiply(d_scales, mogrifier[:-1], bfloat16, transpose_b=True)
        d_rows = multiply(x, d_scales, bfloat16, transpose_a=True)
        d_mogrifier = tf.concat([d_rows, tf.reduce_sum(d_scales, 0)[None]], 0)
    d_kernel = multiply(tf.concat([x, read], 1), d_z, bfloat16, transpose_a=True)
    return d_x, Layer(d_kernel, tf.reduce_sum(d_z, 0), d_mogrifier)


def softmax_gradients(
    h: Tensor, softmax: Tensor, targets: Tensor, batch: int, bfloat16: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The summed cross-entropy of [N, H] outputs, and the gradients of outputs and softmax weights of that sum / batch.

    With e = exp(logits) and Z its row sums, the gradient of the logits is (e - Z·onehot(target)) / (Z·batch). Row n is
    divided by Z[n] only where the row has become short, so that the [N, V] matrix is written twice and no more.
    A logit above 88 would make Z infinite; the training loop stops on a loss that is not finite.
    """
    rows = tf.shape(h)[0]
    extended = tf.concat([h, tf.ones_like(h[:, :1])], 1)
    # A bias is too long for bfloat16: it is added by itself.
    logits = multiply(h, softmax[:-1], True) + softmax[-1] if bfloat16 else extended @ softmax
    places = tf.stack([tf.range(rows), targets], 1)
    target_logits = tf.gather_nd(logits, places)
    e = tf.exp(logits)
    z = e @ tf.ones_like(softmax[:1], name="ones")[0][:, None]
    e = tf.tensor_scatter_nd_sub(e, places, z[:, 0])
    scale = 1.0 / (z * batch)
    e = round_factor(e, bfloat16)
    d_h = multiply(e, softmax[:-1], bfloat16, transpose_b=True) * scale
    # The layers wait for d_h alone: beside their small products another core can do this big one.
    with tf.control_dependencies([d_h]):
        d_softmax = multiply(extended * scale, e, bfloat16, transpose_a=True)
    return tf.reduce_sum(tf.math.log(z[:, 0]) - target_logits), d_h, d_softmax


def gradients(
    weights: Weights, state: State, x: Tensor, y: Tensor, masks: Tensor | None, bfloat16: bool = False
) -> tuple[Tensor, State, Weights]:
    """Cross-entropy summed over [T, B] targets, the state after them, and the gradients of that sum / B.

    The loss is summed over time and averaged over streams, as published: `max_norm` means the same. In place of the
    embedding's gradient stand the gradients of the N rows that were looked up. `masks` are dropout's, for the input of
    each layer and the last one's output.
    """
    steps, batch = x.shape
    targets = tf.reshape(y, [-1])
    flow = tf.gather(weights.embedding, tf.reshape(x, [-1]))
    inputs, traces = [], []
    layers = layers_of(weights.kernels, weights.biases, weights.mogrifiers)
    for n, layer in enumerate(layers):
        inputs.append(flow if masks is None else flow * masks[n])
        traces.append(run_layer(inputs[n], layer, state.cells[n], state.outputs[n], steps, bfloat16))
        flow = tf.concat(traces[n].outputs[1:], 0)
    top = flow if masks is None else flow * masks[-1]
    loss, d_flow, d_softmax = softmax_gradients(top, weights.softmax, targets, batch, bfloat16)
    grads: list[Layer] = []
    for n in reversed(range(len(traces))):
        d_flow = d_flow if masks is None else d_flow * masks[n + 1]
        d_flow, grad = differentiate_layer(traces[n], inputs[n], layers[n], d_flow, bfloat16)
        grads.insert(0, grad)
    d_flow = d_flow if masks is None else d_flow * masks[0]
    after = State(tuple(t.cells[-1] for t in traces), tuple(t.outputs[-1] for t in traces))
    d_kernels, d_biases, d_mogrifiers = parts_of(grads)
    return loss, after, Weights(d_flow, d_kernels, d_biases, d_softmax, d_mogrifiers)


def global_norm(grads: Weights, x: Tensor) -> Tensor:
    """The norm of the whole gradient; rows of the embedding that were looked up twice count as the sum they are."""
    rows = tf.reshape(x, [-1])
    same = tf.cast(rows[:, None] == rows[None, :], grads.embedding.dtype)
    squares = tf.reduce_sum(tf.matmul(grads.embedding, grads.embedding, transpose_b=True) * same)
    for part in (*grads.kernels, *grads.biases):
        squares += tf.reduce_sum(part * part)
    flat = tf.reshape(grads.softmax, [1, -1])
    return tf.sqrt(squares + tf.matmul(flat, flat, transpose_b=True)[0, 0])


def clipped_step(
    config: Config, weights: Weights, state: State, x: Tensor, y: Tensor, rate: Tensor, seed: tuple[int, Tensor]
) -> tuple[Weights, State, Tensor]:
    """One step of stochastic gradient descent with the gradient's norm clipped; `seed` is that of dropout's masks."""
    masks = dropout_masks(config, seed) if config.keep < 1 else None
    loss, after, grads = gradients(weights, state, x, y, masks)
    step = rate * tf.minimum(1.0, config.max_norm / global_norm(grads, x))
    rows = tf.reshape(x, [-1, 1])
    fresh = Weights(
        tf.tensor_scatter_nd_sub(weights.embedding, rows, grads.embedding * step),
        tuple(kernel - step * grad for kernel, grad in zip(weights.kernels, grads.kernels, strict=True)),
        tuple(bias - step * grad for bias, grad in zip(weights.biases, grads.biases, strict=True)),
        weights.softmax - step * grads.softmax,
    )
    return fresh, after, loss


def dropout_masks(config: Config, seed: tuple[int, Tensor]) -> Tensor:
    """[layers + 1, N, H] factors: 1/keep for what dropout keeps, 0 for the rest."""
    steps = 1 if config.variational_dropout else config.steps
    shape = [config.layers + 1, steps * config.batch, config.hidden]
    kept = tf.random.stateless_uniform(shape, tf.stack([seed[0], seed[1]])) < config.keep
    return tf.tile(tf.cast(kept, tf.float32) / config.keep, [1, config.steps // steps, 1])
