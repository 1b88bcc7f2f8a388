"""Are other dtypes right? bfloat16, float16 and uint8 images against float64 on the very same values."""

import torch

from . import library, rows

SECTION = "dtypes"
DTYPES = ("bfloat16", "float16", "uint8")
# As a gradient scaler does in training: without it most entries, about 1 / pixels, are below what float16 holds.
UPSTREAM = 2.0**12


def measure(pairs, backends, device):
    """Yield the Measurements of golden pairs: 0..255 in every dtype, and 0..1, where half precision has to round."""
    for pair in pairs:
        for dtype in DTYPES:
            images = library.tensors(pair, dtype, device)
            yield from _compare(pair, images, pair.data_range, dtype, "0..255", backends, device)
            if dtype != "uint8":
                unit = [
                    (image.double() / pair.data_range).to(getattr(torch, dtype))
                    for image in library.tensors(pair, "float64", device)
                ]
                yield from _compare(pair, unit, 1.0, dtype, "0..1", backends, device)


def _compare(pair, images, data_range, dtype, values, backends, device):
    for quantity in (library.SSIM, library.SIMPLE):
        wide = [image.double() for image in images]
        exact = library.gradients(quantity, *wide, data_range=data_range, backend="torch", upstream=UPSTREAM)
        for backend in backends:
            options = {"data_range": data_range, "backend": backend}

            def row(name, kind, quantity=quantity, backend=backend, **fields):
                return rows.Measurement(
                    SECTION,
                    backend,
                    str(device),
                    dtype,
                    f"{quantity}, {values}{name}",
                    "golden",
                    pair.name,
                    kind,
                    **fields,
                )

            if dtype == "uint8":
                result, refusal = library.attempt(backend, library.value, quantity, *images, **options)
                result = None if result is None else (result,)
            else:
                result, refusal = library.attempt(
                    backend, library.gradients, quantity, *images, **options, upstream=UPSTREAM
                )
            if result is None:
                yield row("", "value", **refusal)
                continue
            value, *gradients = result
            yield row(
                "", "value", error=abs(float(value) - float(exact[0])), value=float(value), expected=float(exact[0])
            )
            wrong = (value.dtype != torch.float32) + sum(one.dtype != images[0].dtype for one in gradients)
            yield row(": wrong dtypes of result or gradients", "count", error=float(wrong))
            if gradients and exact[1].abs().max() * data_range > 1e-6:  # not of identical images, whose gradient is 0
                error = max(map(library.relative_error, gradients, exact[1:]))
                yield row(", gradient", "gradient", error=error)
