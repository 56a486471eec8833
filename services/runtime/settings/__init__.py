"""`countersign.yaml` and `policy.yaml` share their reader; settings are typed objects, built once at start.

`values` kinds of value · `yaml_source` text with positions · `model` the tree · `load` file to tree, or one line.
"""

from services.runtime.settings.load import SettingsError, load, reveal
from services.runtime.settings.model import Settings
from services.runtime.settings.values import Address, Secret

__all__ = ["Address", "Secret", "Settings", "SettingsError", "load", "reveal"]
