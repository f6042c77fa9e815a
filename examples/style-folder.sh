#!/usr/bin/env bash
# Paints every picture of a folder over in one style. What is painted already is left alone.
# Usage: examples/style-folder.sh FOLDER ["STYLE"]
set -euo pipefail
STEPS=${STEPS:-150}
SIZE=${SIZE:-256x256}
HOLD=${HOLD:-1} # how hard to hold on to the picture
SEED=${SEED:-1}
OUT=${OUT:-outputs/styled}
read -ra MORE <<< "${MORE:-}"

folder=${1:?usage: style-folder.sh FOLDER [\"STYLE\"]}
style=${2:-"an oil painting"}
shopt -s nullglob nocaseglob
for picture in "$folder"/*.{png,jpg,jpeg,webp}; do
  name=${picture##*/}
  target="$OUT/${name%.*}.png"
  [ -e "$target" ] && continue
  # A name may hold braces, which would be fields in the name of a result.
  template=${target//\{/\{\{}
  template=${template//\}/\}\}}
  vqclip "$style" --init-image "$picture" --init-weight "$HOLD" --seed "$SEED" \
    --steps "$STEPS" --size "$SIZE" --output "$template" "${MORE[@]}"
done
