"""What pyproject.toml cannot say: eval.py is installed as spot_eval.py, since `eval` is a name that others use too."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildModules(build_py):
    """As setuptools', but for the name of one module."""

    def find_modules(self):
        """(package, module, file) of the top-level modules."""
        return [(package, {"eval": "spot_eval"}.get(module, module), file)
                for package, module, file in super().find_modules()]


setup(cmdclass={"build_py": BuildModules})
