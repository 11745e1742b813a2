"""The models of one architecture, block after block through the training loop."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import tensorflow as tf

from . import engine, plan, scoring, stopping
from . import settings as table
from .active import active, chosen, put_back, shown
from .examples import chunks

_ORDER_BYTES = 8 * 2**20  # of batch orders in one compiled call


@dataclass
class Group:
    """Models that share a network.

    ``members``: their row numbers in the stack's settings. ``params``: a list of arrays [models, …].
    ``hyper``: their settings, each [models], nested in lists and dicts. ``outputs``: length of the
    output. ``unit_bytes``: bytes of activations per model and example, without the inputs. ``passes``: how often
    such models were scored on so many examples.
    """

    network: Any
    members: np.ndarray
    params: list
    hyper: dict
    settings: Any
    input_shape: tuple
    outputs: int
    unit_bytes: int
    passes: Counter = field(default_factory=Counter)

    def compile(self, rule, loss):
        """Forget any optimizer state and take this optimizer and loss."""
        self.rule, self.loss, self.epoch = rule, loss, 0
        self.step = np.zeros(len(self.members), np.int32)
        names = ("learning_rate", "momentum", "weight_decay", "clipnorm", "global_clipnorm")
        rates = {k: table.column(self.settings, k, getattr(rule, k)) for k in names}
        slots = 2 if rule.kind == "adam" else int(rates["momentum"].any())
        unused = {"weight_decay": 0.0, "clipnorm": np.inf, "global_clipnorm": np.inf}  # by all: left out
        self.rates = {k: v for k, v in rates.items() if k not in unused or (v != unused[k]).any()}
        self.slots = [[np.zeros_like(self.params[i]) for _ in range(slots)] for i in self.network.trained]
        self.model_bytes = sum(w[0].nbytes for w in self.params) * (1 + slots)

    def blocks(self, examples, size):
        """Return the blocks in which the models train, sized for a third of the last-level cache."""
        place, shared = {m: k for k, m in enumerate(self.members)}, {}
        for n, models in examples.groups(self.members):
            for k in (place[m] for m in models):
                # A block counts its steps once, so models that took different numbers of them stay apart.
                shared.setdefault((models[0], n, self.step[k]), []).append(k)
        groups = [(key[1:], models) for key, models in shared.items()]
        self.among = min(len(models) for _, models in groups)  # so many share a batch of inputs
        if not self.network.compiled:
            return plan.blocks(groups, self.network.unrolled)
        return plan.blocks(groups, max(1, int(plan.cache_bytes() / 3 / (self.model_bytes + self._activations(size)))))

    def _activations(self, size):
        """Return the bytes of a batch's activations and their gradients, for one model."""
        noisy = any(0 in self.hyper[name] for name in ("rate", "stddev"))  # each seed then has inputs of its own
        inputs = 4 * int(np.prod(self.input_shape)) / (1 if noisy else self.among)
        return 2 * size * (self.unit_bytes + inputs)

    def plan(self, examples, size, epochs, single, restore):
        """Choose the blocks and how many epochs one compiled call trains (one if ``single``), and tell their memory.

        Returns
        -------
        dict of bytes at the peak: 'weights' (with optimizer state) of the largest block as it goes in and
        comes out, and the best so far where early stopping may ``restore`` them; its 'activations', with
        their gradients; its batch 'orders'; all three of two blocks where two train beside each other; and
        'all', the weights and optimizer state of every model.
        """
        most = max(n for n, _ in examples.groups(self.members))
        self.size, self.chosen = min(size, most), self.blocks(examples, min(size, most))
        self.largest, self.steps = max(block.models.size for block in self.chosen), -(-most // self.size)
        # Callbacks hear of one block after the other, as they are told; graphs outside XLA fill the processors alone.
        self.beside = 1 if single or not self.network.compiled else min(len(self.chosen), plan.at_once())
        step = 8 * len(self.chosen[0].models) * self.size  # bytes of rows and labels
        self.per_call = 1 if single else max(1, min(epochs, _ORDER_BYTES // (step * self.steps)))
        own = sum(w[0].nbytes for w in self.params) if restore else 0
        return {
            "weights": self.beside * self.largest * (2 * self.model_bytes + own),
            "activations": max(self.beside * self.largest * self._activations(self.size), scoring.BYTES),
            "orders": self.beside * 2 * step * plan.rounded(self.per_call * self.steps),
            "all": len(self.members) * self.model_bytes,
        }

    def fit(self, examples, epochs, validation, validation_freq, stop, callbacks, progress):
        """Train all blocks; return [models, epochs, 6]: ``stopping.RECORD``, and 1 where a model was trained."""
        blocks, size, per_call, mse = self.chosen, self.size, self.per_call, self.loss == "mse"
        watch, patience, min_delta, start_from = stop
        # These are settings, and no part of the program.
        rule = self.rule._replace(learning_rate=0.0, momentum=0.0, weight_decay=0.0, clipnorm=0.0, global_clipnorm=0.0)
        train = engine.trainer(engine.Program(self.network, self.loss, rule, watch))
        # A callback may look at the weights, and expects all of them.
        inputs = None if callbacks else active(self, examples.x, *(validation or ())[:1])
        x = tf.constant(plan.filled(shown(examples.x, inputs)))
        held_out = self._validation(validation, self.largest, inputs)
        every = tf.constant(plan.filled(examples.y)) if mse else None
        history = np.full((len(self.members), epochs, 6), np.nan, np.float32)
        self.best_epoch = np.full(len(self.members), -1)
        turn = Lock()

        def count(models):
            with turn:  # the bar adds for one thread at a time
                progress(models)

        def one(block):
            n = len(examples.of(self.members[block.models[0, 0]])[0])
            state, taken = self._state(block, watch, inputs), 0
            hyper = self._hyper(block, patience, min_delta, start_from)
            for start in range(0, epochs, per_call):
                which = np.arange(start, min(start + per_call, epochs))
                shared = self.members[block.models[:, 0]]
                rows, labels = examples.batches(shared, which + self.epoch, -(-n // size), size)
                rows, labels = (self._in_turn(a) if a is not None else every for a in (rows, labels))
                data = {"x": x, "rows": rows, "targets": labels, "n": np.int32(n)}
                data |= {"first": np.int32(start), "epochs": np.int32(len(which))}
                data["validates"] = np.zeros(plan.rounded(per_call), np.int32)
                data["validates"][: len(which)] = (which + 1) % validation_freq == 0
                state, record = train(*tf.nest.map_structure(tf.convert_to_tensor, (state, hyper, data, held_out)))
                record = np.stack([r.numpy()[: len(which)] for r in record], axis=-1)
                history[block.models[block.real], start : start + len(record)] = np.moveaxis(record, 0, 2)[block.real]
                trained = record[..., -1].sum(axis=0).astype(np.int32)  # epochs; a stopped model takes no more steps
                taken += -(-n // size) * trained
                count(block.real.sum() * len(record))
                if watch:
                    state["watch"]["alive"] &= ~self._stopped(callbacks, start, block, record[-1])
                    if not state["watch"]["alive"].numpy()[block.real].any():
                        count(block.real.sum() * (epochs - start - len(record)))
                        break
            self._keep(block, state, watch, inputs)
            self.step[block.models[block.real]] += taken[block.real]

        if self.beside == 1:
            for block in blocks:
                one(block)
        else:
            with ThreadPoolExecutor(self.beside) as pool:
                list(pool.map(one, blocks))
        self.epoch += epochs
        return history

    def _in_turn(self, batches):
        """Return ``batches`` [E, G, T, B] as [S, G, B], one after the other, and then zeros."""
        steps = batches.shape[0] * batches.shape[2]
        out = np.zeros((plan.rounded(self.per_call * self.steps), batches.shape[1], self.size), batches.dtype)
        out[:steps] = np.moveaxis(batches, 1, 2).reshape(steps, *out.shape[1:])
        return out

    def _stopped(self, callbacks, epoch, block, record):
        stop = np.zeros(block.models.shape, bool)
        logs = {"model": self.members[block.models[block.real]]}
        logs |= {name: record[block.real][:, k] for k, name in enumerate(stopping.RECORD)}
        for callback in callbacks:
            stop[block.real] |= np.broadcast_to(np.asarray(callback(epoch, logs), bool), block.real.sum())
        return stop

    def _validation(self, validation, models, inputs):
        if validation is None:  # a program that does not score is compiled sooner
            return {}
        size = scoring.chunk(self, models, len(validation[0]))
        x, y = (tf.constant(chunks(a, size)) for a in (shown(validation[0], inputs), validation[1]))
        return {"x": x, "targets": y, "n": np.int32(len(validation[0]))}

    def _state(self, block, watch, inputs):
        params = [w[block.models] for w in self.params]
        slots = [[s[block.models] for s in slots] for slots in self.slots]
        params[0], slots[0] = chosen(params[0], inputs), [chosen(s, inputs) for s in slots[0]]
        state = {"params": params, "slots": slots, "step": self.step[block.models[0, 0]]}
        return state | ({"watch": stopping.start(watch, params, block.models.shape)} if watch else {})

    def _hyper(self, block, patience, min_delta, start_from):
        hyper = tf.nest.map_structure(lambda v: v.astype(np.float32)[block.models], self.hyper | self.rates)
        seed = table.column(self.settings, "seed", 0).astype(np.uint32)[block.models]
        hyper["seed"] = seed[:, :1] if (seed == seed[:, :1]).all() else seed
        hyper["patience"] = patience[self.members][block.models].astype(np.float32)
        return hyper | {"min_delta": np.float32(min_delta), "start_from_epoch": np.int32(start_from)}

    def _keep(self, block, state, watch, inputs):
        params = state["params"]
        if watch and watch.monitor:
            best, epoch = (state["watch"][k].numpy() for k in ("best", "best_epoch"))
            self.best_epoch[block.models[block.real]] = np.where(np.isfinite(best), epoch, -1)[block.real]
            if watch.restore:
                kept = np.isfinite(best)
                params = [
                    np.where(kept.reshape(kept.shape + (1,) * (w.ndim - 2)), w, last.numpy())
                    for w, last in zip((b.numpy() for b in state["watch"]["best_params"]), params)
                ]
        arrays = self.params + [s for slots in self.slots for s in slots]
        values = params + [s for slots in state["slots"] for s in slots]
        models = block.models[block.real]
        for into, value in zip(arrays, values):
            into[models] = put_back(into[models], np.asarray(value)[block.real], inputs)
