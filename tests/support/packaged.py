"""Every packaged study at every preset, read once for all tests that go through them."""

from nmlab.search_spaces import loader

AT_EVERY_PRESET = [(name, preset) for name in loader.packaged() for preset in loader.presets(name) or (None,)]
