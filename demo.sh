#!/usr/bin/env bash
# The whole road in minutes: two datasets, ten nets on each, the table of states, the report.
set -euo pipefail
cd "$(dirname "$0")"
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

for name in demo-textures demo-shapes; do
    [ -f "data/$name/dataset.json" ] || missing=yes
done
[ -z "${missing:-}" ] || say python -m data_prep.synthetic
say python -m toolkit.launch --array 0-7 --models torchvision/mobilenet_v3_small torchvision/shufflenet_v2_x1_0 \
    --dataset demo-textures demo-shapes --recipe quick --study demo --executor local
say python -m toolkit.status demo
say python -m toolkit.report demo --out report/demo
