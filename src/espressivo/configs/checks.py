"""What several configurations refuse."""

from espressivo.errors import ConfigError


def positive(config: object, *names: str) -> None:
    """Refuse sizes below one."""
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)} must be at least 1")


def dropout(value: float) -> None:
    """Refuse what is no probability, and losing everything."""
    if not 0 <= value < 1:
        raise ConfigError(f"dropout={value} must lie in [0, 1); try dropout=0.1")
