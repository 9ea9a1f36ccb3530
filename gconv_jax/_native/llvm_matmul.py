"""Matrix products of fixed sizes, compiled by LLVM: private.

One of a few dozen rows and columns stays in the processor's vectors while it is summed. With both
widths known to LLVM that takes no copies of the factors, and is as fast as the libraries' products
for large matrices and several times faster for the narrow ones of few channels.
"""

from gconv_jax._native import llvm


def block_rows() -> int:
    """Return the number of rows of which `multiply` computes a multiple."""
    # The rest of the vectors hold factors.
    return llvm.vectors().count * 3 // 4


# How many numbers of a factor are read again and again: the right one in `multiply`, the left one
# in `add_transposed`.
RIGHT_CACHED, LEFT_CACHED = 3 * 2**16, 2**16


def multiply(name: str, inner: int, columns: int, add: bool = False) -> llvm.Function:
    """``y = a b``, or ``y += a b``, for a ``[%rows, inner]``, b ``[inner, columns]`` and y in rows.

    The rows are at least one. Up to the next multiple of `block_rows` they are read and written.
    """
    f = llvm.Function(name, "ptr noalias %a, ptr noalias %b, ptr noalias %y, i64 %rows")
    panels = _panels(columns)
    parts = -(-inner * columns // RIGHT_CACHED)
    cached = -(-inner // parts)

    def part(start: str | int, count: str | int, add: bool = True):
        with f.loop("%rows", block_rows()) as block:
            for panel in panels:
                rows = block_rows() // len(panel)
                with f.loop(block_rows(), rows) as row:
                    first = f.sum(block, row)
                    a = f.gep("%a", f.sum(f.product(first, inner), start))
                    b = f.gep("%b", f.product(start, columns))
                    y = f.gep("%y", f.product(first, columns))

                    def terms(k, a=a, b=b, rows=rows, panel=panel):
                        right = f.gep(b, f.product(k, columns))
                        return _outer(f, f.gep(a, k), inner, rows, right, panel)

                    total = iter(f.reduction_loop(count, _kinds(panel) * rows, terms))
                    for i in range(rows):
                        for part in panel:
                            place = f.gep(y, i * columns + part.start)
                            if add:
                                _add(f, place, next(total), part)
                            else:
                                f.store_vector(next(total), place, part.width, part.count)

    part(0, cached, add)
    if cached < inner:
        with f.loop(inner - cached, cached) as after:
            start = f.sum(after, cached)
            part(start, f.umin(f.assign(f"sub i64 {inner}, {start}"), cached))
    return f


def add_transposed(name: str, inner: int, columns: int) -> llvm.Function:
    """``y += a^T b`` for a ``[%rows, inner]``, b ``[%rows, columns]``, y ``[inner, columns]``."""
    f = llvm.Function(name, "ptr noalias %a, ptr noalias %b, ptr noalias %y, i64 %rows")
    panels = _panels(columns)
    cached = max(8, LEFT_CACHED // inner)
    with f.loop("%rows", cached) as start:
        count = f.umin(f.assign(f"sub i64 %rows, {start}"), cached)
        chunk_a, chunk_b = (
            f.gep(p, f.product(start, n)) for p, n in (("%a", inner), ("%b", columns))
        )
        for panel in panels:
            most = block_rows() // len(panel)
            whole = inner // most * most
            for first, last, rows in ((0, whole, most), (whole, inner, inner - whole)):
                if rows == 0 or first == last:
                    continue
                with f.loop(last - first, rows) as row:
                    k = f.sum(row, first)
                    a, y = f.gep(chunk_a, k), f.gep("%y", f.product(k, columns))

                    def terms(m, a=a, rows=rows, panel=panel):
                        left = f.gep(a, f.product(m, inner))
                        right = f.gep(chunk_b, f.product(m, columns))
                        return _outer(f, left, 1, rows, right, panel)

                    total = iter(f.reduction_loop(count, _kinds(panel) * rows, terms))
                    for i in range(rows):
                        for part in panel:
                            place = f.gep(y, i * columns + part.start)
                            _add(f, place, next(total), part)
    return f


def _panels(columns: int) -> list[list[llvm.Vector]]:
    """Return the vectors that cover the columns, by twos."""
    parts = llvm.row_vectors(columns)
    return [parts[i : i + 2] for i in range(0, len(parts), 2)]


def _kinds(panel: list[llvm.Vector]) -> list[str]:
    """Return LLVM's types of the vectors of a row."""
    return [f"<{part.width} x float>" for part in panel]


def _outer(
    f: llvm.Function, left: str, step: int, rows: int, right: str, panel: list[llvm.Vector]
) -> list[tuple[str, str]]:
    """Return the factors of ``left[i step] right[column]`` for each row and vector of columns."""
    b = [f.load_vector(f.gep(right, part.start), part.width, part.count) for part in panel]
    factors = []
    for i in range(rows):
        number = f.load(left, i * step, "float")
        everywhere = f.repeated(number, panel[0].width)
        factors += [
            (f.first(everywhere, panel[0].width, v.width), r) for v, r in zip(panel, b, strict=True)
        ]
    return factors


def _add(f: llvm.Function, place: str, total: str, part: llvm.Vector):
    """Add to the numbers at a place, except those to which another vector was added before."""
    vector = f"<{part.width} x float>"
    if part.again:
        new = ", ".join(f"i1 {int(i >= part.again)}" for i in range(part.width))
        total = f.assign(
            f"select <{part.width} x i1> <{new}>, {vector} {total}, {vector} zeroinitializer"
        )
    old = f.load_vector(place, part.width, part.count)
    f.store_vector(f.assign(f"fadd {vector} {old}, {total}"), place, part.width, part.count)
