"""GPT-2's training step in PyTorch, the peer of bench/node/cuda-train.ts: float32 eager without TF32, and bfloat16 autocast under torch.compile.

Reads lines `KIND COUNT` from stdin, KIND f32 or bf16, runs that many whole steps (forward, backward, AdamW, the loss read back each time) on fresh random
tokens and answers a JSON line {"seconds", "losses"}. The first line it prints, by itself, names versions and the GPU.

Model: GPT-2 small as in karpathy/nanoGPT, no dropout, weights tied, fused attention and the fused AdamW: what PyTorch does best in either mode.
"""

import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

B, T, V, C, NH, L = (int(word) for word in sys.argv[1:7])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        q, k, v = self.qkv(self.ln_1(x)).split(C, dim=2)
        q, k, v = (y.view(B, T, NH, C // NH).transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.ln_f = nn.LayerNorm(C)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("proj.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * L) if deep else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(torch.arange(T, device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, V), targets.view(-1))


class Trainer:
    def __init__(self, kind):
        torch.manual_seed(1)
        self.bf16 = kind == "bf16"
        own = Gpt().cuda()
        self.optimiser = torch.optim.AdamW(
            own.parameters(), lr=1e-4, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, fused=True
        )
        self.model = torch.compile(own) if self.bf16 else own

    def step(self):
        window = torch.randint(V, (B, T + 1), device="cuda")
        tokens, targets = window[:, :-1].contiguous(), window[:, 1:].contiguous()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.model(tokens, targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.item()


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(0)}
    print(json.dumps(versions), flush=True)
    trainers = {}
    for line in sys.stdin:
        kind, count = line.split()
        if kind not in trainers:
            trainers[kind] = Trainer(kind)
        torch.cuda.synchronize()
        start = time.perf_counter()
        losses = [trainers[kind].step() for _ in range(int(count))]
        torch.cuda.synchronize()
        print(json.dumps({"seconds": time.perf_counter() - start, "losses": losses}), flush=True)


main()
