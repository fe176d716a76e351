"""The optional native parts; everything else about the package stands in pyproject.toml.

Where no C compiler is found, or Cython is missing, the package installs without it and
`resolver.fastpath` and `resolver.rows.native` use the twins in pure Python.
"""

from setuptools import Extension, setup

try:
    from Cython.Build import cythonize
except ImportError:
    extensions = []
else:
    extensions = cythonize(
        [
            Extension("resolver._batch", ["resolver/_batch.pyx"]),
            Extension("resolver._rows", ["resolver/_rows.pyx"]),
        ],
        build_dir="build",  # the generated C is no source of ours
        quiet=True,
    )
    for extension in extensions:
        extension.optional = True  # set here: cythonize does not carry it over

setup(ext_modules=extensions)
