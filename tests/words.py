"""The words of every wing, for tests that exchange them."""

import importlib
import pkgutil

import wmjax


def words_of_all() -> list[dict[str, str]]:
    """The templates of every module called `wording`."""
    names = [module.name for module in pkgutil.walk_packages(wmjax.__path__, "wmjax.")]
    return [importlib.import_module(name).WORDS for name in names if name.endswith(".wording")]
