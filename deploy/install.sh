#!/bin/sh
# Install mlppa from this checkout into a folder of its own, for a service:
#
#   sudo sh deploy/install.sh /opt/mlppa-0.1.0
#   sudo sh deploy/install.sh /opt/mlppa-0.1.0 gpu    # with CUDA, for the network on a GPU
#
# What requirements.lock names, with its hashes, and of that only what the program needs. The
# Python is found as for the checkout (MLPPA_PYTHON names one); it must not lie in somebody's
# home, where a service does not see it.
set -eu
case ${1:-}:${2:-} in
/*: | /*:gpu) to=$1 ;;
*) echo "usage: sh deploy/install.sh /FOLDER [gpu]" >&2 && exit 2 ;;
esac
if [ -e "$to" ]; then
    echo "$to is there already; name another folder, so that the old one can be gone back to" >&2
    exit 4
fi
cd "$(dirname "$0")/.."
python=$(sh deploy/find-python.sh)
build=$(mktemp -d)
done=no
# whole or not at all
leave() { rm -rf "$build" && { [ $done = yes ] || rm -rf "$to"; }; }
trap leave EXIT

"$python" -m venv "$build"
sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^  *--hash/p;}' requirements.lock >"$build/uv.lock"
"$build/bin/python" -m pip install --quiet --require-hashes -r "$build/uv.lock"
uv=$build/bin/uv

"$uv" venv --quiet --python "$python" "$to"
# as constraints: what the lock does not name is refused, what nothing needs is left out
"$uv" pip install --quiet --python "$to" --require-hashes --compile-bytecode \
    -c requirements.lock -r pyproject.toml
if [ "${2:-}" = gpu ]; then
    "$uv" pip install --quiet --python "$to" --require-hashes --no-deps \
        -r deploy/container/cuda.lock
fi
"$uv" build --quiet --wheel --python "$python" --require-hashes \
    --build-constraints requirements.lock --out-dir "$build/wheel"
"$uv" pip install --quiet --python "$to" --no-deps --compile-bytecode "$build"/wheel/*.whl
"$to/bin/mlppa" --version >/dev/null
done=yes
echo "mlppa $("$to/bin/mlppa" --version) is in $to; let the services take it with: ln -sfn $to /opt/mlppa"
