"""Has gcloud's own parser read commands, without running any: started by gcloud's own Python, as a program.

Reads a JSON list of argument lists from standard input, and prints for each what the parser says against it, or "".
"""

from __future__ import annotations

import contextlib
import io
import json
import sys


def main() -> None:
    root = sys.argv[1]
    sys.path[:0] = [f"{root}/lib", f"{root}/lib/third_party"]
    from googlecloudsdk import gcloud_main  # type: ignore[import-not-found]  # noqa: PLC0415  # the SDK's, not ours

    parser = vars(gcloud_main.CreateCLI([]))["_CLI__parser"]
    print(json.dumps([_against(parser, arguments) for arguments in json.load(sys.stdin)]))  # noqa: T201  # a program


def _against(parser: object, arguments: list[str]) -> str:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser.parse_args(arguments)  # type: ignore[attr-defined]  # the SDK's own
    except SystemExit:
        return said.getvalue() or "refused"
    except Exception as error:  # noqa: BLE001  # the parser's own errors are of many kinds
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    main()
