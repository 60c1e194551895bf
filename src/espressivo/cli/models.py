"""The verb `models`: checkpoints at hand."""

from __future__ import annotations

from espressivo import bundle
from espressivo.cli import printing
from espressivo.cli.parser import Options


def models(options: Options) -> None:
    """List the bundled checkpoints with what they were trained on, the default first."""
    from espressivo.inspection import trained

    found = {name: trained(bundle.path(name)) for name in bundle.names()}
    if options.json:
        printing.result(found, as_json=True)
        return
    if not found:
        print("no checkpoint is bundled; name a folder with --model")
    for name, facts in found.items():
        size = f"{facts['parameters'] / 1e6:.1f} M parameters, {facts['megabytes']} MB"
        default = " (default)" if name == bundle.default() else ""
        print(f"{name}{default}: {facts['model']['kind']}, {size}")
        print("\n".join(printing.lines(facts["card"], "  ")))
