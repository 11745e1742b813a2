"""The dense path: the models of one architecture, block after block through the compiled programs."""

import numpy as np
import tensorflow as tf

from . import architecture, engine, forward, plan, settings as table
from .examples import chunks

_CALL_BYTES = 8 * 2**20  # of batch orders handed to one compiled call
_SCORE_BYTES = 8 * 2**20  # of activations while scoring


class DenseGroup:
    """All models of a stack that share one architecture: their settings, weights and optimizer state."""

    def __init__(self, ops, input_shape, members, values, weights, settings, penalize):
        self.members, self.input_shape = np.array(members), input_shape
        chosen = settings.iloc[self.members]
        count = len(values[0]["l2"])
        penalized = {"all": range(count), "hidden": range(count - 1), "output": [count - 1]}[penalize]
        own = {k: np.array([v[k] for v in values], float).T for k in ("l1", "l2")}
        for name, lam in own.items():
            for place in penalized:
                lam[place] = table.column(chosen, name, lam[place])
        hidden, on_inputs = table.column(chosen, "dropout", np.nan), table.column(chosen, "input_dropout", np.nan)
        ops, sites = architecture.with_dropout(ops, values[0]["rate"], (hidden > 0).any(), (on_inputs > 0).any())
        rates = {}
        for site in sites:
            given = on_inputs if site == "input" else hidden
            rates[site] = np.where(np.isnan(given), [v["rate"].get(site, 0.0) for v in values], given)
        # What no model uses is not compiled in.
        self.ops = tuple(op for op in ops if op[0] != "dropout" or rates[op[1]].any())
        self._hyper = {k: list(v) for k, v in own.items() if v.any()}
        self._hyper["rate"] = {site: r for site, r in rates.items() if r.any()}
        self._seed = table.column(chosen, "seed", 0).astype(np.int64)
        self._chosen = chosen
        self.kinds = architecture.kinds(self.ops)
        self.params = [np.stack(w) for w in zip(*(architecture.to_stack(w) for w in weights))]
        units = [op[1] for op in self.ops if op[0] == "dense"]
        self.outputs, self._widest = units[-1], max(units)
        self._bytes_per_example = 4 * (sum(units) + self.params[0].shape[2])

    def compile(self, rule, loss):
        """Forget any optimizer state and take this optimizer and loss."""
        self.rule, self.loss, self._step = rule, loss, 0
        rates = {k: table.column(self._chosen, k, getattr(rule, k)) for k in ("learning_rate", "momentum", "weight_decay")}
        slots = 2 if rule.kind == "adam" else int(rates["momentum"].any())
        self._hyper |= {k: v for k, v in rates.items() if k != "weight_decay" or v.any()}
        self._slots = [[np.zeros_like(w) for _ in range(slots)] for w in self.params]
        self._program = engine.Program(self.ops, loss, rule._replace(learning_rate=0.0, momentum=0.0, weight_decay=0.0))

    def fit(self, examples, size, epochs, validation, validation_freq, callbacks):
        """Train all blocks; return [models, epochs, (loss, accuracy, val_loss, val_accuracy, penalty)]."""
        place = {m: k for k, m in enumerate(self.members)}
        groups = [(n, [place[m] for m in models]) for n, models in examples.groups(self.members)]
        size = min(size, max(n for n, _ in groups))
        per_model = 4 * sum(w[0].size for w in self.params) * (1 + len(self._slots[0]))
        most = max(1, int(plan.cache_bytes() / 3 / (per_model + 2 * size * self._bytes_per_example)))
        history = np.full((len(self.members), epochs, 5), np.nan, np.float32)
        blocks = plan.blocks(groups, most)
        steps = -(-max(n for n, _ in groups) // size)
        train, x = engine.trainer(self._program), tf.constant(examples.x)
        held_out = self._validation(validation, max(b.models.size for b in blocks))
        first = self._step
        for block in blocks:
            n = len(examples.of(self.members[block.models[0, 0]])[0])
            lead = self.members[block.models[:, 0]]
            per_call = max(1, min(epochs, _CALL_BYTES // (8 * len(lead) * steps * size)))
            state, hyper = self._state(block, first), self._block_hyper(block)
            for start in range(0, epochs, per_call):
                now = min(per_call, epochs - start)
                which = np.arange(start, start + per_call)
                rows, labels = examples.batches(lead, which[:now], steps, size)
                pad = [(0, per_call - now)] + [(0, 0)] * 3
                batch = {
                    "x": x, "rows": np.pad(rows, pad), "targets": np.pad(labels, pad + [(0, 0)] * (labels.ndim - 4)),
                    "n": np.int32(n), "epochs": np.int32(now),
                }
                validate = ((which + 1) % validation_freq == 0) & (validation is not None)
                held_out["steps"] = np.where(validate, held_out["x"].shape[0], 0).astype(np.int32)
                state, sums = train(*_tensors((state, hyper, batch, held_out)))
                sums = np.stack([s.numpy()[:now] for s in sums], axis=-1)
                sums[..., :2] /= n
                sums[..., 2:4] /= np.where(validate[:now], max(1, held_out["n"]), np.nan)[:, None, None, None]
                history[block.models[block.real], start : start + now] = np.moveaxis(sums, 0, 2)[block.real]
            self._keep(block, state)
            self._step = int(state["step"].numpy())
        return history

    def _validation(self, validation, models):
        x, y = validation if validation is not None else (np.zeros((1, self.params[0].shape[2]), np.float32), None)
        if y is None:
            y = np.zeros(1, np.int32) if self.loss != "mse" else np.zeros((1, self.outputs), np.float32)
        size = self._chunk(models, len(x))
        return {"x": tf.constant(chunks(x, size)), "targets": tf.constant(chunks(y, size)), "n": np.int32(len(x))}

    def _chunk(self, models, n):
        return int(np.clip(_SCORE_BYTES // (4 * models * self._widest), 32, max(32, min(n, 2048))))

    def _state(self, block, step):
        return {
            "params": [w[block.models] for w in self.params],
            "slots": [[s[block.models] for s in slots] for slots in self._slots],
            "step": np.int32(step),
        }

    def _keep(self, block, state):
        def store(into, value):
            into[block.models[block.real]] = value.numpy()[block.real]

        for w, new in zip(self.params, state["params"]):
            store(w, new)
        for slots, new in zip(self._slots, state["slots"]):
            for s, value in zip(slots, new):
                store(s, value)

    def _block_hyper(self, block):
        seed = self._seed[block.models]
        shared = (seed == seed[:, :1]).all()

        def spread(values):
            return values.astype(np.float32)[block.models][..., None, None]

        hyper = tf.nest.map_structure(spread, self._hyper)
        return hyper | {"seed": (seed[:, :1] if shared else seed).astype(np.uint32)}

    def score(self, models, x, y):
        """Return [models, (loss, accuracy)] of the given models (positions in this group) on (x, y)."""
        total = 0.0
        for z, k in self._forward(models, x):
            values = forward.example_losses(self.loss, self.ops, z, tf.constant(y[k][None]))
            total += np.stack([v.numpy()[0].sum(axis=1, dtype=float) for v in values], axis=-1)
        return total / len(x)

    def evaluate(self, x, y):
        """Return [models, (loss, accuracy)] on examples that all models share."""
        return np.concatenate([self.score(which, x, y) for which in self._portions()])

    def evaluate_train(self, examples, clean):
        """Return [models, (loss, accuracy)] on each model's own training rows."""
        out, place = np.empty((len(self.members), 2)), {m: k for k, m in enumerate(self.members)}
        for _, models in examples.groups(self.members):
            rows, labels = examples.of(models[0])
            which = [place[m] for m in models]
            out[which] = self.score(which, examples.x[rows], examples.y[rows] if clean else labels)
        return out

    def predict(self, x):
        """Return outputs float32 [models, N, outputs]."""
        out = np.empty((len(self.members), len(x), self.outputs), np.float32)
        for which in self._portions():
            for z, k in self._forward(which, x):
                out[which, k] = tf.linalg.matrix_transpose(forward.outputs(self.ops, z))[0].numpy()
        return out

    def _portions(self):
        """Return slices of models whose weights fit the cache together."""
        most = max(1, int(plan.cache_bytes() / 3 / (4 * sum(w[0].size for w in self.params))))
        return [slice(start, start + most) for start in range(0, len(self.members), most)]

    def _forward(self, models, x):
        """Yield (logits [1, models, outputs, examples], slice of the examples) chunk by chunk.

        Plain TensorFlow: a forward pass gains little from XLA, and compiling it costs more than it takes.
        """
        params = [tf.constant(w[models][None]) for w in self.params]
        size = self._chunk(params[0].shape[1], len(x))
        for start in range(0, len(x), size):
            k = slice(start, start + size)
            yield forward.logits(self.ops, params, tf.constant(x[k][None])), k

    def weights(self, i):
        """Return the weights of model i of the stack, in Keras's order and shapes."""
        k = int(np.flatnonzero(self.members == i)[0])
        return architecture.to_keras(self.ops, [w[k] for w in self.params])


def _tensors(tree):
    return tf.nest.map_structure(tf.convert_to_tensor, tree)
