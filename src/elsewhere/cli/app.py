"""All verbs in one place. A verb's module is small; what is heavy, it imports when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

import elsewhere
from elsewhere.cli import compiler, doctor, films, generate, judge, live, record, rewrite, serve, train, tsp

app = typer.Typer(
    help="Type a sentence, be elsewhere.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(elsewhere.__version__)
        raise typer.Exit()


app.command("generate")(generate.generate)
app.command("rewrite")(rewrite.rewrite)
for verb in (films.still, films.extend, films.loop, films.edit, films.connect):
    app.command()(verb)
app.command("serve")(serve.serve)
app.command("record")(record.record)
app.command("replay")(record.replay)
app.command("doctor")(doctor.doctor)
app.command("compile")(compiler.compile_)
app.command("run")(compiler.run)
compiler.bench.command("live")(live.bench_live)
app.add_typer(compiler.bench, name="bench")
app.add_typer(judge.app, name="judge")
app.add_typer(train.data, name="data")
app.add_typer(train.train, name="train")
app.add_typer(tsp.app, name="tsp")
