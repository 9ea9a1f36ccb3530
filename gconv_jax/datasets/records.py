"""The examples of a split, read from disk when they are asked for."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from gconv_jax.datasets._builder import ArrayRecordBuilder

_CHUNK = 4096


class Records:
    """The examples of one split of a prepared data set, as `open_records` gives them.

    They stay on disk, so they need not fit in memory. Grain asks a source for nothing but ``len``
    and an integer index, so ``grain.MapDataset.source(records)`` is a pipeline over them. ``read``
    is faster for several examples at once. Several threads can use the records, and they can be
    pickled for other processes.
    """

    def __init__(self, builder: ArrayRecordBuilder, split: str):
        self._builder, self.split = builder, split

    def __len__(self) -> int:
        return self._builder.info.splits[self.split].num_examples

    def __repr__(self) -> str:
        return f"Records({self._builder.info.full_name!r}, {self.split!r}, {len(self):,} examples)"

    @property
    def features(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """The shape and dtype of each feature of an example, by name."""
        features: Any = self._builder.info.features
        return {name: (f.shape, _array_dtype(f.np_dtype)) for name, f in features.items()}

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Return one example: an array or a number for each name in ``features``.

        IndexError if there are not so many examples.
        """
        place = range(len(self))[operator.index(index)]
        return {name: values[0] for name, values in self.read([place]).items()}

    def read(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Return the examples with these indices, in this order: arrays ``[n, ...]`` by feature.

        Raises:
            IndexError: an index is negative or not below the number of examples.
            OSError: a file has changed since it was written. The message says what to remove.
        """
        # TFDS decodes one example at a time in Python. It is four times as fast to parse only the
        # protocol buffers and to fill arrays with the values of many.
        places = np.asarray(indices, np.int64).ravel()
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"`indices` must be from 0 to {len(self) - 1} in {self!r}")
        features: Any = self._builder.info.features
        parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
        arrays = {name: np.empty((len(places), *s), t) for name, (s, t) in self.features.items()}
        for start in range(0, len(places), _CHUNK):
            part = slice(start, start + _CHUNK)
            try:
                records = self._source.__getitems__(places[part].tolist())
            except RuntimeError as error:  # array_record has a checksum of every chunk
                raise self._damaged(str(error)) from None
            examples = [parse(r).features.feature for r in records]
            if any(name not in example for example in examples for name in features):
                raise self._damaged("")  # the file is cut between chunks
            for name, feature in features.items():
                values = _values([example[name] for example in examples], feature.np_dtype)
                arrays[name][part] = values.reshape(-1, *feature.shape)
        return arrays

    def _damaged(self, why: str) -> OSError:
        return OSError(
            f"the files of {self.split} in {self._builder.data_path} are damaged "
            f"({why or 'cut short'}); remove that folder, and the data set is prepared again"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Open files stay here. A builder pickles as its class and arguments.
        return {"_builder": self._builder, "split": self.split}

    @functools.cached_property
    def _source(self) -> Any:
        return self._builder.as_data_source(
            split=self.split,  # pyright: ignore[reportCallIssue]
            deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
        )


def _array_dtype(dtype: np.dtype) -> np.dtype:
    # JAX has no 64-bit integers by default.
    return np.dtype(np.int32) if dtype == np.int64 else np.dtype(dtype)


def _values(column: list, dtype: np.dtype) -> np.ndarray:
    kind = column[0].WhichOneof("kind")
    if kind == "bytes_list":
        return np.frombuffer(b"".join(f.bytes_list.value[0] for f in column), dtype)
    return np.array([getattr(f, kind).value[0] for f in column], dtype)
