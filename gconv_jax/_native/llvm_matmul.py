"""Matrix products of fixed sizes, compiled by LLVM: private.

One of a few dozen rows and columns stays in the processor's vectors while it is summed. With both
widths known to LLVM that takes no copies of the factors, and is as fast as the libraries' products
for large matrices and several times faster for the narrow ones of few channels.
"""

from gconv_jax._native import llvm


def block_rows() -> int:
    """`multiply` computes a multiple of so many rows."""
    # The rest of the vectors hold factors.
    return llvm.vectors().count * 3 // 4


# Numbers of a factor that are read again and again: of the right one in `multiply`, of the left one
# in `add_transposed`.
RIGHT_CACHED, LEFT_CACHED = 3 * 2**16, 2**16


def multiply(name: str, inner: int, columns: int) -> llvm.Function:
    """``y = a b`` for a ``[%rows, inner]``, b ``[inner, columns]`` and y, all of them in rows.

    The rows are at least one. Up to the next multiple of `block_rows` they are read and written.
    """
    f = llvm.Function(name, "ptr noalias %a, ptr noalias %b, ptr noalias %y, i64 %rows")
    width = llvm.vector_width(columns)
    vector = f"<{width} x float>"
    parts = -(-inner * columns // RIGHT_CACHED)
    cached = -(-inner // parts)

    def part(start: str | int, count: str | int, add: bool):
        with f.loop("%rows", block_rows()) as block:
            for panel in _panels(columns, width):
                rows = block_rows() // len(panel)
                with f.loop(block_rows(), rows) as row:
                    first = f.sum(block, row)
                    a = f.at("%a", f.sum(f.product(first, inner), start))
                    b = f.at("%b", f.product(start, columns))
                    y = f.at("%y", f.product(first, columns))

                    def terms(k, a=a, b=b, rows=rows, panel=panel):
                        right = f.at(b, f.product(k, columns))
                        return _outer(f, f.at(a, k), inner, rows, right, panel, width)

                    total = iter(f.sums(count, vector, rows * len(panel), terms))
                    for i in range(rows):
                        for column in panel:
                            place = f.at(y, i * columns + column)
                            if add:
                                _add(f, place, next(total), width, again=-column % width)
                            else:
                                f.do(f"store {vector} {next(total)}, ptr {place}, align 4")

    part(0, cached, add=False)
    if cached < inner:
        with f.loop(inner - cached, cached) as after:
            start = f.sum(after, cached)
            part(start, f.least(f.let(f"sub i64 {inner}, {start}"), cached), add=True)
    return f


def add_transposed(name: str, inner: int, columns: int) -> llvm.Function:
    """``y += a^T b`` for a ``[%rows, inner]``, b ``[%rows, columns]``, y ``[inner, columns]``."""
    f = llvm.Function(name, "ptr noalias %a, ptr noalias %b, ptr noalias %y, i64 %rows")
    width = llvm.vector_width(columns)
    vector = f"<{width} x float>"
    cached = max(8, LEFT_CACHED // inner)
    with f.loop("%rows", cached) as start:
        count = f.least(f.let(f"sub i64 %rows, {start}"), cached)
        chunk_a, chunk_b = (
            f.at(p, f.product(start, n)) for p, n in (("%a", inner), ("%b", columns))
        )
        for panel in _panels(columns, width):
            most = block_rows() // len(panel)
            whole = inner // most * most
            for first, last, rows in ((0, whole, most), (whole, inner, inner - whole)):
                if rows == 0 or first == last:
                    continue
                with f.loop(last - first, rows) as row:
                    k = f.sum(row, first)
                    a, y = f.at(chunk_a, k), f.at("%y", f.product(k, columns))

                    def terms(m, a=a, rows=rows, panel=panel):
                        left = f.at(a, f.product(m, inner))
                        right = f.at(chunk_b, f.product(m, columns))
                        return _outer(f, left, 1, rows, right, panel, width)

                    total = iter(f.sums(count, vector, rows * len(panel), terms))
                    for i in range(rows):
                        for column in panel:
                            place = f.at(y, i * columns + column)
                            _add(f, place, next(total), width, again=-column % width)
    return f


def _panels(columns: int, width: int) -> list[list[int]]:
    """Where vectors begin that cover the columns, by twos; the last may cover some again."""
    starts = [*range(0, columns - width + 1, width)]
    if columns % width:
        starts.append(columns - width)
    return [starts[i : i + 2] for i in range(0, len(starts), 2)]


def _outer(f: llvm.Function, left, step, rows, right, panel, width) -> list[tuple[str, str]]:
    """The factors of ``left[i step] right[column]`` for each row and vector of columns."""
    vector = f"<{width} x float>"
    b = [f.let(f"load {vector}, ptr {f.at(right, column)}, align 4") for column in panel]
    factors = []
    for i in range(rows):
        number = f.load(left, i * step, "float")
        one = f.let(f"insertelement {vector} poison, float {number}, i64 0")
        everywhere = f"{vector} poison, <{width} x i32> zeroinitializer"
        a = f.let(f"shufflevector {vector} {one}, {everywhere}")
        factors += [(a, part) for part in b]
    return factors


def _add(f: llvm.Function, place: str, total: str, width: int, again: int):
    """To the numbers there, but not to those that another vector has been added to before."""
    vector = f"<{width} x float>"
    if again:
        new = ", ".join(f"i1 {int(i >= again)}" for i in range(width))
        total = f.let(f"select <{width} x i1> <{new}>, {vector} {total}, {vector} zeroinitializer")
    old = f.let(f"load {vector}, ptr {place}, align 4")
    f.do(f"store {vector} {f.let(f'fadd {vector} {old}, {total}')}, ptr {place}, align 4")
