"""The workloads with torch.func, as its tutorial on model ensembling does: stacked weights, vmap over the gradient."""

import numpy as np
import torch
from torch.func import functional_call, grad, stack_module_state, vmap


def build(workload):
    """Return a new network with weights as Keras draws them (Glorot & Bengio 2010, uniform), biases zero."""
    sizes, layers = (784, *workload.layers, 10), []
    for place, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers.append(torch.nn.Linear(a, b))
        torch.nn.init.xavier_uniform_(layers[-1].weight)
        torch.nn.init.zeros_(layers[-1].bias)
        if place < len(workload.layers):
            layers.append(torch.nn.ReLU())
            if workload.dropout:
                layers.append(torch.nn.Dropout(workload.dropout))
    return torch.nn.Sequential(*layers)


def train_block(workload, seeds, data):
    """Train the networks of some seeds at once; return their validation accuracies and the steps of each."""
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build(workload))
    params, _ = stack_module_state(networks)
    params = {name: p.detach().requires_grad_() for name, p in params.items()}
    frame = networks[0].to("meta")

    def loss(own, x, y):
        return torch.nn.functional.cross_entropy(functional_call(frame, own, (x,)), y)

    gradients = vmap(grad(loss), in_dims=(0, None, None), randomness="different")
    outputs = vmap(lambda own, x: functional_call(frame, own, (x,)), in_dims=(0, None))
    optimizer = torch.optim.Adam(params.values(), eps=1e-7, fused=True)
    x, y, x_val, y_val = data
    rng, steps = np.random.default_rng(0), 0
    for _ in range(workload.epochs):
        order = torch.from_numpy(rng.permutation(len(x)))
        frame.train()
        for rows in order.split(workload.batch):
            found = gradients({name: p.detach() for name, p in params.items()}, x[rows], y[rows])
            for name, p in params.items():
                p.grad = found[name]
            optimizer.step()
            steps += 1
        frame.eval()
        with torch.no_grad():
            labels = torch.cat([outputs(params, part).argmax(-1) for part in x_val.split(1000)], dim=1)
            accuracy = (labels == y_val).float().mean(dim=1).numpy()
    return accuracy, steps


def train(workload, models, data, first, block):
    """Train ``models`` networks, ``block`` at a time; return their validation accuracies and the steps of each."""
    x, y, x_val, y_val = data
    data = torch.from_numpy(x), torch.from_numpy(y).long(), torch.from_numpy(x_val), torch.from_numpy(y_val).long()
    blocks = [range(start, min(start + block, first + models)) for start in range(first, first + models, block)]
    found = [train_block(workload, seeds, data) for seeds in blocks]
    return np.concatenate([accuracy for accuracy, _ in found]), found[0][1]
