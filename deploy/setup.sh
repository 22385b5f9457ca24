#!/bin/sh
# Bring .venv to what requirements.lock and pyproject.toml say. Does nothing, and needs no
# network, where that is so already. Proxies and mirrors set for pip or uv are respected.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)
venv=.venv
python=$venv/bin/python
stamp=$venv/.mlppa-setup # where and what was installed; missing while an installation runs

say() { echo "mlppa: $*" >&2; }
wanted() { printf '%s\n' "$here" && cat requirements.lock pyproject.toml | cksum; }
base() { "$1" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))' 2>/dev/null; }

is_whole() { # an environment breaks when it is moved, interrupted, or its Python goes away
    [ "$(head -n 1 $stamp 2>/dev/null)" = "$here" ] && base $python >/dev/null
}

install() {
    # uv takes seconds where pip takes minutes; pip knows mirrors that uv has not been told of.
    $venv/bin/uv pip install --quiet --python $python "$@" ||
        { say "uv could not; trying pip" && $python -m pip install --quiet "$@"; }
}

if [ -n "${MLPPA_PYTHON:-}" ]; then
    found=$(sh deploy/find-python.sh)
    [ "$(base "$found")" = "$(base $python)" ] || rm -rf $venv
fi
is_whole || rm -rf $venv
[ "$(wanted)" != "$(cat $stamp 2>/dev/null)" ] || exit 0

if [ ! -d $venv ]; then
    found=$(sh deploy/find-python.sh)
    say "making $venv with $("$found" --version) ($found)"
    "$found" -m venv $venv
fi
rm -f $stamp
say "installing what requirements.lock names"
sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^  *--hash/p;}' requirements.lock >$venv/uv.lock
$python -m pip install --quiet --require-hashes -r $venv/uv.lock
install --require-hashes -r requirements.lock
install --no-deps --no-build-isolation -e .
wanted >$stamp
