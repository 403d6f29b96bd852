"""Names of classes that a model's pickle may contain in addition to the model's own. None is imported or called.

Standard library only, as the throw-away process imports this module.
"""

from __future__ import annotations

Name = tuple[str, str]

NUMPY: tuple[Name, ...] = (
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
)
"""The globals in pickled arrays."""

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
STORAGES: frozenset[Name] = frozenset(("torch", f"{kind}Storage") for kind in _STORAGES)
"""The classes of stored numbers in PyTorch's archives."""

TENSORS: frozenset[Name] = frozenset(("torch._utils", f"_rebuild_{kind}") for kind in ("tensor_v2", "parameter"))
"""The functions that make a tensor of them."""

SHAPES: frozenset[Name] = frozenset({("torch._utils", "_rebuild_meta_tensor_no_storage")})
"""The function that makes a tensor that has a shape and no numbers."""

DICTS: frozenset[Name] = frozenset(
    (
        *(("collections", name) for name in ("OrderedDict", "defaultdict", "Counter")),
        *((f"{library}.fabric.utilities.data", "AttributeDict") for library in ("lightning", "lightning_fabric")),
    )
)
"""Classes that are read as a dict."""

INDEX: frozenset[Name] = frozenset({("pandas.core.indexes.base", "_new_Index")})
"""The function that makes a pandas Index. It is read as its array, since ``adata.var_names`` is an Index."""

_RANDOM: tuple[Name, ...] = (
    *(("numpy.random._pickle", f"__{kind}_ctor") for kind in ("randomstate", "bit_generator", "generator")),
    *(("numpy.random", name) for name in ("__RandomState_ctor", "RandomState", "Generator")),
    ("numpy.random.mtrand", "RandomState"),
    ("numpy.random._generator", "Generator"),
    *(
        (f"numpy.random.{module}", kind)
        for module, kind in (("_mt19937", "MT19937"), ("_pcg64", "PCG64"), ("_philox", "Philox"), ("_sfc64", "SFC64"))
    ),
    ("numpy.random._pcg64", "PCG64DXSM"),
    *(
        ("numpy.random.bit_generator", start + kind)
        for kind in ("SeedSequence", "SeedlessSeedSequence")
        for start in ("", "__pyx_unpickle_")
    ),
)
_NUMBERS: tuple[Name, ...] = tuple(
    ("numpy", name)
    for name in (
        *("bool_", "bool", "str_", "bytes_", "object_", "float16", "float32", "float64"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
_PLAIN: tuple[Name, ...] = tuple(
    (module, name)
    for module in ("builtins", "__builtin__")
    for name in (
        "list",
        "dict",
        "set",
        "frozenset",
        "tuple",
        "int",
        "float",
        "bool",
        "str",
        "bytes",
        "complex",
        "slice",
    )
)
_TIMES: tuple[Name, ...] = (
    *(("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")),
    ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp"),
    ("pandas._libs.tslibs.timestamps", "Timestamp"),
)
_INDEXES = "pandas.core.indexes"
_PANDAS: tuple[Name, ...] = (
    *(("pandas.core.indexes." + name.lower().removesuffix("index"), name) for name in ("RangeIndex", "MultiIndex")),
    ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.category", "CategoricalIndex"),
    ("pandas.core.indexes.datetimes", "DatetimeIndex"),
    ("pandas.core.indexes.datetimes", "_new_DatetimeIndex"),
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
    ("pandas.core.arrays.categorical", "Categorical"),
    ("pandas.core.arrays.datetimes", "DatetimeArray"),
    ("pandas.core.dtypes.dtypes", "CategoricalDtype"),
    ("pandas.core.series", "Series"),
    ("pandas.core.frame", "DataFrame"),
    *(("pandas.core.internals.managers", name) for name in ("SingleBlockManager", "BlockManager")),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.internals.blocks", "new_block"),
    *((f"{_INDEXES}.numeric", f"{kind}Index") for kind in ("Int64", "UInt64", "Float64")),  # before pandas 2
    *(("pandas.core.arrays.string_", name) for name in ("StringDtype", "StringArray", "StringArrayNumpySemantics")),
)
_PATHS: tuple[Name, ...] = tuple(
    (module, name) for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath", "PurePosixPath")
)

OPAQUE: frozenset[Name] = frozenset((*_RANDOM, *_NUMBERS, *_PLAIN, *_TIMES, *_PANDAS, *_PATHS)) | DICTS | INDEX
"""Classes of attributes that do not affect a model's scores: random state, dates, types, tables.

Their content is ignored, except for ``DICTS`` and ``INDEX``.
"""
