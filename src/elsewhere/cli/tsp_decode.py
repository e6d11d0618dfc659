"""elsewhere tsp decode: tokens a second of a language model on one chip, executed, or on many."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from elsewhere.cli.report import print_json, user_errors


def decode(
    model: Annotated[str, typer.Option(help="A registered name such as smollm2-135m, or a config.json.")],
    chips: Annotated[int, typer.Option(help="How many chips; on one the whole program is made.")] = 1,
    context: Annotated[int, typer.Option(help="Tokens that the cache holds (0: 128 on one chip, else 4096).")] = 0,
    prompt: Annotated[int, typer.Option(help="Tokens before the first answer.")] = 1,
    execute: Annotated[bool, typer.Option("--execute", help="Run it on one chip, and compare every bit.")] = False,
    tokens: Annotated[int, typer.Option(help="Tokens to execute.")] = 1,
    layers: Annotated[int, typer.Option(help="Only so many layers (0: all), on one chip.")] = 0,
    machine: Annotated[str, typer.Option(help="groqchip1, lp30-public, or a .toml file.")] = "groqchip1",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Cycles, tokens a second and the time to the first token of a language model."""
    from elsewhere.compiler.targets.tsp import estimate, language
    from elsewhere.compiler.targets.tsp.machine import load_machine
    from elsewhere.compiler.targets.tsp.shapes import find

    with user_errors():
        shape, target = find(model), load_machine(machine)
        if chips > 1 and execute:
            raise ValueError(f"a model is executed on one chip, got {chips}; without --execute many are timed")
        if layers < 0 or layers > shape.layers:
            raise ValueError(f"layers must be from 0 to {shape.layers}, got {layers}")
        made: Any
        if chips == 1:
            count = tokens if execute else 0
            made = language.measure(
                shape, context=context or 128, prompt=prompt, layers=layers, execute=count, machine=target
            )
        else:
            made = estimate.decode(shape, chips=chips, context=context or 4096, prompt=prompt, machine=target)
    report = {**asdict(made), "tokens_per_second": made.tokens_per_second}
    if as_json:
        print_json(report)
        return
    for name, value in report.items():
        typer.echo(f"{name:22s} {value}")
    if execute and not made.exact:
        raise typer.Exit(1)
