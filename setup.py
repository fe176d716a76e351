"""The optional native part; everything else about the package stands in pyproject.toml.

Where no C compiler is found, or Cython is missing, the package installs without it and
`resolver.fastpath` uses the twin in pure Python.
"""

from setuptools import Extension, setup

try:
    from Cython.Build import cythonize
except ImportError:
    extensions = []
else:
    extensions = cythonize(
        [Extension("resolver._batch", ["resolver/_batch.pyx"])],
        build_dir="build",  # the generated C is no source of ours
        quiet=True,
    )
    for extension in extensions:
        extension.optional = True  # set here: cythonize does not carry it over

setup(ext_modules=extensions)
