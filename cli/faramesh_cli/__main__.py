"""`python -m faramesh_cli`: the same as `faramesh-mesh`."""

from faramesh_cli.main import app

app()
