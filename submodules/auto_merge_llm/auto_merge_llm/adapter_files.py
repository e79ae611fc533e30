"""Files of PEFT adapters, by name."""

ADAPTER_CONFIG = "adapter_config.json"  # the mark of what the library peft saves
