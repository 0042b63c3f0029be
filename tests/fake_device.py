"""Tensors that pretend to lie on a device of their own: copies to the CPU, and mixtures with it, raise."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")  # a device that every build of torch knows


class Remote(torch.Tensor):
    """A tensor on the fake device; its numbers are those of a CPU tensor that nobody else sees."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=DEVICE, requires_grad=False
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Remote({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of FakeDevice")


class FakeDevice(TorchDispatchMode):
    """Mode in which tensors made on, or brought to, the device are `Remote`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        given, _ = tree_flatten((args, kwargs))
        remote = [x for x in given if isinstance(x, Remote)]
        local = [x for x in given if isinstance(x, torch.Tensor) and not isinstance(x, Remote)]
        there = bool(remote)
        if (device := kwargs.get("device")) is not None:
            there = torch.device(device) == DEVICE
            assert there or not remote, f"{func} copies {tuple(remote[0].shape)} to the CPU"
            kwargs["device"] = torch.device("cpu")
        elif remote and func is not torch.ops.aten.copy_.default:
            mixed = [tuple(x.shape) for x in local if x.ndim]  # numbers may be mixed, as on a GPU
            assert not mixed, f"{func} mixes {[tuple(x.shape) for x in remote]} of the device with {mixed} of the CPU"
        elif remote:
            assert isinstance(args[0], Remote), f"{func} copies {tuple(remote[0].shape)} to the CPU"
        outer = {id(x.inner): x for x in remote}
        result = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))

        def wrap(x):
            if not there or not isinstance(x, torch.Tensor):
                return x
            if id(x) in outer:  # in place
                return outer[id(x)]
            return Remote(x.resolve_conj().resolve_neg())

        return tree_map(wrap, result)


def remote(x):
    """Bring a tensor, or the weights of a module, to the device."""
    if isinstance(x, torch.nn.Module):
        for module in x.modules():
            for store in (module._parameters, module._buffers):
                for key, value in store.items():
                    if value is not None:
                        moved = Remote(value.detach().clone())
                        store[key] = (
                            torch.nn.Parameter(moved, requires_grad=False) if store is module._parameters else moved
                        )
        return x
    return Remote(x.resolve_conj().clone())


def _inner(x):
    return x.inner if isinstance(x, Remote) else x
