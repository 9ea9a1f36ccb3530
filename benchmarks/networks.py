"""Networks and their training steps for the benchmarks: ours, and those of PyTorch and escnn.

Every factory imports its libraries by itself, since no interpreter need have all of them. ``mode``
is ``train`` (one step of Adam on the mean cross-entropy, batch norm in training mode) or
``evaluate`` (logits).
"""

import harness

PIXELS = {"p4cnn": 28, "e2cnn": 28, "p4m_resnet": 33}  # odd, so that strides of 2 are exact
CHANNELS = {"p4cnn": 1, "e2cnn": 1, "p4m_resnet": 3}
WIDTHS = (11, 23, 45)
E2CNN_WIDTHS = (12, 16, 18, 18, 32, 48)
# kernel, padding and pooling of its layers, for an interpreter without gconv_jax
E2CNN_LAYERS = ((9, 0, 0), (7, 3, 1), (7, 3, 0), (7, 3, 1), (7, 3, 0), (5, 0, 0))
E2CNN_HIDDEN = (96, 96)
JAX_IMPORTS = ("jax", "flax.nnx", "optax", "gconv_jax.models", "gconv_jax.nnx")


# Ours


def jax_network(network: str, twin: str, mode: str, batch: int, dtype: str | None = None, **size):
    """Make a contender of `jax_model` and `Training`; the state is donated to the step."""
    import jax

    training = Training(jax_model(network, twin, dtype, **size))
    image, label = data(network, batch)
    if mode == "train":
        step = jax.jit(training.train, donate_argnums=0)

        def run():
            training.state, loss = step(training.state, image, label)
            return loss

        return run
    logits = jax.jit(training.logits)
    return lambda: logits(training.state, image)


def jax_model(network: str, twin: str = "group", dtype: str | None = None, blocks: int = 7):
    """Return a network of this library, or a twin of it.

    ``twin`` is ``group`` for the G-CNN, and ``plain`` for the CNN of equal dense width, through the
    same layers over the trivial group. ``flax`` is the CNN of Flax's own layers, and ``flax, ours``
    that of Flax's layers with our convolution.
    """
    from flax import nnx
    from jax import lax

    from gconv_jax import P4, P4M, cyclic
    from gconv_jax.models import E2CNN, P4CNN, Z2CNN

    options = {"dtype": dtype, "rngs": nnx.Rngs(0)}
    if network == "e2cnn":
        return E2CNN(groups=[cyclic(8)], width=E2CNN_WIDTHS, dropout=0.0, **options)
    if network == "p4m_resnet":
        group, wider = (P4M, 1) if twin == "group" else (cyclic(1), P4M.order)
        return resnet(group, [wider * width for width in WIDTHS], blocks, **options)
    if twin.startswith("flax"):
        model = Z2CNN(width=40, dropout=0.0, **options)
        for _, node in nnx.iter_graph(model):
            if isinstance(node, nnx.Conv) and twin == "flax":
                node.conv_general_dilated = lax.conv_general_dilated
        return model
    group, width = (P4, 10) if twin == "group" else (cyclic(1), 40)
    return P4CNN(group=group, width=width, **options)


def resnet(group, widths, blocks: int, *, dtype, rngs):
    """Return a residual network over ``group``.

    It has a stem and one stage for each width, of ``blocks`` blocks of two 3x3 convolutions. The
    later stages have half the pixels. 3 stages of 7 blocks make 44 layers.
    """
    import jax.numpy as jnp
    from flax import nnx

    from gconv_jax import group_pool
    from gconv_jax.nnx import GroupConv, LiftConv

    options = {"group": group, "use_bias": False, "dtype": dtype, "rngs": rngs}

    def norm(width):
        return nnx.BatchNorm(width, momentum=0.9, dtype=dtype, rngs=rngs)

    class Block(nnx.Module):
        def __init__(self, width_in, width, strides):
            self.conv0 = GroupConv(width_in, width, 3, strides, **options)
            self.norm0 = norm(width)
            self.conv1 = GroupConv(width, width, 3, **options)
            self.norm1 = norm(width)
            same = width_in == width and strides == 1
            self.short = nnx.data(
                None if same else GroupConv(width_in, width, 1, strides, **options)
            )

        def __call__(self, x):
            y = self.norm1(self.conv1(nnx.relu(self.norm0(self.conv0(x)))))
            return nnx.relu(y + (x if self.short is None else self.short(x)))

    class ResNet(nnx.Module):
        def __init__(self):
            self.stem = LiftConv(3, widths[0], 3, **options)
            self.norm = norm(widths[0])
            stages = [
                (w, 1 + (i > 0 and j == 0)) for i, w in enumerate(widths) for j in range(blocks)
            ]
            before = [widths[0]] + [w for w, _ in stages]
            self.blocks = nnx.List(
                [Block(b, w, s) for b, (w, s) in zip(before, stages, strict=False)]
            )
            self.head = nnx.Linear(widths[-1], 10, dtype=dtype, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.stem(x)))
            for block in self.blocks:
                x = block(x)
            return self.head(jnp.mean(group_pool(x), axis=(1, 2)))

    return ResNet()


def data(network: str, count: int):
    """Return noise of the network's size, and labels."""
    import jax

    pixels, keys = PIXELS[network], jax.random.split(jax.random.key(0))
    image = jax.random.normal(keys[0], (count, pixels, pixels, CHANNELS[network]))
    return image, jax.random.randint(keys[1], (count,), 0, 10)


class Training:
    """The pure steps of an NNX model, and its first state."""

    def __init__(self, model):
        import optax
        from flax import nnx

        self.tx = optax.adam(1e-3)
        model.train()
        self.train_def, params, rest = nnx.split(model, nnx.Param, ...)
        model.eval()
        self.eval_def = nnx.split(model, nnx.Param, ...)[0]
        self.state = params, rest, self.tx.init(params)

    def train(self, state, image, label):
        import jax
        import optax
        from flax import nnx

        params, rest, opt_state = state

        def loss_fn(params):
            model = nnx.merge(self.train_def, params, rest, copy=True)
            logits = model(image).astype("float32")
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
            return loss, nnx.split(model, nnx.Param, ...)[2]

        (loss, rest), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = self.tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), rest, opt_state), loss

    def logits(self, state, image):
        from flax import nnx

        params, rest, _ = state
        return nnx.merge(self.eval_def, params, rest, copy=True)(image)


# The others


def torch_p4cnn(mode: str, batch: int, channels_last: bool):
    """Make a contender: P4CNN in PyTorch, the filter bank by one index gather."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    def bank_table(k, lifting):
        """Return the base tap that stands at each tap of the bank: ``[r, (s,) taps]``."""
        taps = np.arange(k * k).reshape(k, k)
        turned = [np.rot90(taps, r).ravel() for r in range(4)]
        if lifting:
            return torch.tensor(np.stack(turned)[:, None])
        rows = [[turned[r] + k * k * ((s - r) % 4) for s in range(4)] for r in range(4)]
        return torch.tensor(np.array(rows))

    class P4Conv(nn.Module):
        def __init__(self, c_in, c_out, k, lifting=False):
            super().__init__()
            fan_in = c_in * k * k * (1 if lifting else 4)
            self.k, self.c_out = k, c_out
            self.weight = nn.Parameter(torch.randn(c_out, c_in, fan_in // c_in) / fan_in**0.5)
            self.bias = nn.Parameter(torch.zeros(c_out))
            self.register_buffer("table", bank_table(k, lifting))

        def forward(self, x):
            bank = self.weight[:, :, self.table].permute(0, 2, 1, 3, 4)
            bank = bank.reshape(4 * self.c_out, -1, self.k, self.k)
            return F.conv2d(x, bank, self.bias.repeat_interleave(4))

    class P4CNN(nn.Module):
        def __init__(self):
            super().__init__()
            hidden = [P4Conv(10, 10, 3) for _ in range(5)]
            self.convs = nn.ModuleList([P4Conv(1, 10, 3, lifting=True), *hidden])
            self.norms = nn.ModuleList([nn.BatchNorm3d(10) for _ in range(6)])
            self.top = P4Conv(10, 10, 4)

        def forward(self, x):
            for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
                y = conv(x)
                n, c, h, w = y.shape
                y = F.relu(norm(y.view(n, c // 4, 4, h, w))).view(n, c, h, w)
                x = F.max_pool2d(y, 2) if i == 1 else y
            return self.top(x).reshape(len(x), 10, -1).amax(-1)

    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch_step(P4CNN().to(memory_format=layout), mode, batch, layout)


def escnn_p4cnn(mode: str, batch: int):
    """Make a contender: P4CNN of escnn's own layers."""
    import torch
    from escnn import gspaces, nn

    torch.manual_seed(0)
    space = gspaces.rot2dOnR2(4)
    image = nn.FieldType(space, [space.trivial_repr])
    hidden = nn.FieldType(space, 10 * [space.regular_repr])
    layers = []
    for i in range(6):
        layers.append(nn.R2Conv(hidden if i else image, hidden, kernel_size=3, padding=0))
        layers += [nn.InnerBatchNorm(hidden), nn.ReLU(hidden)]
        if i == 1:
            layers.append(nn.PointwiseMaxPool(hidden, kernel_size=2, stride=2))
    layers += [nn.R2Conv(hidden, hidden, kernel_size=4, padding=0), nn.GroupPooling(hidden)]

    class P4CNN(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.SequentialModule(*layers)

        def forward(self, x):
            return self.layers(nn.GeometricTensor(x, image)).tensor.flatten(1)

    return torch_step(P4CNN(), mode, batch, torch.contiguous_format)


def escnn_e2cnn(mode: str, batch: int):
    """Make a contender: E2CNN over C8 of escnn's own layers, with the widths of ours."""
    import torch
    from escnn import gspaces, nn

    torch.manual_seed(0)
    space = gspaces.rot2dOnR2(8)
    image = before = nn.FieldType(space, [space.trivial_repr])
    layers = []
    for width, (kernel, padding, pool) in zip(E2CNN_WIDTHS, E2CNN_LAYERS, strict=True):
        fields = nn.FieldType(space, width * [space.regular_repr])
        layers.append(nn.R2Conv(before, fields, kernel_size=kernel, padding=padding))
        layers.append(nn.InnerBatchNorm(fields))
        if kernel == E2CNN_LAYERS[-1][0]:
            layers.append(nn.GroupPooling(fields))
            fields = layers[-1].out_type
        layers.append(nn.ELU(fields))
        if pool:
            layers.append(nn.PointwiseMaxPool(fields, kernel_size=2))
        before = fields
    head = []
    for a, b in zip((E2CNN_WIDTHS[-1], *E2CNN_HIDDEN), E2CNN_HIDDEN, strict=False):
        head += [torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b), torch.nn.ELU()]
    head.append(torch.nn.Linear(E2CNN_HIDDEN[-1], 10))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.head = nn.SequentialModule(*layers), torch.nn.Sequential(*head)

        def forward(self, x):
            return self.head(self.layers(nn.GeometricTensor(x, image)).tensor.amax((2, 3)))

    return torch_step(Network(), mode, batch, torch.contiguous_format)


def torch_step(model, mode: str, batch: int, layout):
    """Return a step of a PyTorch model on single-channel images of 28 x 28 pixels."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(harness.cores())
    model = model.to(device)
    image = torch.randn(batch, 1, 28, 28, device=device).to(memory_format=layout)
    label = torch.randint(0, 10, (batch,), device=device)
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def train():
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(image), label)
        loss.backward()
        adam.step()
        return loss.detach()

    def evaluate():
        with torch.no_grad():
            return model(image)

    model.train(mode == "train")
    return train if mode == "train" else evaluate
