"""Small models of every kind that people train, for the comparison of both ways of training."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

SAMPLES, WIDTH, LENGTH, WORDS = 48, 8, 6, 12
GENERATOR = torch.Generator().manual_seed(7)
VECTORS = torch.randn(SAMPLES, WIDTH, generator=GENERATOR)
TOKENS = torch.randint(0, WORDS, (SAMPLES, LENGTH), generator=GENERATOR)
TARGETS = torch.tanh(VECTORS.sum(1, keepdim=True)) + TOKENS.sum(1, keepdim=True) / 30


class Of(nn.Module):
    """A model of vectors or tokens: some layers, and a function that calls them."""

    def __init__(self, call, **layers):
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.call(self, x)


def head(width=WIDTH):
    return nn.Linear(width, 1)


def layers(*middle, width=WIDTH):
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *middle, head(width))


def sequence(x):
    return x.unflatten(-1, (4, 2))


def frozen(seed):
    layer = nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            for p in layer.parameters():
                p.normal_(0, 0.4, generator=generator)
    return layer.requires_grad_(False)


def tied():
    model = Of(lambda m, x: m.out(m.decode(torch.tanh(m.encode(x)))), out=head())
    model.encode, model.decode = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    model.decode.weight = model.encode.weight
    return model


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.complex(torch.randn(5), torch.randn(5)) * 0.3)
        self.out = head()

    def forward(self, x):
        return self.out(torch.fft.irfft(torch.fft.rfft(x) * self.w, n=WIDTH))


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def quantize(w):
    """Round to 16 levels, with a straight-through gradient."""
    scale = w.detach().abs().max() / 8
    return w + (torch.round(w / scale) * scale - w).detach()


def checkpointed(reentrant):
    def call(m, x):
        hidden = m.first(x)
        y = torch.utils.checkpoint.checkpoint(m.inner, hidden, use_reentrant=reentrant)
        return m.out(y)

    return Of(call, first=nn.Linear(WIDTH, WIDTH), inner=layers(nn.Tanh()), out=nn.Linear(1, 1))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.out = head()

    def forward(self, x):
        self.count += 1.0
        return self.out(x) / (1 + 0.01 * self.count)


class Places(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.arange(WIDTH) / WIDTH)
        self.out = head()

    def forward(self, x):
        return self.out(torch.sin(x + self.places))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.unused = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(3))
        self.out = head()

    def forward(self, x):
        return self.scale * self.out(x)


class Unrolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.Linear(4, 2), head(2)

    def forward(self, x):
        state = torch.zeros_like(sequence(x)[..., 0, :])
        for part in sequence(x).unbind(-2):
            state = torch.tanh(self.cell(torch.cat([part, state], -1)))
        return self.out(state)


class DoublePart(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(WIDTH, WIDTH).double(), head()

    def forward(self, x):
        return self.out(torch.tanh(self.first(x.double())).to(self.out.weight.dtype))


def words(**options):
    layer = nn.Embedding(WORDS, 4, **options)
    return Of(lambda m, x: m.out(m.words(x).mean(-2)), words=layer, out=head(4))


def recurrent(kind):
    return Of(
        lambda m, x: m.out(m.cells(sequence(x))[0][..., -1, :]),
        cells=kind(2, 4, batch_first=True),
        out=head(4),
    )


def convolution(*inner):
    return nn.Sequential(nn.Unflatten(-1, (1, WIDTH)), *inner, nn.Flatten(-2), nn.LazyLinear(1))


def built(model):
    """Give the lazy modules of a model their sizes."""
    model(torch.zeros(2, WIDTH))
    return model


def attention(m, x):
    q, k, v = m.mix(sequence(x)).chunk(3, -1)
    return m.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True).flatten(-2))


#: Models of vectors, then models of tokens, by name.
VECTOR_MODELS = {
    "linear": head,
    "deep": lambda: layers(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Tanh()),
    "in place": lambda: layers(nn.ReLU(inplace=True)),
    "residual": lambda: Of(lambda m, x: m.out(x + m.a(x)), a=layers(nn.GELU()), out=head()),
    "tied": tied,
    "frozen": lambda: nn.Sequential(frozen(3), nn.Tanh(), head()),
    "frozen random": lambda: nn.Sequential(frozen(None), nn.Tanh(), head()),
    "complex": Complex,
    "convolution": lambda: built(convolution(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.MaxPool1d(2))),
    "depthwise": lambda: built(convolution(nn.Conv1d(1, 4, 3), nn.Conv1d(4, 4, 3, groups=4))),
    "transposed": lambda: built(convolution(nn.ConvTranspose1d(1, 2, 3, stride=2))),
    "pooled": lambda: built(convolution(nn.Conv1d(1, 4, 3), nn.AdaptiveAvgPool1d(2))),
    "attention": lambda: Of(attention, mix=nn.Linear(2, 12), out=head(16)),
    "multihead": lambda: Of(
        lambda m, x: m.out(m.heads(*3 * [sequence(x)])[0].mean(-2)),
        heads=nn.MultiheadAttention(2, 2, batch_first=True),
        out=head(2),
    ),
    "transformer": lambda: Of(
        lambda m, x: m.out(m.block(sequence(x)).mean(-2)),
        block=nn.TransformerEncoderLayer(2, 2, 8, dropout=0.1, batch_first=True),
        out=head(2),
    ),
    "lstm": lambda: recurrent(nn.LSTM),
    "gru": lambda: recurrent(nn.GRU),
    "unrolled": Unrolled,
    "layer norm": lambda: layers(nn.LayerNorm(WIDTH)),
    "rms norm": lambda: layers(nn.RMSNorm(WIDTH)),
    "group norm": lambda: layers(nn.GroupNorm(2, WIDTH)),
    "batch norm": lambda: layers(nn.BatchNorm1d(WIDTH)),
    "batch norm, no statistics": lambda: layers(nn.BatchNorm1d(WIDTH, track_running_stats=False)),
    "dropout": lambda: layers(nn.Dropout(0.3)),
    "drawn dropout": lambda: Of(
        lambda m, x: m.out(functional.dropout(x, 0.3, m.training)), out=head()
    ),
    "weight norm": lambda: layers(parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))),
    "spectral norm": lambda: layers(parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH))),
    "orthogonal": lambda: layers(parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH))),
    "quantized": lambda: Of(
        lambda m, x: functional.linear(x, quantize(m.out.weight), m.out.bias), out=head()
    ),
    "straight through": lambda: Of(lambda m, x: m.out(Sign.apply(m.a(x))), a=head(), out=head(1)),
    "control flow": lambda: Of(lambda m, x: m.out(x) * (2 if x.sum() > 0 else 1), out=head()),
    "checkpoint": lambda: checkpointed(False),
    "reentrant checkpoint": lambda: checkpointed(True),
    "compiled": lambda: torch.compile(layers(nn.Tanh()), backend="eager"),
    "constant buffer": Places,
    "counting buffer": Counter,
    "scalar and unused": Scaled,
    "double part": DoublePart,
    "bilinear": lambda: Of(lambda m, x: m.pair(x, x), pair=nn.Bilinear(WIDTH, WIDTH, 1)),
}
TOKEN_MODELS = {
    "embedding": words,
    "padding": lambda: words(padding_idx=0),
    "largest norm": lambda: words(max_norm=0.5),
    "by frequency": lambda: words(scale_grad_by_freq=True),
    "sparse": lambda: words(sparse=True),
    "bag": lambda: Of(
        lambda m, x: m.out(m.bag(x)), bag=nn.EmbeddingBag(WORDS, 4, mode="mean"), out=head(4)
    ),
}
