#!/bin/sh
# Print the path of a Python that mlppa runs on: 3.12 or 3.13 (sigpyproc 2 needs 3.12 or
# newer, TensorFlow 2.21 stops at 3.13). MLPPA_PYTHON, where it is set, is the only candidate.
set -u

fits() {
    # A pyenv shim is on the PATH even when its version is not selected, and Debian's python3
    # comes without ensurepip: only running a candidate tells.
    "$1" - <<'PYTHON' >/dev/null 2>&1
import ensurepip, sqlite3, ssl, sys, sysconfig, venv
sys.exit(not (
    (3, 12) <= sys.version_info[:2] < (3, 14)
    and sys.implementation.name == "cpython"
    and sys.maxsize > 2**32
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
))
PYTHON
}

take_first() {
    for python in "$@"; do
        if [ -n "$python" ] && fits "$python"; then
            command -v "$python"
            exit 0
        fi
    done
}

if [ -n "${MLPPA_PYTHON:-}" ]; then
    take_first "$MLPPA_PYTHON"
    echo "MLPPA_PYTHON=$MLPPA_PYTHON: not a usable Python 3.12 or 3.13;" \
        "name another one, or unset it to have one found" >&2
    exit 4
fi

pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
uv=${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}
take_first python3.13 python3.12 python3 python \
    "$pyenv"/3.13*/bin/python "$pyenv"/3.12*/bin/python \
    "$uv"/cpython-3.13*/bin/python3 "$uv"/cpython-3.12*/bin/python3

cat >&2 <<EOF_MESSAGE
mlppa: no usable Python 3.12 or 3.13 on the PATH, in $pyenv or in $uv; install one, for instance by
    apt install python3.13-venv    (Debian 13; python3.12-venv on Ubuntu 24.04)
    dnf install python3.12         (Fedora, RHEL 9)
    pyenv install 3.13
    uv python install 3.13
or say where one is: MLPPA_PYTHON=/path/to/python3.13 make ...
EOF_MESSAGE
exit 4
