"""QGAC: layers that are convolutions of coefficients, frequencies that keep to themselves, and what goes in and out."""

from dataclasses import replace

import pytest
import torch
from properties import check_adjoint
from torch import nn
from torch.nn import functional

from mriqf.jpeg import block_dct, quantization_table
from mriqf.jpeg.colour import rgb, ycbcr
from mriqf.restore import QGAC, QGACConfig
from mriqf.restore.qgac import SMALL
from mriqf.restore.qgac_layers import RRDB, BlockLayer, FrequencyNet

TINY = replace(SMALL, width=6, growth=4, frequency_width=64, chroma_width=4, manifold=4)
GREY = replace(TINY, channels=1)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def build(config=TINY, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return QGAC(config).requires_grad_(False)


def tables(batch=1, channels=3, quality=20):
    kinds = ("luma",) if channels == 1 else ("luma", "chroma")
    return torch.stack([quantization_table(quality, kind) for kind in kinds]).float().expand(batch, -1, -1, -1)


def silence(model):
    """Every residual is zero."""
    layers = [model.luma.fusion[-1], *([] if model.chroma is None else [model.chroma.last])]
    for layer in layers:
        for name, parameter in layer.named_parameters():
            if name in ("weight", "bias", "kernel", "table.4.weight"):
                nn.init.zeros_(parameter)


def as_image(channels):
    """Coefficients in their places in the blocks, as the paper's convolutions see them."""
    return functional.pixel_shuffle(channels, 8)


def layer(conditioning, width=5, transposed=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return BlockLayer(width, conditioning, 4, transposed=transposed).requires_grad_(False)


def test_block_layers_are_the_papers_convolutions():
    x, features = uniform(1, 64, 3, 4), uniform(1, 5, 3, 4)
    table = tables(quality=7)[:, 0] / 255
    for transposed in (False, True):
        manifold = layer("manifold", transposed=transposed)
        kernel = (manifold.kernel + manifold.table(table[:, None])[0].flatten(1)).reshape(5, 1, 8, 8)
        if transposed:
            expected = functional.conv_transpose2d(features, kernel, stride=8)
            assert torch.allclose(as_image(manifold(features, table)), expected, atol=1e-5)
        else:
            expected = functional.conv2d(as_image(x), kernel, manifold.bias, stride=8)
            assert torch.allclose(manifold(x, table), expected, atol=1e-5)
    told = layer("concatenate")
    both = torch.cat((as_image(x), table[:, None].repeat(1, 1, 3, 4)), 1)
    kernel = torch.stack((told.kernel, told.table.weight), 1).reshape(5, 2, 8, 8)
    assert torch.allclose(told(x, table), functional.conv2d(both, kernel, told.bias, stride=8), atol=1e-5)


def test_the_transposed_layer_is_the_adjoint_of_one_with_its_kernels():
    forward, back = layer("manifold"), layer("manifold", transposed=True)
    back.load_state_dict({k: v for k, v in forward.state_dict().items() if k != "bias"})
    table = tables(2, quality=30)[:, 0] / 255
    x, y = uniform(2, 64, 4, 3), uniform(2, 5, 4, 3, seed=1)
    check_adjoint(lambda v: forward(v, table), lambda v: back(v, table), x, y)


def test_each_image_has_the_kernels_of_its_table():
    manifold, x = layer("manifold"), uniform(1, 64, 2, 2).expand(2, -1, -1, -1)
    steps = torch.cat((tables(quality=5), tables(quality=90)))[:, 0] / 255
    features = manifold(x, steps)
    assert not torch.allclose(features[0], features[1], atol=1e-3)
    assert torch.allclose(features[1:], manifold(x[1:], steps[1:]), atol=1e-6)
    ignorant = layer("none")
    assert torch.equal(*ignorant(x, steps))


def test_fifteen_convolutions_in_three_dense_blocks():
    with torch.device("meta"):
        rrdb = RRDB(256, 32)
        full = QGAC(QGACConfig())
    sizes = [(m.in_channels, m.out_channels) for m in rrdb.modules() if isinstance(m, nn.Conv2d)]
    dense = [(256, 32), (288, 32), (320, 32), (352, 32), (384, 256)]
    assert sizes == 3 * dense
    assert sum(p.numel() for p in rrdb.parameters()) == 3 * sum(9 * n * m + m for n, m in dense) + 12 * 32
    assert len(full.luma.stages) == 3
    assert all(m.groups == 64 for m in full.luma.stages[1].modules() if isinstance(m, nn.Conv2d))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in full.modules())


def test_frequencies_keep_to_themselves():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = FrequencyNet(128, 1).requires_grad_(False)
    x, steps = uniform(1, 64, 4, 4), torch.ones(1, 8, 8)
    other = x.clone()
    other[:, 5] += 1
    changed = (network(x, steps) - network(other, steps)).abs().amax((0, 2, 3))
    assert changed.nonzero().flatten().tolist() == [5]
    # The fusion, too: with the frequency network alone, no frequency can come from another.
    luma = build(replace(GREY, block_net=False)).luma
    unit = torch.ones(64, 1, 1)
    changed = (luma(x, steps, unit) - luma(other, steps, unit)).abs().amax((0, 2, 3))
    assert changed.nonzero().flatten().tolist() == [5]
    luma = build(replace(GREY, frequency_net=False)).luma
    assert ((luma(x, steps, unit) - luma(other, steps, unit)).abs().amax((0, 2, 3)) > 0).all()


@pytest.mark.parametrize(("changes", "stages"), [
    ({}, 3), ({"block_net": False}, 1), ({"frequency_net": False}, 1), ({"fusion": False}, 3),
    ({"conditioning": "none"}, 3), ({"conditioning": "concatenate"}, 3),
])  # fmt: skip
def test_ablations(changes, stages):
    model, image = build(replace(TINY, **changes)), uniform(1, 3, 20, 16)
    assert len(model.luma.stages) == stages
    assert (model.luma.fusion is None) == ("fusion" in changes)
    coarse, fine = (model(image, tables(quality=q)) for q in (5, 95))
    told = changes.get("conditioning") != "none"
    assert ((coarse - fine).abs().max() > 0) == told
    luma = [ycbcr(v)[:, :1] for v in (coarse, fine)]  # the frequency network alone is told nothing
    assert ((luma[0] - luma[1]).abs().max() > 1e-6) == (told and "block_net" not in changes)


def test_grey_comes_back_when_nothing_is_added():
    model, image = build(GREY), uniform(2, 1, 27, 18)
    silence(model)
    assert torch.allclose(model(image, tables(2, 1)), image, atol=1e-5)


def test_untrained_colour_comes_back_as_the_decoder_gave_it():
    model, image = build(), uniform(1, 3, 37, 41)
    silence(model)
    assert torch.allclose(model(image, tables()), image, atol=1e-5)


def test_coefficients_of_a_file_are_those_of_its_pixels():
    model, image = build(GREY), uniform(1, 1, 27, 18)
    padded = functional.pad(image[:, 0], (0, 6, 0, 5), mode="replicate")
    restored = model.restore_coefficients([block_dct(255 * padded - 128)], tables(channels=1), (27, 18))
    assert torch.allclose(restored, model(image, tables(channels=1)), atol=1e-5)
    model, image = build(), rgb(torch.cat((uniform(1, 1, 32, 48), torch.full((1, 2, 32, 48), 0.45)), 1))
    y, cb, cr = ycbcr(image).unbind(1)  # chroma without detail: how a decoder enlarges it does not matter
    chroma = [block_dct(255 * functional.avg_pool2d(c, 2) - 127.5) for c in (cb, cr)]
    restored = model.restore_coefficients([block_dct(255 * y - 128), *chroma], tables(), (32, 48))
    assert torch.allclose(restored, model(image, tables()), atol=1 / 32 / 255 * 2)  # libjpeg's filter rounds by a 32nd


@pytest.mark.usefixtures("unchecked")
def test_coefficients_of_files_whose_chroma_has_a_block_to_spare():
    model = build()
    blocks = [uniform(2, *n, 8, 8) for n in ((3, 5), (2, 3), (2, 3))]
    assert model.restore_coefficients(blocks, tables(2), (20, 39)).shape == (2, 3, 20, 39)
    for wrong, size in ((blocks, (20, 41)), (blocks[:1], (20, 39)), ([blocks[0]] * 3, (20, 39))):
        with pytest.raises(ValueError, match="give those of a grey or 4:2:0 file, or the decoded pixels"):
            model.restore_coefficients(wrong, tables(2), size)
    with pytest.raises(ValueError, match="give the quantisation tables"):
        model.restore_coefficients(blocks, tables(1), (20, 39))


def test_luma_guides_chroma():
    # Chroma of the result depends on details of luma, and luma of the result on no chroma.
    model = build()
    image = 0.5 + 0.2 * uniform(1, 3, 16, 16)
    brighter = image + 0.2 * uniform(1, 1, 16, 16, seed=1)  # the same chroma
    chroma = [ycbcr(model(v, tables()))[:, 1:] for v in (image, brighter)]
    assert (chroma[0] - chroma[1]).abs().max() > 1e-6
    y, cb, cr = ycbcr(image).split(1, 1)
    recoloured = rgb(torch.cat((y, cr, cb), 1))
    luma = [ycbcr(model(v, tables()))[:, :1] for v in (image, recoloured)]
    assert torch.allclose(*luma, atol=1e-5)
    swapped = ycbcr(model(recoloured, tables()))[:, 1:].flip(1)  # one network for Cb and Cr
    assert torch.allclose(swapped, chroma[0], atol=1e-5)


def test_measured_coefficients():
    model = build()
    assert torch.all(model.std > 0)
    images = 0.3 + 0.4 * uniform(3, 3, 40, 35)
    model.measure_coefficients([images[:1], images[1:]])
    y, cb, cr = ycbcr(images[..., :32, :32]).unbind(1)
    planes = [255 * y - 128, *(255 * functional.avg_pool2d(c, 2) - 127.5 for c in (cb, cr))]
    for k, plane in enumerate(planes):
        values = block_dct(plane).reshape(-1, 64)
        assert torch.allclose(model.mean[k], values.mean(0), atol=1e-3)
        assert torch.allclose(model.std[k], values.std(0, correction=0), rtol=1e-4)
    other = build(seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.std, model.std)
    model.measure_coefficients([torch.full((1, 3, 16, 16), 0.5)])
    assert model.std.min() == pytest.approx(12**-0.5)
    with pytest.raises(ValueError, match="no whole block of 16×16 pixels"):
        model.measure_coefficients([images[..., :15, :]])


def test_gradients_reach_pixels_and_tables():
    model, image, steps = build(), uniform(1, 3, 16, 16).requires_grad_(), tables().clone().requires_grad_()
    model(image, steps).square().sum().backward()
    for leaf in (image, steps):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() > 0
