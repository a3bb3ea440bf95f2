"""
The training step of quench in PyTorch, to be timed beside it by ../pytorch.ts.

A Llama decoder with fake-quantized weights is distilled from its own full precision: learned scales rounded to what the
format stores, straight-through gradients, KL divergence summed over all positions, the gradient clipped by its norm at the
rounded weights, Adam on latents in units of a quantization step.

Reads a folder: `model.json` (shapes, formats, settings) and `values.f32` (all arrays, one after another). Then answers one
JSON line for each line on standard input:

    {"command": "check"}                                  loss and gradients of the first step, written to gradients.f32
    {"command": "step", "mode": MODE}                     {"seconds", "loss"}; each mode trains a student of its own

Modes are `eager`, `compiled`, and `bf16`: compiled, with autocast to bfloat16 in the passes of teacher and student. Latents,
rounding, loss and optimizer remain f32 there, as in mixed-precision training.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

folder = sys.argv[1]
with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
    model = json.load(file)
torch.set_num_threads(model["threads"])
data = np.fromfile(os.path.join(folder, "values.f32"), dtype=np.float32)


def array(place):
    start, shape = place["start"], place["shape"]
    return torch.from_numpy(data[start : start + int(np.prod(shape))].copy()).reshape(shape)


tokens = torch.tensor(model["tokens"], dtype=torch.int64)  # (windows, length)
teacher = {name: array(place) for name, place in model["teacher"].items()}


class OnGrid(torch.autograd.Function):
    """scale * clip(round((w + minimum) / scale)) - minimum; codes count as constants for scales and minimums."""

    @staticmethod
    def forward(ctx, w, scale, minimum, lo, hi):
        inverse = torch.where(scale == 0, 0.0, 1.0 / scale)
        x = w if minimum is None else w + minimum
        rounded = torch.floor(x * inverse + 0.5)
        q = rounded.clamp(lo, hi)
        ctx.save_for_backward(q, (q == rounded) & (scale != 0))
        ctx.affine = minimum is not None
        y = q * scale
        return y - minimum if ctx.affine else y

    @staticmethod
    def backward(ctx, dy):
        q, inside = ctx.saved_tensors
        dscale = (dy * q).sum(1, keepdim=True)
        dminimum = -dy.sum(1, keepdim=True) if ctx.affine else None
        return dy * inside, dscale, dminimum, None, None


def straight_through(x, stored):
    return x + (stored - x).detach()


def factor(values, block, group):
    """A scale or minimum of every group, as stored: an f16 of the block times a small integer of the group."""
    d = values[block["field"]]
    stored = straight_through(d, d.half().float())
    if group is None:
        return stored
    lo, hi = group["rounding"]["lo"], group["rounding"]["hi"]
    integers = values[group["field"]]
    return stored * straight_through(integers, torch.floor(integers + 0.5)).clamp(lo, hi)


class Tensor:
    """A tensor of the student: latents in their units, and the rounding that makes its weights."""

    def __init__(self, described):
        self.shape, self.grid = described["shape"], described.get("grid")
        self.units = {key: array(latent["unit"]) for key, latent in described["latents"].items()}
        self.latents = {}
        for key, latent in described["latents"].items():
            values, unit = array(latent["values"]), self.units[key]
            self.latents[key] = (values.reshape(unit.numel(), -1) / unit.reshape(-1, 1)).requires_grad_()
        self.kinds = {key: latent["kind"] for key, latent in described["latents"].items()}

    def weights(self):
        values = {key: z * self.units[key].reshape(-1, 1) for key, z in self.latents.items()}
        if self.grid is None:
            return values["w"].reshape(self.shape)
        grid, offset = self.grid, self.grid.get("offset")
        blocks = values[grid["scale"]["block"]["field"]].numel()
        values = {key: x if key == "w" else x.reshape(blocks, -1) for key, x in values.items()}
        scale = factor(values, grid["scale"]["block"], grid["scale"].get("group")).reshape(-1, 1)
        minimum = offset and factor(values, offset["block"], offset.get("group")).reshape(-1, 1)
        w = values["w"].reshape(-1, grid["groupSize"])
        return OnGrid.apply(w, scale, minimum, grid["levels"]["lo"], grid["levels"]["hi"]).reshape(self.shape)


heads, kv_heads, epsilon = model["heads"], model["kvHeads"], model["normEpsilon"]
positions = torch.arange(tokens.shape[1])[:, None] * torch.tensor(model["frequencies"])
cos, sin = positions.cos().float(), positions.sin().float()  # (length, headWidth / 2)


def rotate(x):  # (windows, heads, length, headWidth), neighbours turn together
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def hidden(w):
    """The residual stream after the last block, (windows, length, width)."""
    x = F.embedding(tokens, w["token_embd.weight"])
    windows, length, width = x.shape
    for layer in range(model["layers"]):
        p = lambda name: w[f"blk.{layer}.{name}.weight"]
        h = F.rms_norm(x, (width,), p("attn_norm"), epsilon)
        q, k, v = (
            F.linear(h, p(name)).view(windows, length, n, -1).transpose(1, 2)
            for name, n in (("attn_q", heads), ("attn_k", kv_heads), ("attn_v", kv_heads))
        )
        y = F.scaled_dot_product_attention(
            rotate(q), rotate(k), v, is_causal=True, enable_gqa=heads != kv_heads
        )
        x = x + F.linear(y.transpose(1, 2).reshape(windows, length, -1), p("attn_output"))
        h = F.rms_norm(x, (width,), p("ffn_norm"), epsilon)
        x = x + F.linear(F.silu(F.linear(h, p("ffn_gate"))) * F.linear(h, p("ffn_up")), p("ffn_down"))
    return x


def log_probabilities(w):
    x = F.rms_norm(hidden(w), (model["width"],), w["output_norm.weight"], epsilon)
    return F.log_softmax(F.linear(x, w[model["output"]]).float(), -1)


def teacher_target():
    with torch.no_grad():
        return log_probabilities(teacher)


def divergence(w, target):
    return F.kl_div(log_probabilities(w), target, reduction="sum", log_target=True)


class Student:
    def __init__(self, mode):
        self.tensors = {name: Tensor(t) for name, t in model["student"].items()}
        weights = lambda: {name: t.weights() for name, t in self.tensors.items()}
        wrap = (lambda f: f) if mode == "eager" else torch.compile
        self.round, self.target, self.loss = wrap(weights), wrap(teacher_target), wrap(divergence)
        self.autocast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16")
        groups = {"weight": [], "scale": []}
        for t in self.tensors.values():
            for key, latent in t.latents.items():
                groups[t.kinds[key]].append(latent)
        rates = {"weight": model["weightRate"], "scale": model["scaleRate"]}
        self.optimizer = torch.optim.Adam(
            [{"params": groups[kind], "lr": rates[kind]} for kind in groups],
            betas=(0.9, 0.95), eps=1e-15, fused=True,
        )

    def gradients(self):
        """The loss summed over all positions, the rounded weights, and its gradients with respect to them."""
        rounded = self.round()
        leaves = {name: w.detach().requires_grad_() for name, w in rounded.items()}
        with self.autocast():
            loss = self.loss(leaves, self.target())
        loss.backward()
        return loss, rounded, [w.grad for w in leaves.values()]

    def step(self):
        loss, rounded, gradients = self.gradients()
        count = tokens.numel()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).item() / count
        torch._foreach_mul_(gradients, min(1.0, model["clip"] / (norm or 1)) / count)
        torch.autograd.backward(list(rounded.values()), gradients)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item() / count


students = {}


def student(mode):
    if mode not in students:
        students[mode] = Student(mode)
    return students[mode]


def answer(request):
    if request["command"] == "check":
        loss, _, gradients = Student("eager").gradients()
        joined = np.concatenate([g.numpy().ravel() for g in gradients])
        joined.astype(np.float32).tofile(os.path.join(folder, "gradients.f32"))
        return {"loss": loss.item() / tokens.numel()}
    trained = student(request["mode"])
    start = time.perf_counter()
    loss = trained.step()
    return {"seconds": time.perf_counter() - start, "loss": loss}


print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:  # said to the bench, which decides whether to go on
        reply = {"error": f"{type(error).__name__}: {error}".strip().split("\n")[0]}
    print(json.dumps(reply), flush=True)
