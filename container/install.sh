#!/bin/sh
# Install mriqf into a new virtual environment: install.sh PREFIX WHEEL [INDEX]
# INDEX has the build of torch: https://download.pytorch.org/whl/cpu unless given; "" takes that of pip's settings.
# All else is pinned with its checksum by requirements.txt.
set -eu
prefix=$1 wheel=$2 index=${3-https://download.pytorch.org/whl/cpu}
here=$(dirname "$0")
python3 -m venv "$prefix"
pip="$prefix/bin/python -m pip install --no-cache-dir --disable-pip-version-check --quiet"
$pip ${index:+--index-url "$index"} --constraint "$here/../constraints.txt" torch
$pip --no-deps --require-hashes --requirement "$here/requirements.txt"
$pip --no-deps "$wheel"
"$prefix/bin/python" -m pip check
"$prefix/bin/python" -m pip uninstall --yes --quiet pip
