"""``plait …``: what each command is called and takes. What they do is in the modules beside this one, imported when one is used."""

import io
import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

if TYPE_CHECKING:
    from typer import Typer

#: Exit codes: 0 it was done, 1 it failed, 2 it was asked for in a way that cannot be done, 130 somebody pressed Ctrl-C.
DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

#: What Python, or the site, does with errors; the command line's library puts its own there.
EXCEPTHOOK = sys.excepthook


def app_main() -> NoReturn:
    """The command ``plait``."""
    asked = set(sys.argv[1:])
    if asked & {"--version", "-V"} and asked <= {
        "--version",
        "-V",
        "--json",
    }:  # quick: without the command line's library
        try:
            print(_version_data() if "--json" in asked else version_text(), flush=True)
        except OSError as error:
            _leave(error)
        sys.exit(DONE)
    from plait.errors import ConfigurationError
    from plait.monitoring.runs import RunNotFound

    is_own = sys.argv[1:2] != ["run"]  # what is written is a script's otherwise
    if is_own and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has all signs
    try:
        try:
            sys.exit(_app()(prog_name="plait"))
        finally:
            if is_own and sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if not is_own:
            raise
        _leave(error)
    except (RunNotFound, ConfigurationError) as error:
        print(f"plait: {error}", file=sys.stderr)
        sys.exit(WRONG_INPUT)
    except KeyboardInterrupt:  # before the library, which has an answer to it, was there
        sys.exit(INTERRUPTED)


def _leave(error: OSError) -> NoReturn:
    """Nothing more is written: what could not be would be tried again when Python ends."""
    if not isinstance(error, BrokenPipeError):  # whoever reads has read enough
        print(f"plait: {error}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(FAILED)


def version_text() -> str:
    """``plait 0.1.0``."""
    import plait

    return f"plait {plait.__version__}"


def _version_data() -> str:
    """The same as data."""
    import json
    import platform

    import plait

    return json.dumps({"plait": plait.__version__, "python": platform.python_version()}, indent=2)


def _app() -> "Typer":
    """The commands. Annotations are read by the library when this runs, so this module does not postpone them."""
    import typer

    app = typer.Typer(
        name="plait",
        help="Ordinary Python functions and shell commands, run in parallel.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 130 Ctrl-C. `plait run` passes on the script's own.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    run_dir_help = "The folder that holds the runs."
    json_help = "Answer as JSON."

    def show_version(value: bool) -> None:
        if value:
            print(version_text())
            raise typer.Exit

    @app.callback()
    def plait(
        version: Annotated[
            bool,
            typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Print the version and leave."),
        ] = False,
    ) -> None:
        pass

    @app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
    def run(
        script: Annotated[str, typer.Argument(help="The Python program.", show_default=False)],
        args: Annotated[list[str] | None, typer.Argument(help="What it gets as its own arguments.")] = None,
        as_parsl: Annotated[
            bool, typer.Option("--as-parsl", help="`import parsl` gives plait, in the script and its workers.")
        ] = False,
        run_dir: Annotated[
            str | None, typer.Option(help="Where runs put their folders, whatever the script says.")
        ] = None,
        progress: Annotated[
            bool | None,
            typer.Option("--progress/--no-progress", help="Show progress or do not, whatever the script says."),
        ] = None,
        report: Annotated[
            str | None, typer.Option(metavar="FILE", help="Write a report of the run into this HTML file.")
        ] = None,
        config: Annotated[
            str | None,
            typer.Option(metavar="FILE", help="Configuration of the run; plait.toml of this folder, if it is there."),
        ] = None,
        no_config: Annotated[bool, typer.Option("--no-config", help="Do not look for plait.toml.")] = False,
    ) -> None:
        """Run a Python script with a progress display and a closing line that says what happened."""
        from plait.cli.run import Plan, run_script

        run_script(Plan(script, tuple(args or ()), as_parsl, run_dir, progress, report, config, not no_config))

    @app.command()
    def init(
        file: Annotated[str, typer.Argument(metavar="[FILE]", help="The file to write.")] = "plait.toml",
        site: Annotated[
            str | None, typer.Option(metavar="NAME", help="Begin with a site of the catalogue (`plait sites`).")
        ] = None,
        values: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="A parameter, wherever it fits: account=m1234."),
        ] = None,
        scheduler: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="Batch system to write for, where several are found, or none."),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
        show: Annotated[bool, typer.Option("--print", help="Print the text and write nothing.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """Write a configuration for this machine: its batch system, queues, GPUs, networks, environment."""
        from plait.cli.init import Order, init

        raise typer.Exit(init(Order(file, site, tuple(values or ()), scheduler, force, show), as_json=as_json))

    @app.command()
    def check(
        file: Annotated[str, typer.Argument(metavar="[FILE]", help="The configuration.")] = "plait.toml",
        submit: Annotated[
            bool,
            typer.Option("--submit", help="Try it: one block of each executor, one task in it; all is ended again."),
        ] = False,
        timeout: Annotated[str, typer.Option(metavar="TIME", help="How long the try may take; queues count.")] = "10m",
        scripts: Annotated[bool, typer.Option("--scripts/--no-scripts", help="Show what would be submitted.")] = True,
        rules: Annotated[
            str | None, typer.Option(metavar="FILE", help="Administrators' rules to look at it under.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """Whether a configuration can work here, and what it would submit; with --submit, whether the queue takes it."""
        from plait.cli.check import check
        from plait.errors import ConfigurationError
        from plait.model.units import parse_duration

        try:
            timeout_s = parse_duration(timeout, "--timeout")
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        raise typer.Exit(check(file, submit=submit, timeout_s=timeout_s, as_json=as_json, scripts=scripts, rules=rules))

    @app.command()
    def sites(
        name: Annotated[
            str | None, typer.Argument(metavar="[NAME]", help="The site to show; all by default.", show_default=False)
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """Machines that there is a configuration for: yours, the project's, the system's, and those shipped with plait."""
        from plait.cli.sites import list_sites, show_site

        raise typer.Exit(list_sites(as_json=as_json) if name is None else show_site(name, as_json=as_json))

    @app.command()
    def explain(
        task: Annotated[
            int | None, typer.Argument(help="Number of a task; none for the whole run.", show_default=False, min=0)
        ] = None,
        which: Annotated[str, typer.Option("--run", help="`last`, a number, or a run's folder.")] = "last",
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """Why a task waits or why it failed; without a number, where the run stands."""
        from plait.cli.explain import explain

        raise typer.Exit(explain(task, which, run_dir, as_json=as_json))

    @app.command()
    def runs(
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """The runs there are: live, ended or crashed, and how they ended."""
        from plait.cli.runs import list_runs

        raise typer.Exit(list_runs(run_dir, as_json=as_json))

    @app.command()
    def blocks(
        which: Annotated[
            str | None,
            typer.Argument(
                metavar="[RUN]",
                help="`last`, a number, or a run's folder; what is left of all runs by default.",
                show_default=False,
            ),
        ] = None,
        cancel: Annotated[
            bool, typer.Option("--cancel", help="End the jobs: of that run, or of all runs whose driver is dead.")
        ] = False,
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """The blocks of runs, of dead drivers too: job, state, nodes, age, and why."""
        from plait.cli.blocks import blocks

        raise typer.Exit(blocks(which, run_dir, cancel=cancel, as_json=as_json))

    @app.command()
    def doctor(
        fix: Annotated[bool, typer.Option("--fix", help="End jobs and processes of dead drivers.")] = False,
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """What is wrong on this machine, and what killed programs have left in batch systems."""
        from plait.cli.doctor import doctor

        raise typer.Exit(doctor(run_dir, fix=fix, as_json=as_json))

    @app.command()
    def report(
        which: Annotated[str, typer.Argument(metavar="[RUN]", help="`last`, a number, or a run's folder.")] = "last",
        output: Annotated[
            str, typer.Option("--output", "-o", metavar="FILE", help="The HTML file to write.")
        ] = "report.html",
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
    ) -> None:
        """Write one HTML file about a run: apps, timeline of workers, failures, versions."""
        from plait.cli.report import write_report

        raise typer.Exit(write_report(which, run_dir, output))

    @app.command()
    def bench(
        config: Annotated[
            str | None, typer.Option(metavar="FILE", help="Python file with `config` or a function `fresh_config`.")
        ] = None,
        resources: Annotated[
            str | None, typer.Option(metavar="EXPR", help="Dictionary of what each task asks for.")
        ] = None,
        time: Annotated[
            float, typer.Option(metavar="SECONDS", help="How long a measurement is to take.", min=0.001)
        ] = 120.0,
        argsize: Annotated[int, typer.Option(metavar="N", help="Bytes of the argument of each task.", min=0)] = 0,
        iterate: Annotated[
            str, typer.Option(help="`estimate`, `exponential`, or numbers of tasks: 10,100,1000.")
        ] = "estimate",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
        version: Annotated[  # noqa: ARG001
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave.")
        ] = False,
    ) -> None:
        """Tasks per second of an executor on this machine."""
        from plait.cli.bench import Order, bench

        raise typer.Exit(bench(Order(config, resources, time, argsize, iterate), as_json=as_json))

    @app.command()
    def simulate(
        workload: Annotated[
            str,
            typer.Argument(
                help="`last`, a number, a run's folder or journal; or a description (.toml, .json).", show_default=False
            ),
        ],
        nodes: Annotated[int, typer.Option(help="Nodes, in all blocks together.", min=1)] = 1,
        workers: Annotated[int, typer.Option(help="Workers on each node.", min=1)] = 1,
        policy: Annotated[
            str,
            typer.Option(
                metavar="NAME",
                help="Placement: spread, pack, fewest-free, random, near-data, `module:Class` or `file.py:Class`.",
            ),
        ] = "spread",
        strategy: Annotated[str, typer.Option(help="Scaling: none, simple, htex_auto_scale or demand.")] = "simple",
        nodes_per_block: Annotated[
            int | None, typer.Option(help="Nodes that are obtained together; all by default.", min=1)
        ] = None,
        init_blocks: Annotated[
            int | None, typer.Option(help="Blocks to begin with; as many as there may be by default.", min=0)
        ] = None,
        memory: Annotated[str | None, typer.Option(metavar="BYTES", help="Memory of a node: 256GB.")] = None,
        gpus: Annotated[int, typer.Option(help="GPUs of a node.", min=0)] = 0,
        latency: Annotated[str, typer.Option(metavar="TIME", help="Of a message to a node.")] = "100us",
        bandwidth: Annotated[str, typer.Option(metavar="BYTES", help="Of a link, in a second.")] = "1.25GB",
        queue_wait: Annotated[
            str,
            typer.Option(metavar="TIME", help="Of a block in the batch queue: 10m, exponential:10m, uniform:1m,1h …"),
        ] = "0",
        start: Annotated[
            str, typer.Option(metavar="TIME", help="From a job's begin until its managers connect; likewise.")
        ] = "1s",
        walltime: Annotated[str | None, typer.Option(metavar="TIME", help="Of a block.")] = None,
        fail_rate: Annotated[float, typer.Option(metavar="N", help="Failures of one node in an hour.", min=0)] = 0.0,
        seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
        copies: Annotated[
            int, typer.Option(help="A recorded run so many times, side by side.", min=1, max=1_000_000)
        ] = 1,
        recorded_times: Annotated[
            bool, typer.Option("--recorded-times", help="Submit as in the recorded run, not all at the start.")
        ] = False,
        ask: Annotated[
            list[str] | None,
            typer.Option(metavar="APP:KEY=N,…", help="What tasks of a recorded app ask for: train:cores=4,gpus=1."),
        ] = None,
        chart: Annotated[str | None, typer.Option(metavar="FILE", help="Write charts: .html or .svg.")] = None,
        run_dir: Annotated[str, typer.Option(help=run_dir_help)] = "runinfo",
        as_json: Annotated[bool, typer.Option("--json", help=json_help)] = False,
    ) -> None:
        """How a recorded or described run would go on another machine or under another policy."""
        from plait.cli.simulate import Order, simulate

        order = Order(
            workload, run_dir, nodes, workers, policy, strategy, nodes_per_block, init_blocks, memory, gpus, latency,
            bandwidth, queue_wait, start, walltime, fail_rate, seed, copies, recorded_times, tuple(ask or ()), chart,
        )  # fmt: skip
        raise typer.Exit(simulate(order, as_json=as_json))

    return app
