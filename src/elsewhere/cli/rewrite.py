"""`elsewhere rewrite`: a few words become a detailed prompt."""

from __future__ import annotations

from typing import Annotated

import typer

from elsewhere.cli.report import print_json, user_errors, warn_unknown


def rewrite(
    prompt: Annotated[str, typer.Argument(help="A few words.")],
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Write PROMPT out in detail: what it leaves open is drawn from what suits the place.

    elsewhere rewrite "a ship in coffee"

    elsewhere generate "a ship in coffee" --rewrite
    """
    with user_errors():
        from elsewhere.scene import parse
        from elsewhere.scene.words.rewrite import rewrite as written

        made = written(prompt, seed)
        unknown = parse(prompt, seed).unknown
    warn_unknown(unknown)
    if json_:
        print_json(
            {
                "prompt": made.prompt,
                "text": made.text,
                "added": list(made.added),
                "seed": seed,
                "unknown": [{"word": word, "nearest": nearest} for word, nearest in unknown],
            }
        )
        return
    typer.echo(f"{made.prompt}\n→ {made.text}")
