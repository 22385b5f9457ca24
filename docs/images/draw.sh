#!/bin/sh
# Draws the pictures of README anew: sh docs/images/draw.sh FRB20180417A_askap_beam28.fil
# (a test file of https://github.com/thepetabyteproject/your); without it, the demo's only.
set -e
images=$(cd "$(dirname "$0")" && pwd)
program="$images/../../.venv/bin/mlppa"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$program" demo --quiet -o "$out/demo"
cp "$out/demo/found.png" "$images/demo.png"
if [ $# -gt 0 ]; then
    "$program" search --quiet "$1" -o "$out/found"
    cp "$out"/found/*.png "$images/frb20180417a.png"
fi
